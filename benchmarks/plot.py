"""Ratios as horizontal bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
)  # Paul Tol's "bright", fit for the colour-blind
_BAR = 0.24  # inches


def plot_ratios(path: Path, ratios: Mapping[str, Mapping[str, float]], title: str, caption: str) -> None:
    """Draw `ratios`, by workload and then by peer, as bars from 0, with a line at 1, where both are as fast. The file's
    ending says which format it is in. Raises ImportError without matplotlib, which is in the extra `benchmarks`."""
    import matplotlib  # an extra, needed by those who ask for a plot

    matplotlib.use("Agg")
    from matplotlib import pyplot

    peers = list(dict.fromkeys(peer for row in ratios.values() for peer in row))
    colours = dict(zip(peers, _COLOURS, strict=False))
    slots = len(peers) + 1  # bars of a group and the gap below it
    figure, axes = pyplot.subplots(figsize=(8, 1.3 + _BAR * slots * len(ratios)), layout="constrained")
    for group, row in enumerate(ratios.values()):
        for i, (peer, value) in enumerate(row.items()):
            y = group * slots + i
            axes.barh(y, value, height=0.86, color=colours[peer], label=peer if group == 0 else None)
            axes.annotate(f"{value:.2f}", (value, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([g * slots + (len(row) - 1) / 2 for g, row in enumerate(ratios.values())], list(ratios))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.1 * max(1.0, *(value for row in ratios.values() for value in row.values())))
    axes.set_xlabel(f"graphc's time / the peer's time (left of the line: graphc is faster)\n{caption}", fontsize=8)
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(peers), fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
