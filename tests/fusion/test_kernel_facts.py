"""Which kernels can fault, and which may write over their operands."""

from __future__ import annotations

import pytest

from graphc.ir import Op, parse
from graphc.ir.kernel_facts import can_fault, loop_pieces, may_update_in_place
from graphc.ir.target import BASELINES, GENERIC_X86_64_V3


def kernel(kind: str, args: str, body: str, types: str) -> Op:
    operands = ", ".join(a.split(":")[0].strip() for a in args.split("; "))
    region = f'fused {operands} {{kind = "{kind}"}} ({args.replace("; ", ", ")}) {{ {body} }} : {types}'
    results = ", ".join(f"%r{i}" for i in range(types.count("[")))
    returned = ", ".join(types.split(", "))
    text = f"graph @f [fused] ({args.replace('; ', ', ')}) -> {returned} {{ {results} = {region}\n return {results} }}"
    return parse(text).ops[0]


@pytest.mark.parametrize(
    ("kind", "args", "body", "types", "expected"),
    [
        ("loop", "%a: f32[4]; %b: f32[4]", "%r = sub %a, %b : f32[4]\nyield %r", "f32[4]", [True, True]),
        (
            "loop",
            "%a: f32[4]; %b: f32[4]",
            "%s = flip %b {axes = [0]} : f32[4]\n%r = sub %a, %s : f32[4]\nyield %r",
            "f32[4]",
            [True, False],
        ),
        # What is computed from the operand is read elsewhere.
        (
            "loop",
            "%a: f32[4]; %b: f32[4]",
            "%e = exp %b : f32[4]\n%s = flip %e {axes = [0]} : f32[4]\n%r = sub %a, %s : f32[4]\nyield %r",
            "f32[4]",
            [True, False],
        ),
        (
            "loop",
            "%a: f32[4]; %b: i32[4]",
            "%c = cast %b {dtype = f32} : f32[4]\n%r = add %a, %c : f32[4]\nyield %r",
            "f32[4]",
            [True, False],
        ),
        (
            "loop",
            "%a: f32[4]; %b: f32[]",
            "%c = broadcast %b {shape = [4], dims = []} : f32[4]\n%r = add %a, %c : f32[4]\nyield %r",
            "f32[4]",
            [True, False],
        ),
        (
            "contraction",
            "%a: f32[4,4]; %b: f32[4,4]; %c: f32[4,4]",
            '%d = contract %a, %b {spec = "mk,kn->mn"} : f32[4,4]\n%r = add %c, %d : f32[4,4]\nyield %r',
            "f32[4,4]",
            [False, False, True],
        ),
        (
            "contraction",
            "%a: f32[4,4]; %b: f32[4,4]",
            '%d = contract %a, %b {spec = "mk,kn->mn"} : f32[4,4]\n%r = add %b, %d : f32[4,4]\nyield %r',
            "f32[4,4]",
            [False, False],
        ),
        (
            "reduction",
            "%a: f32[4,4]; %b: f32[4]",
            "%s = sum %a {axes = [0], keepdims = false} : f32[4]\n%r = sub %b, %s : f32[4]\nyield %r",
            "f32[4]",
            [False, True],
        ),
        # Rows are gone over several times.
        (
            "reduction",
            "%a: f32[4,4]; %b: f32[4]",
            "%s = sum %a {axes = [1], keepdims = false} : f32[4]\n%r = sub %b, %s : f32[4]\nyield %r, %a",
            "f32[4], f32[4,4]",
            [False, False],
        ),
        (
            "reduction",
            "%a: f32[4,1]; %b: f32[4,1]",
            "%s = sum %a {axes = [1], keepdims = true} : f32[4,1]\n%r = sub %b, %s : f32[4,1]\nyield %r",
            "f32[4,1]",
            [False, False],
        ),
        (
            "scatter",
            "%a: f32[4]; %i: i64[2]; %u: f32[2]",
            "%r = index_add %a, %i, %u {axis = 0} : f32[4]\nyield %r",
            "f32[4]",
            [False, False, False],
        ),
        ("loop", "%a: f32[4]", "yield %a", "f32[4]", [True]),
        # Of a loop's pieces, any may run first.
        ("loop", "%a: f32[4]; %b: f32[4]", "%r = neg %a : f32[4]\nyield %r, %b", "f32[4], f32[4]", [True, False]),
        (
            "loop",
            "%a: f32[4]; %b: f32[4]; %c: f32[2,2]",
            "%r = neg %a : f32[4]\n%s = mul %a, %b : f32[4]\nyield %r, %s, %c",
            "f32[4], f32[4], f32[2,2]",
            [True, True, False],
        ),
        (
            "loop",
            "%a: f32[4]",
            "%r = neg %a : f32[4]\n%s = reshape %a {shape = [2, 2]} : f32[2,2]\nyield %r, %s",
            "f32[4], f32[2,2]",
            [False],
        ),
        ("loop", "%a: f32[]", "%r = neg %a : f32[]\n%s = exp %a : f32[]\nyield %r, %s", "f32[], f32[]", [True]),
    ],
)
def test_update_in_place(kind: str, args: str, body: str, types: str, expected: list[bool]) -> None:
    op = kernel(kind, args, body, types)
    assert [may_update_in_place(op, i, 0) for i in range(len(op.operands))] == expected


