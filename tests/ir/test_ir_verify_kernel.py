"""The verifier's rules of the stage `fused`, each broken once, and kernels that keep them."""

from __future__ import annotations

import re

import pytest

from graphc.ir import VerifyError, parse, verify

ARGS = "%x: f32[2,3], %y: f32[2,3], %b: f32[3], %k: f32[3,4], %i: i64[2], %s: f32[]"


def graph_text(body: str) -> str:
    return f"graph @f [fused] ({ARGS}) -> () {{\n{body}\n return\n}}"


def kernel_text(kind: str, body: str) -> str:
    """A kernel of `body`, whose arguments are those of the arguments that it mentions; `yield` gives its results."""
    used = [arg for arg in ARGS.replace(", %", ", \n%").split(", \n") if re.search(rf"{arg.split(':')[0]}\b", body)]
    ops, _, ending = body.rpartition("yield ")
    results, types = ending.split(" : ")
    names = [f"%r{i}" for i in range(types.count("["))]
    operands = ", ".join(a.split(":")[0] for a in used)
    header = f'{", ".join(names)} = fused {operands} {{kind = "{kind}"}} ({", ".join(used)})'
    return graph_text(f"{header} {{\n{ops} yield {results}\n}} : {types}")


def check(text: str, rule: int, message: str) -> None:
    graph = parse(text)
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert message in str(caught.value)
    assert f"(rule {rule} of stage fused)" in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "body", "message"),
    [
        (14, "%0 = neg %x : f32[2,3]", "neg stands outside a kernel"),
        (
            14,
            "%0 = constant {value = 1.0, dtype = f32, shape = []} : f32[]",
            "a splat constant belongs inside",
        ),
        (
            15,
            '%0, %1 = fused %x, %x {kind = "loop"} (%a: f32[2,3], %b: f32[2,3]) { yield %a, %b } : f32[2,3], f32[2,3]',
            "an operand of this kernel is given twice",
        ),
        (
            15,
            '%0 = fused %x, %s {kind = "loop"} (%a: f32[2,3], %b: f32[]) { yield %a } : f32[2,3]',
            "argument %b of this kernel is not used",
        ),
    ],
)
def test_rules_of_the_top_level(rule: int, body: str, message: str) -> None:
    check(graph_text(body), rule, message)


SUM = "%m = sum %x {axes = [1], keepdims = false} : f32[2]"
KEPT = "%m = sum %x {axes = [1], keepdims = true} : f32[2,1]"
DOT = '%c = contract %x, %k {spec = "mk,kn->mn"} : f32[2,4]'

BROKEN = [
    # kind, rule, body, message
    ("loop", 16, f"{SUM} yield %m : f32[2]", "sum (of kind reduce) cannot stand in a kernel of kind loop"),
    ("loop", 16, f"{DOT} yield %c : f32[2,4]", "contract (of kind contract) cannot stand in a kernel of kind loop"),
    (
        "contraction",
        16,
        "%0 = take %x, %i {axis = 0} : f32[2,3] yield %0 : f32[2,3]",
        "take (of kind gather) cannot stand in a kernel of kind contraction",
    ),
    (
        "loop",
        16,
        "%0 = constant {value = dense<f32[1], [1.0]>, dtype = f32, shape = [1]} : f32[1] yield %0 : f32[1]",
        "a constant array cannot stand in a kernel; pass it as an operand",
    ),
    (
        "loop",
        16,
        '%0 = fused %x {kind = "loop"} (%a: f32[2,3]) { yield %a } : f32[2,3] yield %0 : f32[2,3]',
        "fused (of kind fused) cannot stand in a kernel of kind loop",
    ),
    (
        "loop",
        17,
        "%0 = neg %x : f32[2,3] %1 = take %0, %i {axis = 0} : f32[2,3] yield %1 : f32[2,3]",
        "take reads %0, which is not an argument of the kernel",
    ),
    (
        "loop",
        18,
        "%0 = neg %b : f32[3] %1 = broadcast %0 {shape = [2, 3], dims = [1]} : f32[2,3]"
        " yield %0, %1 : f32[3], f32[2,3]",
        "results %0 and %1, of shapes (3,) and (2, 3), share a computation",
    ),
    ("reduction", 19, "yield %x : f32[2,3]", "a reduction reduces something"),
    (
        "reduction",
        19,
        f"{SUM} %n = sum %y {{axes = [0], keepdims = false}} : f32[3] yield %m : f32[2]",
        "a reduction reduces one space over one set of axes, not [2, 3] over axes [1] and [2, 3] over axes [0]",
    ),
    (
        "reduction",
        19,
        f"{SUM} %n = sum %k {{axes = [1], keepdims = false}} : f32[3] yield %m : f32[2]",
        "not [2, 3] over axes [1] and [3, 4] over axes [1]",
    ),
    ("reduction", 19, f"{SUM} yield %m, %b : f32[2], f32[3]", "result %b has shape (3,), outside [2, 3] over axes [1]"),
    (
        "reduction",
        19,
        f"{SUM} %0 = broadcast %m {{shape = [2, 4], dims = [0]}} : f32[2,4] yield %m : f32[2]",
        "broadcast moves elements that depend on a reduced value out of [2, 3] over axes [1]",
    ),
    (
        "reduction",
        19,
        f"{KEPT} %0 = flip %m {{axes = [0]}} : f32[2,1] yield %0 : f32[2,1]",
        "flip moves elements that depend on a reduced value out of",
    ),
    (
        "contraction",
        20,
        f'{DOT} %d = contract %y, %k {{spec = "mk,kn->mn"}} : f32[2,4] yield %c : f32[2,4]',
        "a contraction holds one contract op, this one 2",
    ),
    (
        "contraction",
        20,
        "%0 = neg %x : f32[2,3] yield %0 : f32[2,3]",
        "one contract op, this one 0",
    ),
    (
        "contraction",
        20,
        f"{DOT} %0 = transpose %c {{perm = [1, 0]}} : f32[4,2] yield %c : f32[2,4]",
        "transpose cannot follow the contract op; only pointwise ops can",
    ),
    (
        "contraction",
        20,
        f"{DOT} yield %x, %c : f32[2,3], f32[2,4]",
        "shape (2, 3), the contraction (2, 4)",
    ),
    ("scatter", 21, "yield %x : f32[2,3]", "a scatter gives the result of its one scatter op, and nothing else"),
    (
        "scatter",
        21,
        "%0 = index_add %x, %i, %y {axis = 0} : f32[2,3] yield %0, %x : f32[2,3], f32[2,3]",
        "a scatter gives the result of its one scatter op, and nothing else",
    ),
    (
        "scatter",
        21,
        "%0 = index_add %x, %i, %y {axis = 0} : f32[2,3] %1 = neg %0 : f32[2,3] yield %0 : f32[2,3]",
        "neg cannot follow the scatter op",
    ),
]


