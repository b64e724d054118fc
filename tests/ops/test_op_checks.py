"""What ops refuse: types and attributes when they are built, values when they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.ir.builder import Builder
from graphc.ir.errors import (
    AttributeValueError,
    DivisionByZeroError,
    DTypeError,
    FaultError,
    GraphcError,
    NegativeExponentError,
    OutOfRangeError,
    ShapeError,
)
from graphc.ir.graph import Block, Value
from graphc.ir.location import Location
from graphc.ir.opdef import lookup
from graphc.ir.types import DType, TensorType, bool_, f32, f64, i8, i32, i64
from tests.ops.sampled import evaluate


def t(dtype: DType, *shape: int) -> TensorType:
    return TensorType(dtype, shape)


REFUSED: list[tuple[str, list[TensorType], dict[str, Any], type[GraphcError], str]] = [
    ("add", [t(f32, 3), t(f32, 4)], {}, ShapeError, r"add: shapes differ: f32\[3\] and f32\[4\]; broadcast"),
    ("add", [t(f32, 3), t(f64, 3)], {}, DTypeError, r"add: element types differ: f32\[3\] and f64\[3\]; cast"),
    ("add", [t(bool_, 3), t(bool_, 3)], {}, DTypeError, r"add takes number elements, got bool\[3\]; cast"),
    ("exp", [t(i32, 3)], {}, DTypeError, r"exp takes float elements, got i32\[3\]; cast"),
    ("bitwise_and", [t(f32), t(f32)], {}, DTypeError, "bitwise_and takes bool or integer elements"),
    (
        "where",
        [t(f32, 2), t(f32, 2), t(f32, 2)],
        {},
        DTypeError,
        r"where: the condition f32\[2\] must be bool; compare",
    ),
    ("where", [t(bool_, 3), t(f32, 2), t(f32, 2)], {}, ShapeError, "where: .* differ in shape; broadcast"),
    ("check_index", [t(i32, 2)], {"low": 5, "high": 2}, AttributeValueError, "low 5 exceeds high 2"),
    ("broadcast", [t(f32, 3)], {"shape": (4,), "dims": (0,)}, ShapeError, r"f32\[3\] does not fit f32\[4\]"),
    ("broadcast", [t(f32, 3)], {"shape": (3, 3), "dims": (2,)}, AttributeValueError, "axis 2 is not an axis"),
    ("broadcast", [t(f32, 3, 3)], {"shape": (3, 3), "dims": (1, 0)}, AttributeValueError, "sorted and unique"),
    ("reshape", [t(f32, 6)], {"shape": (4,)}, ShapeError, r"f32\[6\] has 6 elements, f32\[4\] has 4"),
    ("reshape", [t(f32, 6)], {"shape": (-1,)}, ShapeError, "negative size"),
    ("reshape", [t(f32, 0)], {"shape": (2**40, 2**40, 0)}, ShapeError, "2.63 bytes"),
    ("transpose", [t(f32, 2, 3)], {"perm": (0, 0)}, AttributeValueError, "no permutation of the 2 axes"),
    ("slice", [t(f32, 4)], {"start": (1,), "stop": (5,), "step": (1,)}, AttributeValueError, "stop <= 4 and step >= 1"),
    ("slice", [t(f32, 4)], {"start": (1,), "stop": (2,), "step": (0,)}, AttributeValueError, "step >= 1"),
    ("slice", [t(f32, 4)], {"start": (), "stop": (2,), "step": (1,)}, AttributeValueError, "start has 0 entries"),
    (
        "pad",
        [t(f32, 4)],
        {"low": (-1,), "high": (0,), "interior": (0,), "value": 0.0},
        AttributeValueError,
        "use slice",
    ),
    ("pad", [t(f32, 4)], {"low": (1,), "high": (0,), "interior": (0,), "value": 0}, AttributeValueError, "not a float"),
    ("pad", [t(f32, 4)], {"low": (2**62,), "high": (0,), "interior": (0,), "value": 0.0}, ShapeError, "2.63 bytes"),
    ("concat", [], {"axis": 0}, ShapeError, "at least one operand"),
    ("concat", [t(f32, 2, 3), t(f32, 2, 4)], {"axis": 0}, ShapeError, "may differ in the size of axis 0 only"),
    ("concat", [t(f32, 2), t(f64, 2)], {"axis": 0}, ShapeError, "cast or reshape"),
    ("flip", [t(f32, 2)], {"axes": (1,)}, AttributeValueError, r"axis 1 is not an axis of f32\[2\]"),
    ("sum", [t(f32, 2)], {"axes": (-1,)}, AttributeValueError, "axis -1 is not an axis"),
    ("sum", [t(f32, 2, 2)], {"axes": (1, 0)}, AttributeValueError, "sorted and unique"),
    ("max", [t(f32, 2, 0)], {"axes": (1,)}, ShapeError, r"axis 1 of f32\[2,0\] is empty"),
    ("argmax", [t(f32, 2, 0)], {"axes": (1,)}, ShapeError, "is empty"),
    ("argmax", [t(f32, 2, 2)], {"axes": (0, 1)}, AttributeValueError, "exactly one axis"),
    ("any", [t(f32, 2)], {"axes": (0,)}, DTypeError, "any takes bool elements"),
    ("contract", [t(f32, 2, 3), t(f32, 4, 3)], {"spec": "mk->m"}, AttributeValueError, "not of the form"),
    ("contract", [t(f32, 2, 3), t(f32, 4, 3)], {"spec": "mm,nk->mn"}, AttributeValueError, "repeats a letter"),
    ("contract", [t(f32, 2, 3), t(f32, 4, 3)], {"spec": "mk,nk->mx"}, AttributeValueError, "in neither operand"),
    ("contract", [t(f32, 2, 3), t(f32, 4, 3)], {"spec": "mk,nj->mn"}, AttributeValueError, "in one operand only"),
    ("contract", [t(f32, 2, 3), t(f32, 4, 5)], {"spec": "mk,nk->mn"}, ShapeError, "axis 'k' .* is 3 in .* and 5 in"),
    ("contract", [t(f32, 2), t(f32, 4, 5)], {"spec": "mk,nk->mn"}, ShapeError, "has not the 2 axes of 'mk'"),
    ("contract", [t(f32, 2, 3), t(f64, 4, 3)], {"spec": "mk,nk->mn"}, DTypeError, "cast one of them"),
    ("take", [t(f32, 4), t(f32, 2)], {"axis": 0}, DTypeError, "must be integers"),
    ("take", [t(f32), t(i32, 2)], {"axis": 0}, AttributeValueError, "axis 0 is not an axis"),
    ("gather", [t(f32, 4, 2), t(i32, 3, 3)], {"axis": 0}, ShapeError, "no larger except on axis 0"),
    ("index_add", [t(f32, 4), t(i32, 3), t(f32, 2)], {"axis": 0}, ShapeError, r"must have shape \(3,\)"),
    ("index_add", [t(f32, 4), t(i32, 3), t(f64, 3)], {"axis": 0}, DTypeError, "differ in element type"),
    ("constant", [], {"value": 1, "dtype": f32, "shape": ()}, AttributeValueError, "value 1 is not a float, which f32"),
    ("constant", [], {"value": 300, "dtype": i8, "shape": ()}, AttributeValueError, "does not fit i8"),
    ("constant", [], {"value": "x", "dtype": i8, "shape": ()}, AttributeValueError, "number or an array"),
    ("constant", [], {"value": 0.0, "dtype": f32, "shape": (2**62, 2)}, ShapeError, "exceeds 2.63 bytes"),
    ("constant", [], {"value": 0.0, "dtype": f32, "shape": (1,) * 33}, ShapeError, "rank 33"),
    ("iota", [], {"dtype": i32, "shape": (), "axis": 0}, AttributeValueError, "axis 0 is not an axis"),
    ("random_uniform", [t(i64), t(i32)], {"dtype": f32, "shape": ()}, DTypeError, r"offset is i32\[\]; it must be i64"),
    ("random_uniform", [t(i64), t(i64)], {"dtype": i32, "shape": ()}, DTypeError, "takes float elements"),
    ("gradient", [t(f32)], {"targets": 1}, AttributeValueError, "1 operands with targets = 1"),
    ("gradient", [t(f32), t(f32, 2), t(f32)], {"targets": 1}, ShapeError, "must have the type of its target"),
    ("gradient", [t(f32), t(f32), t(i32)], {"targets": 1}, DTypeError, "only floats have gradients"),
    ("fused", [t(f32)], {"kind": "loop"}, AttributeValueError, "make the Op directly"),
    ("fused", [t(f32)], {"kind": "spiral"}, AttributeValueError, "cannot be 'spiral'"),
    ("flip", [t(f32, 2)], {"axes": [0]}, AttributeValueError, "attribute 'axes' cannot be"),
    ("flip", [t(f32, 2)], {"axes": (2**63,)}, AttributeValueError, "attribute 'axes' cannot be"),
    ("flip", [t(f32, 2)], {"axes": (True,)}, AttributeValueError, "attribute 'axes' cannot be"),
    ("flip", [t(f32, 2)], {}, AttributeValueError, "flip needs the attribute 'axes'"),
    ("flip", [t(f32, 2)], {"axes": (), "colour": 1}, AttributeValueError, "no attribute 'colour'; it takes: axes"),
    ("add", [t(f32)], {}, GraphcError, "add takes 2 operands, got 1"),
]


@pytest.mark.parametrize(("name", "types", "attributes", "error", "message"), REFUSED)
def test_refusals_name_the_op_the_types_and_the_remedy(
    name: str, types: list[TensorType], attributes: dict[str, Any], error: type[GraphcError], message: str
) -> None:
    builder = Builder(Block(), Location("train.py", 14))
    with pytest.raises(error, match=message) as caught:
        builder.emit(name, [Value(x) for x in types], attributes)
    assert type(caught.value) is error
    assert str(caught.value).startswith("train.py:14: ")
    assert not builder.block.ops


# --- faults

FAULTS: list[tuple[str, list[Any], dict[str, Any], type[FaultError], str]] = [
    ("take", [[1.0, 2.0], [0, 2]], {"axis": 0}, OutOfRangeError, r"take: index 2 .* axis 0 .* 0 <= index < 2"),
    ("take", [[1.0, 2.0], [-1]], {"axis": 0}, OutOfRangeError, "take: index -1 is out of range"),
    ("gather", [[[1.0], [2.0]], [[5]]], {"axis": 0}, OutOfRangeError, "gather: index 5"),
    ("index_add", [[1.0], [1], [1.0]], {"axis": 0}, OutOfRangeError, "index_add: index 1 .* 0 <= index < 1"),
    ("scatter_add", [[1.0], [-7], [1.0]], {"axis": 0}, OutOfRangeError, "scatter_add: index -7"),
    ("check_index", [[3, 9]], {"low": 0, "high": 9}, OutOfRangeError, "check_index: 9 is out of range; .* 0 <= x < 9"),
    ("check_index", [-1], {"low": 0, "high": 9}, OutOfRangeError, "check_index: -1 is out of range"),
    ("floor_div", [[1, 2], [1, 0]], {}, DivisionByZeroError, r"floor_div: the integer divisor is zero at \(1,\)"),
    ("mod", [1, 0], {}, DivisionByZeroError, "mod: the integer divisor is zero"),
    ("pow", [[2], [-3]], {}, NegativeExponentError, "pow: the integer exponent -3 is negative; cast"),
]


@pytest.mark.parametrize(("name", "operands", "attributes", "error", "message"), FAULTS)
def test_values_out_of_range_fault(
    name: str, operands: list[Any], attributes: dict[str, Any], error: type[FaultError], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(name, [np.array(x) for x in operands], **attributes)


def test_faults_are_also_the_errors_python_raises() -> None:
    assert issubclass(OutOfRangeError, IndexError)
    assert issubclass(DivisionByZeroError, ZeroDivisionError)
    assert issubclass(NegativeExponentError, ValueError)


@pytest.mark.parametrize("name", ["gradient", "fused"])
def test_ops_that_are_rewritten_have_no_value(name: str) -> None:
    with pytest.raises(GraphcError, match=f"{name}: its? .*"):
        lookup(name).eval([np.zeros(2)], {})
