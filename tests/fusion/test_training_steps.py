"""What of a training step reaches memory."""

from __future__ import annotations

import itertools

import pytest

from graphc.ir.schedule import Schedule
from graphc.passes.pipeline import lower
from tests.fusion.training_graphs import mlp

SIZES = (48, 32, 24, 10)


def planned(optimizer: str) -> Schedule:
    return lower(mlp(optimizer, SIZES, batch=16)).schedule


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_gradients_of_weights_and_biases_are_never_in_memory(optimizer: str) -> None:
    """Whatever has the shape of a parameter is a state: its value, or a moment."""
    schedule = planned(optimizer)
    shapes = {v.type.shape for v in schedule.graph.states if v.type.shape}
    assert {(m, n) for n, m in itertools.pairwise(SIZES)} <= shapes
    for value, buffer in schedule.buffers.items():
        assert value.type.shape not in shapes or buffer.space == "state", buffer


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_states_are_updated_in_place_with_no_copies(optimizer: str) -> None:
    schedule = planned(optimizer)
    updated = set(schedule.graph.updates)
    for launch in schedule.launches:
        assert launch.op.regions[0].ops, "a copy"
        places = {buffer.place for buffer in launch.reads}
        for buffer in launch.writes:
            assert buffer.space != "state" or buffer.place in places
        updated -= {v for v in updated if schedule.buffers[v].place in {b.place for b in launch.writes}}
    assert not updated


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_masked_gradients_are_stored_once_for_all_who_need_them(optimizer: str) -> None:
    """The relu's mask is applied to the product that it follows; the gradients of weight and bias, and the product
    before, read what that stores."""
    schedule = planned(optimizer)
    hidden = [b for v, b in schedule.buffers.items() if v.type.shape in ((16, 32), (16, 24)) and b.space == "arena"]
    by_dtype = sorted(str(b.type.dtype) for b in hidden)
    assert by_dtype == ["bool", "bool", "f32", "f32", "f32", "f32"]
