"""Which operands keep a random graph numerically tame.

Two ways of running a graph may round differently, so a value that was rounded ("inexact") must stay away from where an
op jumps or has a kink, and every value from where an op or its derivative grows without bound. Values that no
way of running may round differently ("exact") may sit right on a jump.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir import DType, lookup

Array = np.ndarray[Any, Any]

LIMIT = 16.0  # of the magnitude of float values
_MARGINS = {"f64": 1e-5, "f32": 1e-2, "f16": 0.05, "bf16": 0.2}

_EXACT = {
    *("neg", "abs", "sign", "floor", "ceil", "round", "relu", "maximum", "minimum", "clamp", "where", "cast"),
    *("stop_gradient", "check_index", "constant", "iota", "random_uniform", "max", "min"),
}


def keeps_exact(name: str) -> bool:
    """Whether the op's result is the same bits however it is run, given the same operands."""
    return name in _EXACT or lookup(name).kind in ("layout", "gather")


def is_tame(name: str, operands: Sequence[Array], attributes: dict[str, Any]) -> bool:
    """Whether the op and its derivative stay bounded on these operands."""
    rule = _BOUNDED.get(name)
    if rule is None or any(a.size == 0 for a in operands):
        return True
    return bool(rule(*map(_wide, operands)))


def is_clear_of_jumps(name: str, operands: Sequence[Array], attributes: dict[str, Any], dtype: DType) -> bool:
    """Whether small changes of operands of element type `dtype` change the result and its derivative by little."""
    if not dtype.is_float or any(a.size == 0 for a in operands):
        return True
    margin = _MARGINS[dtype.name]
    wide = [_wide(a) for a in operands]
    if name in ("max", "min", "argmax", "argmin"):
        return _extremes_apart(wide[0], attributes["axes"], name, margin)
    if name == "cast":
        return attributes["dtype"].is_float or (_off_grid(wide[0], margin) and _off_zero(wide[0], margin))
    rule = _CLEAR.get(name)
    return rule is None or bool(rule(*wide, margin))


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype != np.bool_ else array


def _off_grid(x: Array, margin: float) -> bool:
    return bool(np.all(np.abs(x - np.round(x)) > margin))


def _off_half_grid(x: Array, margin: float) -> bool:
    return _off_grid(x + 0.5, margin)


def _off_zero(x: Array, margin: float) -> bool:
    return bool(np.all(np.abs(x) > margin))


def _apart(a: Array, b: Array, margin: float) -> bool:
    return _off_zero(a - b, margin)


def _between(x: Array, low: Array, high: Array, margin: float) -> bool:
    return _apart(x, low, margin) and _apart(x, high, margin) and _apart(low, high, margin)


def _quotient_off_grid(a: Array, b: Array, margin: float) -> bool:
    return _off_grid(a / b, margin)


def _extremes_apart(x: Array, axes: Sequence[int], name: str, margin: float) -> bool:
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = x.transpose([*kept, *axes]).reshape(int(np.prod([x.shape[i] for i in kept])), -1)
    if rows.shape[1] < 2:
        return True
    ranked = np.sort(rows if name.endswith("max") else -rows, axis=1)
    return bool(np.all(ranked[:, -1] - ranked[:, -2] > margin))


_Rule = Callable[..., Any]

_BOUNDED: dict[str, _Rule] = {
    "div": lambda a, b: np.all(np.abs(b) > 0.4),
    "floor_div": lambda a, b: np.all(np.abs(b) > 0.4),
    "mod": lambda a, b: np.all(np.abs(b) > 0.4),
    "pow": lambda a, b: np.all((a > 0.3) & (a < 4) & (np.abs(b) < 3)) or (np.all(b == np.round(b)) and np.all(b >= 1)),
    "exp": lambda x: np.all(x < 2.5),
    "expm1": lambda x: np.all(x < 2.5),
    "log": lambda x: np.all(x > 0.3),
    "log1p": lambda x: np.all(x > -0.6),
    "sqrt": lambda x: np.all(x > 0.2),
    "rsqrt": lambda x: np.all(x > 0.3),
    "prod": lambda x: np.all(np.abs(x) > 0.2),
    "clamp": lambda x, low, high: np.all(low <= high),
}
_CLEAR: dict[str, _Rule] = {
    **dict.fromkeys(("floor", "ceil"), _off_grid),
    "round": _off_half_grid,
    **dict.fromkeys(("sign", "abs", "relu"), _off_zero),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum"), _apart),
    **dict.fromkeys(("floor_div", "mod"), _quotient_off_grid),
    "clamp": _between,
}