@pytest.mark.parametrize(
    "body",
    [
        "%0 = neg %b : f32[3] yield %x, %0 : f32[2,3], f32[3]",
        # Arguments may be read twice; what is made of scalars only is computed twice.
        "%0 = slice %x {start = [0, 0], stop = [1, 3], step = [1, 1]} : f32[1,3] yield %x, %0 : f32[2,3], f32[1,3]",
        "%e = exp %s : f32[] %0 = broadcast %e {shape = [2, 3], dims = []} : f32[2,3] %1 = mul %0, %x : f32[2,3]"
        " %2 = slice %0 {start = [0, 0], stop = [1, 3], step = [1, 1]} : f32[1,3] yield %1, %2, %e"
        " : f32[2,3], f32[1,3], f32[]",
    ],
)
def test_results_of_a_loop_may_differ_in_shape(body: str) -> None:
    verify(parse(kernel_text("loop", body)))


@pytest.mark.parametrize(("kind", "rule", "body", "message"), BROKEN, ids=range(len(BROKEN)))
def test_rules_of_a_kernel(kind: str, rule: int, body: str, message: str) -> None:
    check(kernel_text(kind, body), rule, message)


VALID = [
    ("loop", "yield %x : f32[2,3]"),
    ("loop", "%0 = take %x, %i {axis = 0} : f32[2,3] %1 = exp %0 : f32[2,3] yield %1, %0 : f32[2,3], f32[2,3]"),
    (
        "loop",
        "%0 = broadcast %b {shape = [2, 3], dims = [1]} : f32[2,3] %1 = add %x, %0 : f32[2,3] yield %1 : f32[2,3]",
    ),
    ("reduction", f"{SUM} %0 = exp %m : f32[2] yield %0, %m : f32[2], f32[2]"),
    ("reduction", f"{KEPT} %0 = reshape %m {{shape = [2]}} : f32[2] yield %0, %m : f32[2], f32[2,1]"),
    (
        "reduction",  # softmax
        """%m = max %x {axes = [1], keepdims = true} : f32[2,1]
        %0 = broadcast %m {shape = [2, 3], dims = [0, 1]} : f32[2,3]
        %1 = sub %x, %0 : f32[2,3]
        %2 = exp %1 : f32[2,3]
        %3 = sum %2 {axes = [1], keepdims = false} : f32[2]
        %4 = broadcast %3 {shape = [2, 3], dims = [0]} : f32[2,3]
        %5 = div %2, %4 : f32[2,3]
        yield %5, %3 : f32[2,3], f32[2]""",
    ),
    (
        "reduction",  # what does not depend on a reduced value may take any way
        "%0 = transpose %x {perm = [1, 0]} : f32[3,2] %m = sum %0 {axes = [0]} : f32[2] yield %m : f32[2]",
    ),
    (
        "contraction",
        f"%s1 = broadcast %s {{shape = [2, 4], dims = []}} : f32[2,4] {DOT} %0 = mul %c, %s1 : f32[2,4]"
        " yield %0, %c : f32[2,4], f32[2,4]",
    ),
    ("scatter", "%0 = neg %y : f32[2,3] %1 = index_add %x, %i, %0 {axis = 0} : f32[2,3] yield %1 : f32[2,3]"),
]


@pytest.mark.parametrize(("kind", "body"), VALID, ids=range(len(VALID)))
def test_kernels_that_keep_the_rules_pass(kind: str, body: str) -> None:
    verify(parse(kernel_text(kind, body)))


def test_a_reduced_value_may_not_return_along_another_axis() -> None:
    square = (
        "graph @f [fused] (%x: f32[3,3]) -> f32[3,3] {{\n"
        '  %r = fused %x {{kind = "reduction"}} (%x: f32[3,3]) {{\n'
        "    %m = sum %x {{axes = [1], keepdims = false}} : f32[3]\n"
        "    %0 = broadcast %m {{shape = [3, 3], dims = [{axis}]}} : f32[3,3]\n"
        "    yield %0\n"
        "  }} : f32[3,3]\n"
        "  return %r\n"
        "}}"
    )
    verify(parse(square.format(axis=0)))
    check(square.format(axis=1), 19, "broadcast moves elements that depend on a reduced value out of")


def test_reshapes_and_array_constants_stand_at_the_top_level() -> None:
    verify(
        parse(
            graph_text(
                "%0 = reshape %x {shape = [6]} : f32[6]\n"
                "%1 = constant {value = dense<f32[], 1.0>, dtype = f32, shape = []} : f32[]"
            )
        )
    )
