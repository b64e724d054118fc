"""The example of docs/add-an-op.md is a record as good as any other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.ir import opdef
from tests.ops import test_op_gradients, test_op_records
from tests.ops.sampled import evaluate

_PAGE = Path(__file__).parents[2] / "docs" / "add-an-op.md"


@pytest.fixture
def softsign(monkeypatch: pytest.MonkeyPatch) -> str:
    """The op of the page, registered for one test."""
    monkeypatch.setattr(opdef, "_REGISTRY", dict(opdef._REGISTRY))
    (code,) = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(_PAGE), "exec"), names)
    return "softsign"


def test_the_example_computes_what_it_says(softsign: str) -> None:
    np.testing.assert_allclose(evaluate(softsign, [np.array([-3.0, 0.0, 1.0])]), [-0.75, 0, 0.5])


def test_the_example_passes_the_tests_of_every_record(softsign: str) -> None:
    test_op_records.test_eval_gives_arrays_of_the_inferred_types(softsign)
    test_op_records.test_samples_cover_shapes_and_element_types(softsign)
    test_op_records.test_scalar_expression_agrees_with_eval(softsign)
    test_op_gradients.test_gradient_matches_differences(softsign, 1)
    test_op_gradients.test_gradient_matches_differences(softsign, 2)


def test_files_that_the_page_names_exist() -> None:
    root = _PAGE.parents[1]
    named = re.findall(r"`((?:ir|tests|graphc)/[\w/.]+)`", _PAGE.read_text())
    assert named
    assert [path for path in named if not (root / path).exists()] == []
