"""What cannot be traced raises at the user's line, and says what to do instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn

STATE = graphc.ones(3)
WEIGHT = graphc.ones(3, requires_grad=True)
ARRAY = np.ones(3, np.float32)


def branch(x: Any) -> Any:
    if x.sum() > 0:  # here
        return x
    return -x


def loop(x: Any) -> Any:
    while (x < 3).all():  # here
        x = x * 2
    return x


def assertion(x: Any) -> Any:
    assert x.isfinite().all()  # here
    return x


def branch_on_state(x: Any) -> Any:
    return x if STATE.sum() > 0 else -x  # here


def item(x: Any) -> Any:
    return x * x.sum().item()  # here


def item_of_state(x: Any) -> Any:
    return x * STATE[0].item()  # here


def to_float(x: Any) -> Any:
    return x * float(x[0])  # here


def to_int(x: Any) -> Any:
    return x[int(x[0])]  # here


def index(x: Any) -> Any:
    return list(range(3))[x.long()[0]] * x  # here


def to_numpy(x: Any) -> Any:
    return np.exp(x)  # here


def numpy_method(x: Any) -> Any:
    return x.numpy().sum()  # here


def tolist(x: Any) -> Any:
    return sum(x.tolist())  # here


def formatted(x: Any) -> Any:
    return x, f"{x.sum():.3f}"  # here


def printed(x: Any) -> Any:
    print(x)  # here
    return x


def contains(x: Any) -> Any:
    return x * (1.0 in x)  # here


def mask(x: Any) -> Any:
    return x[x > 0].sum()  # here


def nonzero(x: Any) -> Any:
    return graphc.nonzero(x)  # here


def array_in_expression(x: Any) -> Any:
    return x + ARRAY  # here


def shared_array(x: Any) -> Any:
    return x + graphc.from_numpy(ARRAY)  # here


def list_of_traced(x: Any) -> Any:
    return graphc.tensor([x[0], x[1]])  # here


def assign_at_indices(x: Any) -> Any:
    x[graphc.tensor([0, 1])] = 1.0  # here
    return x


def order(x: Any) -> Any:
    return x[graphc.randperm(3)]  # here


def shapes(x: Any) -> Any:
    return x + graphc.zeros(4)  # here


def product_shapes(x: Any) -> Any:
    return x.reshape(1, 3) @ graphc.ones(4, 2)  # here


def product_dtypes(x: Any) -> Any:
    return x @ graphc.ones(3, dtype=graphc.float64)  # here


def view_size(x: Any) -> Any:
    return x.view(2, 2)  # here


def non_scalar(x: Any) -> Any:
    (WEIGHT * x).backward()  # here
    return x


def integer_gradient(x: Any) -> Any:
    (WEIGHT * x).long().sum().backward()  # here
    return x


def gradient_by_integer(x: Any) -> Any:
    return graphc.grad(lambda n: (n * x).sum())(graphc.tensor([1, 2, 3]))  # here


def no_gradient(x: Any) -> Any:
    x.sum().backward()  # here
    return x


def leaf_in_place(x: Any) -> Any:
    WEIGHT.add_(x)  # here
    return x


def recorded_write_to_state(x: Any) -> Any:
    STATE.copy_(WEIGHT * x)  # here
    return x


def write_past_the_tape(x: Any) -> Any:
    h = WEIGHT * x
    h.detach().mul_(2)  # here
    return h.sum()


def expanded_write(x: Any) -> Any:
    x.expand(2, 3).add_(1)  # here
    return x


def parameter(x: Any) -> Any:
    return nn.Parameter(graphc.zeros(3)) * x  # here


def growing_write(x: Any) -> Any:
    return x.add_(graphc.ones(2, 3))  # here


def narrowing_write(x: Any) -> Any:
    n = x.long()
    n += 0.5  # here
    return n


def index_range(x: Any) -> Any:
    return x[3]  # here


def unknown_device(x: Any) -> Any:
    return x.to("cuda")  # here


CASES: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (branch, graphc.TracingError, r"branch on a tensor of type bool\[\].*graphc.where"),
    (loop, graphc.TracingError, r"branch on a tensor of type bool\[\].*graphc.where"),
    (assertion, graphc.TracingError, "branch on"),
    (branch_on_state, graphc.TracingError, "branch on"),
    (item, graphc.TracingError, r"item\(\) of a tensor of type f32\[\].*return the tensor"),
    (item_of_state, graphc.TracingError, r"item\(\)"),
    (to_float, graphc.TracingError, r"float\(\)"),
    (to_int, graphc.TracingError, r"int\(\)"),
    (index, graphc.TracingError, r"index\(\)"),
    (to_numpy, graphc.TracingError, "NumPy array"),
    (numpy_method, graphc.TracingError, r"numpy\(\)"),
    (tolist, graphc.TracingError, r"tolist\(\)"),
    (formatted, graphc.TracingError, "format"),
    (printed, graphc.TracingError, "format"),
    (contains, graphc.TracingError, "branch on"),
    (mask, graphc.TracingError, "select with a mask.*graphc.where"),
    (nonzero, graphc.TracingError, "nonzero"),
    (array_in_expression, graphc.TracingError, r"NumPy array of shape \(3,\).*argument"),
    (shared_array, graphc.TracingError, "from_numpy.*argument"),
    (list_of_traced, graphc.TracingError, "graphc.stack"),
    (assign_at_indices, graphc.TracingError, "graphc.where.*index_add"),
    (order, graphc.TracingError, "randperm.*outside"),
    (shapes, graphc.ShapeError, r"add: shapes \(3,\) and \(4,\)"),
    (product_shapes, graphc.ShapeError, r"matmul: shapes \(1, 3\) and \(4, 2\)"),
    (product_dtypes, graphc.DTypeError, r"matmul: element types differ: f32\[3\] and f64\[3\]"),
    (view_size, graphc.ShapeError, r"view: .*\(3,\).*\(2, 2\)"),
    (non_scalar, graphc.ShapeError, r"backward: a tensor of shape \(3,\).*\.sum\(\)"),
    (integer_gradient, graphc.DTypeError, r"backward of a tensor of type i64\[\].*float"),
    (gradient_by_integer, graphc.DTypeError, r"argument of type i64\[3\]"),
    (no_gradient, graphc.AutogradError, "does not require gradients"),
    (leaf_in_place, graphc.AutogradError, "leaf tensor of type.*no_grad"),
    (recorded_write_to_state, graphc.TracingError, r"'STATE'.*detach\(\)"),
    (write_past_the_tape, graphc.TracingError, r"clone\(\)"),
    (expanded_write, graphc.TracingError, r"expanded.*clone\(\)"),
    (parameter, graphc.TracingError, "before the function is called"),
    (growing_write, graphc.ShapeError, r"add_: .*\(2, 3\).*\(3,\)"),
    (narrowing_write, graphc.DTypeError, "add_: .*f32.*i64"),
    (index_range, graphc.OutOfRangeError, "3 lies outside dimension 0"),
    (unknown_device, graphc.AttributeValueError, "device 'cuda'"),
]


def line_of(function: Callable[..., Any]) -> int:
    lines, start = inspect.getsourcelines(function)
    return start + next(i for i, line in enumerate(lines) if "# here" in line)


@pytest.mark.parametrize(("function", "kind", "message"), CASES, ids=[f.__name__ for f, _, _ in CASES])
def test_error_in_a_trace(function: Callable[[Any], Any], kind: type[Exception], message: str) -> None:
    compiled = graphc.compile(function)
    with pytest.raises(kind, match=message) as caught:
        compiled(graphc.ones(3))
    assert str(caught.value).startswith(f"{__file__}:{line_of(function)}: ")
    assert STATE.tolist() == [1.0] * 3
    assert compiled.versions == 0


ALSO_EAGER = [
    shapes,
    product_shapes,
    product_dtypes,
    view_size,
    non_scalar,
    gradient_by_integer,
    no_gradient,
    leaf_in_place,
    growing_write,
    narrowing_write,
    index_range,
    unknown_device,
]


@pytest.mark.parametrize("function", ALSO_EAGER, ids=[f.__name__ for f in ALSO_EAGER])
def test_the_same_error_eagerly(function: Callable[[Any], Any]) -> None:
    kind, message = next((kind, message) for f, kind, message in CASES if f is function)
    with pytest.raises(kind, match=message) as caught:
        function(graphc.ones(3))
    assert str(caught.value).startswith(f"{__file__}:{line_of(function)}: ")


LEAKED: list[Any] = []


@graphc.compile
def leak(x: Any) -> Any:
    LEAKED.append(x * 2)
    return x


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t + 1,
        lambda t: t.item(),
        lambda t: str(t),
        lambda t: np.asarray(t),
        lambda t: t.add_(1),
        lambda t: t.clone(),
        lambda t: graphc.ones(3).copy_(t),
        lambda t: graphc.compile(lambda x: x + t)(graphc.ones(3)),
        lambda t: graphc.compile(lambda x: x + 1)(t),
        lambda t: graphc.cat([t, graphc.ones(3)]),
    ],
)
def test_leaked_tensors(use: Callable[[Any], Any]) -> None:
    LEAKED.clear()
    leak.reset()
    leak(graphc.ones(3))
    assert LEAKED[0].shape == (3,)
    assert "traced" in repr(LEAKED[0])
    with pytest.raises(graphc.TracingError, match=r"made at .*test_trace_errors.py:\d+ while 'leak' was traced"):
        use(LEAKED[0])


def test_tensors_kept_on_modules_are_refused() -> None:
    net = nn.Linear(3, 3)

    @graphc.compile
    def step(x: Any) -> Any:
        net.last = net(x)
        return net.last

    with pytest.raises(graphc.TracingError, match=r"Linear\.last is set to a traced tensor"):
        step(graphc.ones(2, 3))
    assert not hasattr(net, "last")


def test_errors_of_kernels_name_the_line() -> None:
    @graphc.compile
    def pick(x: Any, i: Any) -> Any:
        return graphc.index_select(x, 0, i)

    with pytest.raises(graphc.OutOfRangeError, match=r"test_trace_errors\.py"):
        pick(graphc.ones(3), graphc.tensor([3]))


def test_parameters_of_another_shape() -> None:
    net = nn.LayerNorm(3)
    step = graphc.compile(lambda x: x * net.weight, name="step")
    step(graphc.ones(1, 3))
    net.weight.data = graphc.zeros(1)
    with pytest.raises(graphc.StateError, match=r"weight was f32\[3\] when 'step' was compiled, and is f32\[1\] now"):
        step(graphc.ones(1, 3))
    step.reset()
    assert step(graphc.ones(1, 3)).tolist() == [[0.0] * 3]


def test_what_is_compiled() -> None:
    with pytest.raises(TypeError, match="functions, modules and module classes"):
        graphc.compile(int)
    with pytest.raises(TypeError, match="functions, modules and module classes"):
        graphc.compile(3)
    with pytest.raises(ValueError, match="static_argnames: 'z' is not a parameter"):
        graphc.compile(lambda x: x, static_argnames="z")


def test_errors_of_the_function_pass_through() -> None:
    @graphc.compile
    def fail(x: Any) -> Any:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fail(graphc.ones(3))
    assert graphc.ones(3).sum().item() == 3.0
