"""Contraction kernels: sums of products with a prologue on either operand and an epilogue on the result.

A unit of work is one block of the result. There are three ways to compute it, chosen by the shape and the layout:

- by register tiles: the loops of Goto and van de Geijn (2008) and of BLIS (Van Zee and van de Geijn, 2015), less the
  outermost. For each block of k the unit packs its part of the operands and adds the products, tile by tile, to sums in
  scratch memory or in the result; then the epilogue runs over them (`contraction_products`);
- likewise, by dot products, where one operand has few rows and the other lies along k (`contraction_dot`);
- result by result, where there is little to sum (`contraction_outer`).

The order of summation depends on the shape and the target alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.codegen.expression import Elements, Expression
from graphc.codegen.index import Index
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.contraction_dot import DotProducts, DotTiling, dot_tiling
from graphc.codegen.kernels.contraction_loops import Span, let, loop, n_blocks, unit_loop
from graphc.codegen.kernels.contraction_outer import OuterProducts, OuterTiling, Place, outer_tiling
from graphc.codegen.kernels.contraction_packing import lies_well
from graphc.codegen.kernels.contraction_plan import Roles, cost_of, roles_of
from graphc.codegen.kernels.contraction_products import TileProducts
from graphc.codegen.kernels.contraction_sums import InScratch
from graphc.codegen.kernels.contraction_tiles import Tiling, choose_tiling
from graphc.codegen.kernels.contraction_tiles import candidates as tile_candidates
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.kernels.signature import describe, parameters, signature
from graphc.codegen.source import Source
from graphc.ir.graph import Op
from graphc.ir.opdef import lookup
from graphc.ir.target import Target

AnyTiling = Tiling | DotTiling | OuterTiling


def emit_contraction(op: Op, slots: tuple[int, ...], target: Target, tiling: AnyTiling | None = None) -> Kernel:
    """The kernel of a fused op of kind "contraction". Its region holds one contract op on operands that pointwise,
    generate and layout ops compute from the arguments; pointwise ops may follow it. `tiling`: one of `candidates`, used
    instead of what is chosen by estimates."""
    (region,) = op.regions
    contract = _contract_of(op)
    params = parameters(region, slots)
    source = Source(signature(params), describe(op, slots))
    if contract.result.type.size == 0:
        return Kernel(source.text(), params, 0)
    roles = roles_of(contract)
    emitter = _Emitter(op, slots, roles, tiling or tiling_of(roles, target, _bytes_of(op)), source)
    emitter.write()
    return Kernel(source.text(), params, emitter.units, emitter.scratch.nbytes)


def candidates(op: Op, target: Target) -> list[Tiling]:
    """The ways to cut a fused op of kind "contraction" that are worth measuring, the one chosen by estimates first;
    none where there is no choice. The results have the same bits for all of them."""
    contract = _contract_of(op)
    if contract.result.type.size == 0:
        return []
    roles = roles_of(contract)
    chosen = tiling_of(roles, target, _bytes_of(op))
    if not isinstance(chosen, Tiling):
        return []
    return [*tile_candidates(chosen, target, roles.extent(roles.left.own), roles.extent(roles.right.own))]


def _contract_of(op: Op) -> Op:
    (contract,) = [inner for inner in op.regions[0].ops if lookup(inner.name).kind == "contract"]
    return contract


def _bytes_of(op: Op) -> int:
    """What the kernel reads and writes."""
    (region,) = op.regions
    return sum(value.type.nbytes for value in (*region.args, *region.results))


def tiling_of(roles: Roles, target: Target, nbytes: int) -> AnyTiling:
    """How the contraction is cut. `nbytes` is what the kernel reads and writes."""
    found = outer_tiling(roles, target, nbytes) or dot_tiling(roles, target)
    if found is not None:
        return found
    batch, m, n, k = (roles.extent(x) for x in (roles.batch, roles.left.own, roles.right.own, roles.k))
    left, right = cost_of(roles.left.value), cost_of(roles.right.value)
    itemsize = roles.accumulator.itemsize
    lies = lies_well(roles, min(target.lanes(itemsize), 16))
    return choose_tiling(target, itemsize, batch, m, n, max(1, k), left > max(1, right), lies)


class _Emitter:
    """Writes one kernel."""

    def __init__(self, op: Op, slots: Sequence[int], roles: Roles, tiling: AnyTiling, source: Source):
        (region,) = op.regions
        self._roles = roles
        self._tiling = tiling
        self._source = source
        self._region = region
        self._slots = slots
        self._elements = Elements(region, slots, source)
        self._batches, self._m, self._n, self._k = (
            roles.extent(letters) for letters in (roles.batch, roles.left.own, roles.right.own, roles.k)
        )
        self.scratch = Scratch(source)

    @property
    def units(self) -> int:
        return self._batches * n_blocks(self._m, self._tiling.m_block) * n_blocks(self._n, self._tiling.n_block)

    def write(self) -> None:
        arguments = dict(zip(self._region.args, self._slots, strict=False))
        shared = (self._elements, self._roles, arguments, self.scratch)
        with unit_loop(self._source, self._batches, self._m, self._n, self._tiling) as (batch, rows, columns):
            if self._k == 0:
                zero = self._elements.constant(0, self._roles.accumulator)
                self._epilogue(batch, rows, columns, lambda i, j: zero)
            elif isinstance(self._tiling, OuterTiling):
                outer = OuterProducts(*shared, self._tiling)
                outer.write(batch, rows, columns, lambda places: self._finish(batch, places))
            else:
                products: DotProducts | TileProducts
                if isinstance(self._tiling, DotTiling):
                    products = DotProducts(*shared, self._tiling)
                else:
                    products = TileProducts(*shared, self._tiling)
                sums = products.sums(self._result())
                products.write(batch, rows, columns, sums)
                if isinstance(sums, InScratch):
                    self._epilogue(batch, rows, columns, lambda i, j: self._total(sums.buffer, sums.place(i, j)))

    def _result(self) -> str | None:
        """The parameter of the contraction's result, if that is all that the kernel gives, in the accumulator's
        type."""
        result = self._roles.op.result
        alone = self._region.results == [result] and result.type.dtype == self._roles.accumulator
        return f"p{self._slots[-1]}" if alone else None

    def _epilogue(self, batch: Index, rows: Span, columns: Span, total: Callable[[Index, Index], Expression]) -> None:
        """Go through the sums of a unit."""
        self._source.comment("compute and store the results")
        with loop(self._source, "i", rows.size) as i:
            m = let(self._source, "m", rows.at(i))
            with loop(self._source, "j", columns.size) as j:
                self._finish(batch, [(m, columns.at(j), total(i, j))])

    def _finish(self, batch: Index, places: Sequence[Place]) -> None:
        """Compute the results' elements from sums, then store them all: a result may take an operand's place."""
        stores: list[tuple[int, tuple[Index, ...], Expression]] = []
        for m, n, total in places:
            self._elements.bind(self._roles.op.result, _always(total), self._source.depth)
            index = self._roles.out_index(batch, m, n)
            stores += [(i, index, self._elements.of(v, index)) for i, v in enumerate(self._region.results)]
        for store in stores:
            self._elements.store(*store)

    def _total(self, buffer: str, place: Index) -> Expression:
        """A sum of products, rounded to the contraction's own type."""
        elements, accumulator = self._elements, self._roles.accumulator
        read = Expression(f"{buffer}[{place.text}]", accumulator, self._source.depth, atomic=False)
        total = elements.scalars.assign(read, accumulator, "total")
        dtype = self._roles.op.result.type.dtype
        return elements.apply(lambda s, x: x, [total], dtype, "contract") if dtype != accumulator else total


def _always(element: Expression) -> Callable[[tuple[Index, ...]], Expression]:
    return lambda at: element
