"""The eager tape on its own: memory of gradients, freed graphs, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_share_no_memory(create_graph: bool) -> None:
    x, y = graphc.ones(3, requires_grad=True), graphc.ones(3, requires_grad=True)
    cotangent = graphc.ones(3)
    (x + y.view(3)).backward(cotangent, create_graph=create_graph)
    memory = [np.asarray(t.detach()) for t in (x.grad, y.grad, cotangent, x, y)]
    for i, a in enumerate(memory):
        assert not any(np.shares_memory(a, b) for b in memory[:i])
    assert x.grad.tolist() == y.grad.tolist() == [1.0] * 3


def test_gradients_can_be_written() -> None:
    x = graphc.ones(3, requires_grad=True)
    x.sum().backward()
    x.grad.mul_(2)
    x.sum().backward()
    assert x.grad.tolist() == [3.0] * 3


def test_a_used_graph_lets_go_of_its_values() -> None:
    x = graphc.ones(3, requires_grad=True)
    y = (x * x).sum()
    node = y.grad_fn
    y.backward()
    assert node.released
    with pytest.raises(graphc.AutogradError, match="retain_graph=True"):
        y.backward()


def test_shared_parts_of_graphs() -> None:
    x = graphc.ones(3, requires_grad=True)
    shared = x * 2
    first, second = shared.sum(), (shared * shared).sum()
    first.backward(retain_graph=True)
    second.backward()
    assert x.grad.tolist() == [10.0] * 3


def test_deep_graphs() -> None:
    x = graphc.ones(1, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1.0]


def test_errors_name_the_line_of_the_op() -> None:
    x = graphc.ones(3, requires_grad=True)
    y = x.exp()
    y.add_(1)
    with pytest.raises(
        graphc.AutogradError, match=r"test_autograd.py:\d+: .*f32\[3\] that was written in place"
    ) as caught:
        y.sum().backward()
    assert "clone()" in str(caught.value)


@pytest.mark.parametrize("dtype", [graphc.float64, graphc.float16, graphc.bfloat16])
def test_other_floats(dtype: Any) -> None:
    x = graphc.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.dtype == dtype
    assert x.grad.tolist() == [2.0, 4.0]
    mixed = (x.float() * 2).sum()
    mixed.backward()
    assert x.grad.dtype == dtype
    assert x.grad.tolist() == [4.0, 6.0]


def test_zero_sized_tensors() -> None:
    x = graphc.zeros(0, 3, requires_grad=True)
    (x @ graphc.ones(3, 2)).sum().backward()
    assert x.grad.shape == (0, 3)


def test_no_tape_without_need() -> None:
    x = graphc.ones(3)
    assert (x * 2).grad_fn is None
    leaf = graphc.ones(3, requires_grad=True)
    with graphc.no_grad():
        assert (leaf * 2).grad_fn is None
    assert (leaf > 0).grad_fn is None
    assert leaf.argmax().grad_fn is None
    assert (leaf * 2).grad_fn is not None
    assert (leaf * 2).is_leaf is False
