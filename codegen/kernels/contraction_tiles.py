"""How a contraction is cut: register tiles, blocks and work units, from the shape and the target alone.

The cut never depends on the number of threads; the order in which k is summed depends on the depth of its blocks only,
and that not even on the number of cores. The levels are those of Goto and van de Geijn (2008): a panel of the right
operand stays in the first cache while rows of the left one, in the second, pass over it. Where there is work for more
units than threads want, units grow to what a core has of the last cache: each packs a block of the right operand that
stays there, and takes its rows part by part, as the second cache holds them.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.target import Target

_MOST_ROWS = 14
_MOST_VECTORS = 4  # of a tile that does not hold all rows: each pass over a panel should feed several
_MOST_ACCUMULATORS = 28
_MOST_LANES = 16  # of narrow integers, whose products have no wide vector form
_ROWS_OF_BLOCK = 256
_COLUMNS_OF_BLOCK = 256
_SMALL_L2 = 1 << 20  # bytes; below, blocks have half as many columns
_WIDE_BLOCK = 512  # columns, where what is packed for the rows is dear
_PRODUCTS_WORTH_A_UNIT = 1 << 20
_PRODUCTS_WORTH_ROWS = 1 << 18  # likewise, where blocks of rows repeat no packing
_COLUMNS_OF_ROWS = 2048  # that a block of whole rows holds at most
_ENOUGH_UNITS = 8
_MOST_UNITS = 16  # of work that is cut by its cost
_CYCLES_WORTH_A_UNIT = 5000
_UNITS_OF_CORE = 4  # that growing leaves for each
_TILES_TO_TRY = 3  # register tiles, where candidates are measured


@dataclass(frozen=True)
class Tiling:
    """`rows` x (`vectors` * `lanes`) accumulators in registers; `edge_rows` and `edge_vectors` are those of the last
    tile along m and n where it is smaller (else 0). Blocks hold `m_block` rows, `n_block` columns (both whole numbers
    of tiles, save where one block holds all) and `k_block` steps; `m_part` of their rows, as whole tiles, are packed
    and multiplied at a time."""

    rows: int
    vectors: int
    lanes: int
    edge_rows: int
    edge_vectors: int
    m_block: int
    n_block: int
    k_block: int
    m_part: int

    @property
    def panel(self) -> int:
        """Columns of a register tile."""
        return self.vectors * self.lanes


def choose_tiling(
    target: Target,
    itemsize: int,
    batch: int,
    m: int,
    n: int,
    k: int,
    costly_left: bool = False,
    right_lies: bool = False,
) -> Tiling:
    """The cut of a product of (batch, m, k) by (batch, k, n), all at least 1. `costly_left`: the left operand is
    computed while it is packed, so few blocks of columns should repeat that. `right_lies`: the right one is not packed,
    so blocks of rows repeat nothing."""
    lanes = _lanes(target, itemsize, n)
    rows, vectors = _register_tile(target, m, _ceil(n, lanes))
    panel = vectors * lanes
    k_block = even_share(k, max(128, target.l1_bytes * 2 // 3 // (panel * itemsize)), lanes)
    if m <= 2 * rows:  # no panel is used often enough to be worth keeping
        k_block = even_share(k, max(k_block, target.l2_bytes // 4 // (panel * itemsize)), lanes)
    usual = _COLUMNS_OF_BLOCK // (2 if target.l2_bytes < _SMALL_L2 else 1)
    wide = costly_left and n > usual
    most_columns = _WIDE_BLOCK if wide else usual
    most_rows = _ROWS_OF_BLOCK // 4 if wide else _ROWS_OF_BLOCK
    m_block, n_block = even_share(m, most_rows, rows), even_share(n, most_columns, panel)
    whole_rows = right_lies and k_block == k and n <= _COLUMNS_OF_ROWS
    if whole_rows:
        blocks = _ceil(_row_blocks(batch * m * n * k), batch)
        m_block, n_block = even_share(m, _ceil(m, blocks), rows), n
    while not whole_rows:
        units = batch * _ceil(m, m_block) * _ceil(n, n_block)
        if units >= _ENOUGH_UNITS or m_block * n_block * k < 2 * _PRODUCTS_WORTH_A_UNIT:
            break
        fewer_columns = even_share(n, n_block // 2, panel)
        fewer_rows = even_share(m, m_block // 2, rows)
        if fewer_columns < n_block and (n_block >= m_block or fewer_rows < 4 * rows) and not costly_left:
            n_block = fewer_columns
        elif fewer_rows < m_block and fewer_rows >= 2 * rows:
            m_block = fewer_rows
        else:
            break
    m_part = m_block
    if not whole_rows and batch * _ceil(m, m_block) * _ceil(n, n_block) >= 2 * _ENOUGH_UNITS:
        k_block = even_share(k, max(k_block, target.l1_bytes // (panel * itemsize)), lanes)
        m_block, n_block = _grown(target, itemsize, batch, (m, n, k_block), (rows, panel), (m_block, n_block))
        m_part = even_share(m_block, target.l2_bytes // 2 // (k_block * itemsize), rows)
    edge_vectors = _ceil(n % panel, lanes)
    return Tiling(rows, vectors, lanes, m % rows, edge_vectors, m_block, n_block, k_block, m_part)


def _grown(
    target: Target,
    itemsize: int,
    batch: int,
    extents: tuple[int, int, int],
    tile: tuple[int, int],
    block: tuple[int, int],
) -> tuple[int, int]:
    """A block (rows, columns), doubled as long as units enough are left, and the sums and what is packed for them take
    no more than a core's share of the last cache."""
    (m, n, k_block), (rows, panel) = extents, tile
    most = target.l3_bytes // (2 * target.cores) // itemsize
    while True:
        m_block, n_block = block
        taller, wider = even_share(m, 2 * m_block, rows), even_share(n, 2 * n_block, panel)
        grown = (m_block, wider) if wider > n_block and (n_block <= m_block or taller == m_block) else (taller, n_block)
        units = batch * _ceil(m, grown[0]) * _ceil(n, grown[1])
        enough = units >= max(_ENOUGH_UNITS, _UNITS_OF_CORE * target.cores)
        if grown == block or not enough or grown[1] * max(grown[0], k_block) > most:
            return block
        block = grown


