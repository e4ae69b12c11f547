"""What `evolve audit` found, in aligned lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detector.audited import AnchorChoice, Audited
from detector.findings import KINDS, Finding
from detector.text_files import printable
from evolve.formatting import counted
from evolve.run.auditing import FixedCopy

_EXAMPLES = 3  # of a kind; --json and the page have all


def audit_text(found: Audited) -> str:
    """Counts of the data, a line for each kind of finding with some of them beneath, and how well anchors fit."""
    return _printable([*_data(found), "", *_kinds(found), *map(_anchors, found.anchors)])


def fixed_text(copy: FixedCopy) -> str:
    """Everything that was done to the copy, and what is left to do."""
    done = [f"  {finding.kind.replace('_', ' ')}: {finding.place}: {finding.message}" for finding in copy.done]
    lines = [f"fixed   {copy.folder}: {counted(len(copy.done), 'change')}; splits as they were", *done]
    return _printable([*lines, f"left    {_totals(copy.after)}", *_kinds(copy.after)])


def _printable(lines: Iterable[str]) -> str:
    """Names of files and classes may hold what a terminal would obey."""
    return "\n".join(map(printable, lines))


def _data(found: Audited) -> list[str]:
    splits = found.summary.get("splits", {})
    counts = [f"{name} {split['images']} images, {split['boxes']} boxes" for name, split in splits.items()]
    held = f"{', '.join(counts)}. {found.summary['note']}" if splits else "could not be opened"
    return [f"data    {found.source}: {held}", f"found   {_totals(found)}"]


def _totals(found: Audited) -> str:
    counts = [counted(count, severity.value) for severity, count in found.severities().items()]
    return ", ".join(counts) if found.findings else "nothing wrong"


def _kinds(found: Audited) -> list[str]:
    by_kind: dict[str, list[Finding]] = {}
    for finding in found.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    return [line for kind, findings in by_kind.items() for line in _kind(kind, findings)]


def _kind(kind: str, findings: Sequence[Finding]) -> list[str]:
    head = f"{KINDS[kind].severity:<8}{len(findings):>6,}  {kind.replace('_', ' '):<17}  {KINDS[kind].meaning}"
    examples = [f"{'':16}{finding.place}: {finding.message}" for finding in findings[:_EXAMPLES]]
    more = len(findings) - _EXAMPLES
    return [head, *examples, *([f"{'':16}and {more:,} more"] if more > 0 else [])]


def _anchors(choice: AnchorChoice) -> str:
    fit = f"{choice.recall:.1%} of the training boxes within a factor of 4 in both sides; mean IoU {choice.overlap:.3f}"
    return f"anchors {choice.number:>6}  {choice.source:<17}  {fit}"
