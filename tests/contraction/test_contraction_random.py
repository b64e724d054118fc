"""Random specs, sizes, element types, neighbours and cuts, against exact sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.kernels.contraction_plan import roles_of
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.types import DType, bf16, f16, f32, f64, i32, u8
from tests.codegen.harness import fused, run, types_of
from tests.contraction.products import check_product, random_operands

LETTERS = "abcdef"
SIZES = st.sampled_from([0, 1, 1, 2, 3, 4, 5, 8, 15, 16, 17, 33])


@st.composite
def specs(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A spec of up to six letters, each with a random role, in random order everywhere."""
    letters = LETTERS[: draw(st.integers(0, len(LETTERS)))]
    roles = {x: draw(st.sampled_from(["batch", "m", "n", "k"])) for x in letters}
    places = [
        "".join(draw(st.permutations([x for x in letters if roles[x] in present])))
        for present in (("batch", "m", "k"), ("batch", "n", "k"), ("batch", "m", "n"))
    ]
    sizes = {x: draw(SIZES) for x in letters}
    while np.prod([max(1, s) for s in sizes.values()]) > 40_000:  # keep the exact sums quick
        largest = max(sizes, key=lambda x: sizes[x])
        sizes[largest] //= 2
    return f"{places[0]},{places[1]}->{places[2]}", sizes


@given(
    problem=specs(),
    dtype=st.sampled_from([f32, f32, f64, bf16, f16, i32, u8]),
    turn=st.sampled_from([(), (0,), (1,), (0, 1)]),
    negate=st.booleans(),
    store_both=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_contractions(
    problem: tuple[str, dict[str, int]], dtype: Any, turn: tuple[int, ...], negate: bool, store_both: bool, seed: int
) -> None:
    """Operands in `turn` reach the contraction through a negation, so they are packed; so does, perhaps, the result."""
    spec, sizes = problem
    a, b = random_operands(spec, sizes, dtype, seed)

    def region(builder: Builder, *operands: Value) -> Any:
        given = [builder.neg(x) if i in turn else x for i, x in enumerate(operands)]
        product = builder.contract(*given, spec=spec)
        final = builder.neg(product) if negate else product
        return (final, product) if store_both else final

    results = run(fused("contraction", types_of([a, b]), region), [a, b]).results
    with np.errstate(all="ignore"):
        signed_a = -a if len(turn) == 1 else a
        check_product(-results[0] if negate else results[0], spec, signed_a, b)
        if store_both:
            np.testing.assert_array_equal(results[1], -results[0] if negate else results[0])


@st.composite
def cuts(draw: st.DrawFn, m: int, n: int, k: int) -> Tiling:
    """Any way to cut a product: tiles that fit the registers of all targets, blocks and parts of any number of them."""
    lanes = draw(st.sampled_from([2, 4, 8]))
    rows, vectors = draw(st.sampled_from([(1, 1), (1, 6), (3, 2), (4, 3), (5, 1), (6, 2), (9, 1), (12, 1)]))
    panel = lanes * vectors

    def blocks(extent: int, tile: int) -> int:
        return min(extent, tile * draw(st.integers(1, max(1, extent // tile + 1))))

    m_block, n_block = blocks(m, rows), blocks(n, panel)
    edges = m % rows, -(-(n % panel) // lanes)
    return Tiling(rows, vectors, lanes, *edges, m_block, n_block, blocks(k, lanes), blocks(m_block, rows))


Cut = Callable[[int, int, int], Tiling]


def check_cut(
    cut: Cut, spec: str, sizes: dict[str, int], dtype: DType, turn: tuple[int, ...] = (), negate: bool = False
) -> None:
    """Checks the product with the cut for its m, n, k; operands in `turn` are computed."""
    a, b = random_operands(spec, {x: sizes[x] for x in sizes if x in spec}, dtype)

    def region(builder: Builder, *operands: Value) -> Any:
        given = [builder.neg(x) if i in turn else x for i, x in enumerate(operands)]
        product = builder.contract(*given, spec=spec)
        return builder.neg(product) if negate else product

    op = fused("contraction", types_of([a, b]), region)
    roles = roles_of(op.regions[0].ops[len(turn)])
    m, n, k = (roles.extent(x) for x in (roles.left.own, roles.right.own, roles.k))
    kernel = emit_kernel(op, (0, 1, 2), host_target(), cut(m, n, k))
    (result,) = run(op, [a, b], kernel=kernel).results
    with np.errstate(all="ignore"):
        check_product(-result if negate else result, spec, -a if len(turn) == 1 else a, b)


@given(
    data=st.data(),
    spec=st.sampled_from(["mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn", "bkm,nbk->bmn"]),
    sizes=st.fixed_dictionaries({"b": st.just(2), **{x: st.integers(1, 70) for x in "mnk"}}),
    dtype=st.sampled_from([f32, f32, f64, bf16, i32]),
    turn=st.sampled_from([(), (0,), (1,), (0, 1)]),
    negate=st.booleans(),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_cuts(
    data: st.DataObject, spec: str, sizes: dict[str, int], dtype: DType, turn: tuple[int, ...], negate: bool
) -> None:
    """However a product is cut, and whatever of it is packed or computed on the way."""
    check_cut(lambda m, n, k: data.draw(cuts(m, n, k)), spec, sizes, dtype, turn, negate)


def test_turned_rows_that_fill_their_memory_leave_the_next_alone() -> None:
    """The last vector of the left operand's panels is longer than a row; 12 x 512 elements end where the right ones'
    memory begins."""
    cut = Tiling(6, 1, 8, 0, 0, 12, 128, 512, 12)
    check_cut(lambda m, n, k: cut, "mk,nk->mn", {"m": 12, "n": 128, "k": 512}, f32)