def candidates(tiling: Tiling, target: Target, m: int, n: int) -> list[Tiling]:
    """A few cuts to choose from by measurement, `tiling` first. All sum in the same order: lanes and depth of the
    blocks of k are those of `tiling`."""
    n_vectors = _ceil(n, tiling.lanes)
    tiles = sorted(_register_tiles(target, m, n_vectors), key=lambda c: (_cost(m, n_vectors, *c), -c[0] * c[1]))
    found = [tiling]
    for rows, vectors in [(tiling.rows, tiling.vectors), *tiles[:_TILES_TO_TRY]]:
        for m_scale, n_scale in ((1, 1), (0.5, 1), (2, 1), (1, 0.5), (1, 2), (2, 2)):
            panel = vectors * tiling.lanes
            m_block = even_share(m, int(tiling.m_block * m_scale), rows)
            n_block = even_share(n, int(tiling.n_block * n_scale), panel)
            m_part = m_block if tiling.m_part == tiling.m_block else even_share(m_block, tiling.m_part, rows)
            edge = m % rows, _ceil(n % panel, tiling.lanes)
            cut = Tiling(rows, vectors, tiling.lanes, *edge, m_block, n_block, tiling.k_block, m_part)
            if cut not in found:
                found.append(cut)
    return found


def _lanes(target: Target, itemsize: int, n: int) -> int:
    """A full vector, or the narrowest that holds all columns."""
    lanes = min(target.lanes(itemsize), _MOST_LANES)
    while lanes > 2 and lanes // 2 >= n:
        lanes //= 2
    return lanes


def _register_tile(target: Target, m: int, n_vectors: int) -> tuple[int, int]:
    """The rows and vectors of the register tile that covers m rows and n vectors at the least cost."""
    return min(_register_tiles(target, m, n_vectors), key=lambda c: (_cost(m, n_vectors, *c), -c[0] * c[1]))


def _register_tiles(target: Target, m: int, n_vectors: int) -> list[tuple[int, int]]:
    return [
        (rows, vectors)
        for vectors in range(1, min(n_vectors, 8) + 1)
        for rows in range(1, min(m, _MOST_ROWS) + 1)
        if (vectors <= _MOST_VECTORS or rows == m)
        and rows * vectors <= _MOST_ACCUMULATORS
        and rows * vectors + vectors + 1 <= target.vector_registers
    ]


def _cost(m: int, n_vectors: int, rows: int, vectors: int) -> float:
    """Cycles per step of k of a machine with two multiply-adds and two loads per cycle, each multiply-add taking four:
    a tile of few accumulators waits for itself. Loads are not quite free beside the multiply-adds, and a wide tile has
    shallow blocks of k, at whose ends its accumulators go to memory. Every variant of the micro-kernel has to be
    compiled, too."""
    tiles_down = [(rows, m // rows), (m % rows, 1)]
    tiles_across = [(vectors, n_vectors // vectors), (n_vectors % vectors, 1)]
    cycles, variants = 0.0, 0
    for r, down in tiles_down:
        for v, across in tiles_across:
            if r and v and down and across:
                cycles += down * across * (max(r * v, r + v, 8) / 2 + 0.5 + 0.045 * (r + v) + 0.004 * r * v * v)
                variants += 1
    return cycles * (1 + 0.03 * variants)


def even_share(extent: int, most: int, multiple: int) -> int:
    """The size of equal blocks of an extent, at most about `most` and a whole number of `multiple`; the extent itself
    where one block holds it all."""
    most = _ceil(max(1, most), multiple) * multiple
    if extent <= most:
        return extent
    blocks = _ceil(extent, most)
    return _ceil(_ceil(extent, blocks), multiple) * multiple


def _row_blocks(products: int) -> int:
    """Into how many blocks of rows to cut so much work, where that costs nothing: a power of two."""
    units = 1
    while units < _ENOUGH_UNITS and 2 * units * _PRODUCTS_WORTH_ROWS <= products:
        units *= 2
    return units


def units_for(cycles: float) -> int:
    """How many units to cut work into that takes so many cycles: a power of two, which threads can share evenly, of
    units that outweigh the cost of sharing."""
    units = 1
    while units < _MOST_UNITS and units * _CYCLES_WORTH_A_UNIT < cycles:
        units *= 2
    return units


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
