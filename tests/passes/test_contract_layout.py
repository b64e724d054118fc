"""Layout ops around contractions: which go, and that results stay."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from graphc.ir import Builder, Graph, TensorType, Value, same_graph
from graphc.ir.ops.contraction import parse_spec
from graphc.passes.contract_layout import CONTRACT_RULES, RESULT_RULES, ContractLayout, fresh_letters
from tests.passes.rewriting import Body, assert_close, checked, make_graph, run
from tests.passes.rules import F


@dataclass(frozen=True)
class Case:
    """`rule` turns `before` into `after`."""

    rule: str
    types: Sequence[TensorType]
    before: Body
    after: Body


def outer(b: Builder, x: Value, y: Value) -> Value:
    """The outer product of two vectors."""
    shape = (*x.type.shape, *y.type.shape)
    return b.mul(b.broadcast(x, shape=shape, dims=(0,)), b.broadcast(y, shape=shape, dims=(1,)))


CASES = [
    Case(
        "operand_transpose",
        [F(5, 3), F(4, 5)],
        lambda b, x, y: b.contract(b.transpose(x, perm=(1, 0)), b.transpose(y, perm=(1, 0)), spec="mk,kn->mn"),
        lambda b, x, y: b.contract(x, y, spec="km,nk->mn"),
    ),
    Case(
        "operand_transpose",
        [F(2, 3, 4, 5), F(2, 4, 6)],
        lambda b, x, y: b.contract(b.transpose(x, perm=(3, 0, 1, 2)), y, spec="abcd,bdn->anc"),
        lambda b, x, y: b.contract(x, y, spec="bcda,bdn->anc"),
    ),
    Case(
        "operand_broadcast",
        [F(7, 3, 5), F(5, 4)],
        lambda b, x, y: b.contract(x, b.broadcast(y, shape=(7, 5, 4), dims=(1, 2)), spec="bmk,bkn->bmn"),
        lambda b, x, y: b.contract(x, y, spec="bmk,kn->bmn"),
    ),
    Case(
        "operand_broadcast",
        [F(3, 5), F(5, 4)],
        lambda b, x, y: b.contract(
            b.broadcast(x, shape=(7, 3, 5), dims=(1, 2)),
            b.broadcast(y, shape=(7, 5, 4), dims=(1, 2)),
            spec="bmk,bkn->bmn",
        ),
        lambda b, x, y: b.broadcast(b.contract(x, y, spec="mk,kn->mn"), shape=(7, 3, 4), dims=(1, 2)),
    ),
    Case(
        "operand_broadcast",
        [F(5), F(5, 4)],
        lambda b, x, y: b.contract(b.broadcast(x, shape=(3, 5), dims=(1,)), y, spec="mk,kn->nm"),
        lambda b, x, y: b.broadcast(b.contract(x, y, spec="k,kn->n"), shape=(4, 3), dims=(0,)),
    ),
    Case(
        "summed_one",
        [F(3, 1, 5), F(1, 5, 4)],
        lambda b, x, y: b.contract(x, y, spec="mak,akn->mn"),
        lambda b, x, y: b.contract(b.reshape(x, shape=(3, 5)), b.reshape(y, shape=(5, 4)), spec="mk,kn->mn"),
    ),
    Case(
        "no_sum",
        [F(3, 2), F(4, 2)],
        lambda b, x, y: b.contract(x, y, spec="mb,nb->bmn"),
        lambda b, x, y: b.mul(
            b.broadcast(b.transpose(x, perm=(1, 0)), shape=(2, 3, 4), dims=(0, 1)),
            b.broadcast(b.transpose(y, perm=(1, 0)), shape=(2, 3, 4), dims=(0, 2)),
        ),
    ),
    Case(
        "no_sum",
        [F(1, 3), F(1, 4)],
        lambda b, x, y: b.contract(x, y, spec="km,kn->mn"),
        lambda b, x, y: outer(b, b.reshape(x, shape=(3,)), b.reshape(y, shape=(4,))),
    ),
    Case(
        "summed_reshapes",
        [F(2, 3, 4), F(2, 3, 5)],
        lambda b, x, y: b.contract(b.reshape(x, shape=(6, 4)), b.reshape(y, shape=(6, 5)), spec="km,kn->mn"),
        lambda b, x, y: b.contract(x, y, spec="abm,abn->mn"),
    ),
    Case(
        "summed_transpose",
        [F(7, 2, 5, 3), F(4, 6)],  # heads before positions; joined into one axis, as attention's output projection does
        lambda b, x, w: b.contract(
            b.reshape(b.transpose(x, perm=(0, 2, 1, 3)), shape=(7, 5, 6)), w, spec="bsk,nk->bsn"
        ),
        lambda b, x, w: b.contract(x, b.reshape(w, shape=(4, 2, 3)), spec="bcsd,ncd->bsn"),
    ),
    Case(
        "result_transpose",
        [F(3, 5), F(5, 4)],
        lambda b, x, y: b.transpose(b.contract(x, y, spec="mk,kn->mn"), perm=(1, 0)),
        lambda b, x, y: b.contract(x, y, spec="mk,kn->nm"),
    ),
    Case(
        "result_sum",
        [F(7, 3, 5), F(7, 3, 4)],
        lambda b, x, y: b.sum(b.contract(x, y, spec="bmk,bmn->bkn"), axes=(0,)),
        lambda b, x, y: b.contract(x, y, spec="bmk,bmn->kn"),
    ),
    Case(
        "result_reshape",  # a linear layer on a flattened batch
        [F(2, 3, 5), F(4, 5)],
        lambda b, x, w: b.reshape(b.contract(b.reshape(x, shape=(6, 5)), w, spec="mk,nk->mn"), shape=(2, 3, 4)),
        lambda b, x, w: b.contract(x, w, spec="abk,nk->abn"),
    ),
    Case(
        "result_reshape",  # a projection split into heads
        [F(2, 3, 5), F(8, 5)],
        lambda b, x, w: b.transpose(
            b.reshape(b.contract(x, w, spec="bsk,nk->bsn"), shape=(2, 3, 4, 2)), perm=(0, 2, 1, 3)
        ),
        lambda b, x, w: b.contract(x, b.reshape(w, shape=(4, 2, 5)), spec="bsk,ack->basc"),
    ),
    Case(
        "result_reshape",
        [F(2, 1, 5), F(2, 5, 4)],
        lambda b, x, y: b.reshape(b.contract(x, y, spec="bmk,bkn->bmn"), shape=(2, 4)),
        lambda b, x, y: b.contract(b.reshape(x, shape=(2, 5)), y, spec="bk,bkn->bn"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.rule}" for i, case in enumerate(CASES)])
def test_rule(case: Case) -> None:
    before = checked(make_graph(case.types, case.before))
    fired = []
    after = checked(ContractLayout(notify=lambda rule, op: fired.append(rule.__name__)).run(before))
    expected = make_graph(case.types, case.after)
    assert case.rule in fired
    assert renamed(after) == renamed(expected), f"\n{before}\nbecame\n{after}\nnot\n{expected}"
    rng = np.random.default_rng(0)
    arguments = [rng.uniform(-1, 1, t.shape).astype(np.float32) for t in case.types]
    assert_close(run(after, arguments), run(before, arguments))
    assert same_graph(ContractLayout().run(after), after)


def renamed(graph: Graph) -> list[tuple[object, ...]]:
    """The ops, with the letters of every spec in order of appearance."""
    numbers = {v: i for i, v in enumerate([*graph.args, *(r for op in graph.ops for r in op.results)])}
    found = []
    for op in graph.ops:
        attributes = dict(op.attributes)
        if op.name == "contract":
            spec = str(attributes["spec"])
            order = list(dict.fromkeys(letter for letter in spec if letter.isalpha()))
            attributes["spec"] = "".join(str(order.index(x)) if x.isalpha() else x for x in spec)
        found.append((op.name, [numbers[v] for v in op.operands], sorted(attributes.items())))
    return [*found, ("return", [numbers[v] for v in graph.results])]


def test_every_rule_is_covered() -> None:
    rules = {rule.__name__ for rules in CONTRACT_RULES.values() for rule in rules}
    rules |= {rule.__name__ for rule in RESULT_RULES.values()}
    assert rules == {case.rule for case in CASES}


def product(b: Builder, x: Value, y: Value) -> Value:
    return b.contract(x, y, spec="mk,kn->mn")


UNTOUCHED: dict[str, tuple[list[TensorType], Body]] = {
    # The contraction would be done twice.
    "a result that is used twice": (
        [F(3, 5), F(5, 4)],
        lambda b, x, y: (p := product(b, x, y), b.transpose(p, perm=(1, 0))),
    ),
    # x * sum(y) is not the sum of x * y where a product overflows.
    "a broadcast along the summed axis": (
        [F(3), F(5, 4)],
        lambda b, x, y: product(b, b.broadcast(x, shape=(3, 5), dims=(0,)), y),
    ),
    "a sum over rows": ([F(3, 5), F(5, 4)], lambda b, x, y: b.sum(product(b, x, y), axes=(0,))),
    "a reshape that joins axes": ([F(3, 5), F(5, 4)], lambda b, x, y: b.reshape(product(b, x, y), shape=(12,))),
    "a reshape of one operand": (
        [F(3, 2, 5), F(10, 4)],
        lambda b, x, y: product(b, b.reshape(x, shape=(3, 10)), y),
    ),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_what_stays(name: str) -> None:
    types, body = UNTOUCHED[name]
    graph = checked(make_graph(types, body))
    assert same_graph(ContractLayout().run(graph), graph)


def test_a_state_update_counts_as_a_use() -> None:
    graph = make_graph([F(3, 5), F(5, 4), F(3, 4)], lambda b, x, y, w: product(b, x, y), n_states=1)
    graph.updates = {graph.states[0]: graph.results[0]}
    graph.results = [Builder(graph).transpose(graph.results[0], perm=(1, 0))]
    after = checked(ContractLayout().run(graph))
    assert [op.name for op in after.ops] == ["contract", "transpose"]


def test_letters_may_run_out() -> None:
    at = parse_spec(f"{string.ascii_letters[:30]},{string.ascii_letters[:20]}->{string.ascii_letters[20:30]}")
    assert fresh_letters(at, 22) == string.ascii_letters[30:]
    assert fresh_letters(at, 23) is None
