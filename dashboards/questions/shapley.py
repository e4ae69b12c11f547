"""Whose is the gain?"""

from __future__ import annotations

from dashboards.blocks import Prose
from dashboards.data.arms import SharedGain, shared_gain
from dashboards.figures.bars import Bar, gain_bars
from dashboards.questions.panel import Block, Panel
from dashboards.questions.path import bar_of, share_table
from evolve.formatting import capitalised


def bars(data: SharedGain) -> list[Bar]:
    """A bar for each change, then the whole gain, which is their sum."""
    shares = [bar_of(share, share.names[0]) for share in data.found.shares]
    return [*shares, bar_of(data.found.gain, "all together", is_whole=True)]


def _blocks(data: SharedGain) -> tuple[Block, ...]:
    basis = f"{capitalised(data.found.basis)}."
    changes = [(share.names[0], share) for share in data.found.shares]
    pairs = [(" and ".join(pair.names), pair) for pair in data.found.interactions]
    return (
        Prose(basis),
        gain_bars(bars(data), metric=data.metric),
        share_table("shapley", "change", [*changes, ("all together", data.found.gain)]),
        Prose("And what two changes bring beyond the sum of both alone:"),
        share_table("interactions", "pair", pairs),
    )


PANEL = Panel(
    key="shapley",
    title="Whose is the gain?",
    caption="What each change adds, averaged over all orders in which the changes could be made (Shapley), from runs "
    "of every combination: nothing is fitted, and the bars add up to the whole gain. Means over seeds with 95 % "
    "intervals, grey where they include none; they are of each change by itself, not corrected for their number.",
    rows=shared_gain,
    blocks=_blocks,
)