def test_pieces_of_a_loop() -> None:
    body = """%k = broadcast %t {shape = [4], dims = []} : f32[4]
        %p = mul %a, %k : f32[4]
        %q = mul %b, %k : f32[4]
        %r = add %q, %b : f32[4]
        %s = neg %c : f32[2,2]
        %u = neg %t : f32[]
        %v = constant {value = 1.0, dtype = f32, shape = []} : f32[]
        yield %p, %s, %q, %u, %r, %k, %v"""
    op = kernel(
        "loop",
        "%a: f32[4]; %b: f32[4]; %c: f32[2,2]; %t: f32[]",
        body,
        "f32[4], f32[2,2], f32[4], f32[], f32[4], f32[4], f32[]",
    )
    assert loop_pieces(op.regions[0]) == [(0,), (1,), (2, 4), (3, 6), (5,)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%r = floor_div %a, %b : i64[4]", True),
        ("%r = mod %a, %b : i64[4]", True),
        ("%c = constant {value = 3, dtype = i64, shape = [4]} : i64[4]\n%r = mod %b, %c : i64[4]\n"
         "%s = add %a, %r : i64[4]", False),
        ("%c = constant {value = 0, dtype = i64, shape = [4]} : i64[4]\n%d = mod %b, %c : i64[4]\n"
         "%r = add %a, %d : i64[4]", True),
        ("%c = constant {value = -1, dtype = i64, shape = [4]} : i64[4]\n%d = pow %b, %c : i64[4]\n"
         "%r = add %a, %d : i64[4]", True),
        ("%r = check_index %b {low = 0, high = 4} : i64[4]\n%s = add %a, %r : i64[4]", True),
        ("%c = cast %a {dtype = f32} : f32[4]\n%d = cast %b {dtype = f32} : f32[4]\n%r = mod %c, %d : f32[4]", False),
        ("%r = take %a, %b {axis = 0} : i64[4]", True),
        ("%r = add %a, %b : i64[4]", False),
    ],
)  # fmt: skip
def test_faults(text: str, expected: bool) -> None:
    last = text.rpartition("%r =")[2].partition(":")[2].split()[0]
    op = kernel("loop", "%a: i64[4]; %b: i64[4]", f"{text}\nyield %r", last)
    assert can_fault(op) == expected


def test_targets() -> None:
    assert BASELINES["x86-64-v3"] is GENERIC_X86_64_V3
    assert GENERIC_X86_64_V3.lanes(4) == 8
    assert GENERIC_X86_64_V3.lanes(8) == 4
    assert GENERIC_X86_64_V3.lanes(64) == 1
