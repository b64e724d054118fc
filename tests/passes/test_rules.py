"""Every rule of `canonicalize`: what it makes of what, and that it keeps results, special values included."""

from __future__ import annotations

import pytest

from graphc.ir import same_graph
from graphc.passes.algebra import RULES
from graphc.passes.canonicalize import Canonicalize
from tests.passes import arithmetic_cases, indexing_cases, layout_cases, reduction_cases
from tests.passes.rewriting import assert_close, assert_same_bits, checked, make_graph, run, special_arguments
from tests.passes.rules import Case

FAMILIES = (arithmetic_cases, indexing_cases, layout_cases, reduction_cases)
CASES: list[Case] = [case for family in FAMILIES for case in family.CASES]
UNTOUCHED = {name: graph for family in FAMILIES for name, graph in family.UNTOUCHED.items()}


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.rule}" for i, case in enumerate(CASES)])
def test_rule(case: Case) -> None:
    before = checked(make_graph(case.types, case.before))
    fired = []
    after = checked(Canonicalize(notify=lambda rule, op: fired.append(rule.__name__)).run(before))
    expected = make_graph(case.types, case.after)
    assert case.rule in fired
    assert same_graph(after, expected), f"\n{before}\nbecame\n{after}\nnot\n{expected}"
    arguments = special_arguments(case.types)
    (assert_same_bits if case.exact else assert_close)(run(after, arguments), run(before, arguments))


@pytest.mark.parametrize("name", UNTOUCHED)
def test_no_rule_fires(name: str) -> None:
    types, body = UNTOUCHED[name]
    graph = checked(make_graph(types, body))
    after = Canonicalize().run(graph)
    assert same_graph(after, graph), f"\n{graph}\nbecame\n{after}"


def test_every_rule_is_covered() -> None:
    tested = {case.rule for case in CASES}
    assert {rule.__name__ for rules in RULES.values() for rule in rules} == tested


def test_every_rule_says_what_it_does() -> None:
    assert all("->" in (rule.__doc__ or "") for rules in RULES.values() for rule in rules)
