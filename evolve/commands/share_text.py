"""Whose the gain is: steps of a path or Shapley's shares, for the terminal, for an appendix, and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evolve.ablation.factorial import Attribution, Share
from evolve.commands.aligning import aligned, interval, markdown_table, signed
from evolve.formatting import capitalised

_BY_STEP = "what each step adds to the ones before it"
_BY_SHAPLEY = "what each change adds, averaged over all orders in which they could be made (Shapley)"
_PLAIN = "intervals are of each part by itself, not corrected for their number"
_HEADS = ("part of the gain", "mean", "95 % interval")


def lines(found: Attribution, *, metric: str, width: int | None) -> list[str]:
    """The parts of the gain, the whole, and pairs of changes, as lines.

    Args:
        found: The gain, shared out.
        metric: Name of the metric that the gain is measured in.
        width: Characters of a line; None where there is no terminal.
    """
    table = aligned(_HEADS, _cells(found), left=(0,), width=width)
    return [f"shares  {_of(found, metric)}", f"seeds   {found.basis}; {_PLAIN}", "", *table]


def markdown_lines(found: Attribution, *, metric: str) -> list[str]:
    """The parts of the gain, the whole, and pairs of changes, as lines of Markdown: a table and its caption."""
    said = _of(found, metric)
    caption = f"{capitalised(said)}; {found.basis}; {_PLAIN}."
    return [*markdown_table(_HEADS, _cells(found), left=(0,)), "", caption]


def rows(found: Attribution) -> Iterator[dict[str, Any]]:
    """A row for each part, the whole gain and each pair of changes, with the seeds that they rest on."""
    part = "step" if found.is_path else "change"
    for kind, shares in ((part, found.shares), ("whole", (found.gain,)), ("pair", found.interactions)):
        for share in shares:
            values = {"mean": share.mean, "low": share.low, "high": share.high, "seeds": found.num_seeds}
            yield {"kind": kind, "name": " and ".join(share.names), **values, "left_out": len(found.left_out)}


def _of(found: Attribution, metric: str) -> str:
    return f"{_BY_STEP if found.is_path else _BY_SHAPLEY}, in {metric}"


def _cells(found: Attribution) -> Sequence[tuple[str, ...]]:
    pairs = [_row(f"{' and '.join(pair.names)}, beyond their sum", pair) for pair in found.interactions]
    return [*(_row(share.names[0], share) for share in found.shares), _row("all together", found.gain), *pairs]


def _row(name: str, share: Share) -> tuple[str, ...]:
    return name, signed(share.mean), interval(share.low, share.high)
