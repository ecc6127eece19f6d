"""Shares over time, beside the ideal ones, as a picture: PNG or SVG by the name of the file. Needs matplotlib."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from loadtest import _shares
from loadtest._shares import Span
from propeller.errors import Invalid

FORMATS = (".png", ".svg", ".pdf")
COLORS = ("#4477aa", "#ee6677", "#228833")
"""Paul Tol's bright scheme: told apart by colour-blind readers, too."""

COLUMNS = 2


class Panel(msgspec.Struct, frozen=True):
    """One run: each tenant's share of what runs, for each `step` seconds of the time that was measured."""

    title: str
    step: float
    shares: Mapping[str, Sequence[float]]

    @classmethod
    def of(
        cls, title: str, spans: Iterable[Span], window: tuple[float, float], step: float, weights: Mapping[str, float]
    ) -> Panel:
        begin, end = window
        moved = [Span(one.tenant, one.began - begin, one.ended - begin) for one in spans]
        return cls(title, step, _shares.over_time(moved, weights, end - begin, step))


def check(path: Path) -> None:
    """Raise Invalid if no picture can be written there."""
    if path.suffix not in FORMATS:
        raise Invalid(f"--picture {path}: its name has to end with {', '.join(FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise Invalid("--picture needs matplotlib: pip install 'propeller[loadtest]'")


def draw(path: Path, panels: Sequence[Panel], weights: Mapping[str, float]) -> None:
    """Write the picture. Raises Invalid as `check` does."""
    check(path)
    from matplotlib.figure import Figure  # an extra

    rows = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(12, 2.6 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for panel, axis in zip(panels, axes, strict=False):
        for (name, weight), color in zip(weights.items(), COLORS, strict=False):
            shares = [100 * share for share in panel.shares[name]]
            times = [panel.step * (number + 0.5) for number in range(len(shares))]
            axis.plot(times, shares, color=color, label=f"weight {weight:g}")
            axis.axhline(100 * weight / sum(weights.values()), color=color, linestyle="dashed", linewidth=0.8)
        axis.set_title(panel.title, fontsize=8)
        axis.set_ylim(0, 80)
        axis.set_ylabel("share of slots, %", fontsize=8)
        axis.tick_params(labelsize=8)
    for axis in list(axes):
        axis.set_visible(False)
    first = figure.axes[0]
    first.legend(fontsize=8, loc="upper right", title="dashed: ideal", title_fontsize=8)
    figure.supxlabel("seconds", fontsize=8)
    figure.savefig(path)
