"""What does each step of the path add?"""

from __future__ import annotations

from dashboards.blocks import Column, Prose, Table
from dashboards.data.arms import SharedGain, shared_gain
from dashboards.figures.bars import Bar, gain_bars
from dashboards.questions.panel import Block, Panel
from evolve.ablation.factorial import Share
from evolve.formatting import capitalised


def bars(data: SharedGain) -> list[Bar]:
    """A bar for each step, where the one before ended, then the whole gain."""
    found, at = [], 0.0
    for share in data.found.shares:
        found.append(bar_of(share, share.names[0], start=at))
        at += share.mean
    return [*found, bar_of(data.found.gain, "all together", is_whole=True)]


def bar_of(share: Share, name: str, *, start: float = 0.0, is_whole: bool = False) -> Bar:
    """The bar of a part of a gain."""
    return Bar(name=name, start=start, length=share.mean, low=share.low, high=share.high, is_whole=is_whole)


def share_table(name: str, title: str, rows: list[tuple[str, Share]]) -> Table:
    """Parts of a gain in numbers.

    Args:
        name: Name of the table, unique within the page.
        title: Heading of the column with the names of the parts.
        rows: Name and part of each row.
    """
    return Table(
        name=name,
        columns=(
            Column(title=title),
            Column(title="gain", kind="number", unit="mean", digits=4),
            Column(title="from", kind="number", unit="95 %", digits=4),
            Column(title="to", kind="number", unit="95 %", digits=4),
        ),
        rows=tuple((said, share.mean, share.low, share.high) for said, share in rows),
    )


def _blocks(data: SharedGain) -> tuple[Block, ...]:
    rows = [(share.names[0], share) for share in data.found.shares]
    basis = f"{capitalised(data.found.basis)}."
    table = share_table("path", "step", [*rows, ("all together", data.found.gain)])
    return Prose(basis), gain_bars(bars(data), metric=data.metric), table


PANEL = Panel(
    key="path",
    title="What does each step of the path add?",
    caption="Each bar begins where the one above ends: what a step changes beside the step before it, a mean over "
    "seeds with its 95 % interval; grey where that includes no change. Intervals are of each step by itself, not "
    "corrected for their number. In another order the same changes may add other amounts.",
    rows=shared_gain,
    blocks=_blocks,
)
