"""What an audit of a data set found, as one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import nan
from pathlib import Path

from dashboards.blocks import Column, Empty, Gallery, Prose, Snapshot, Table, Tile, Tiles
from dashboards.document import Section, document, write_document
from dashboards.questions.data_check import findings_table, severity_of, summary_tables
from dashboards.questions.data_set import class_figure, counts_figure, image_figure, side_figure
from dashboards.questions.panel import Block
from detector.audited import Audited, DrawnFinding
from detector.findings import KINDS, Finding
from evolve.formatting import counted

MOST_LISTED = 2_000  # rows; a page of more is slow, and --json has all

_FOUND = (
    "Errors stop a training. Warnings do not, but it learns or measures something else than was meant. Notes are worth "
    "knowing."
)
_PICTURES = (
    "Boxes that are meant are orange and thick, the others of the image blue and thin. Of a pair, both images. Of each "
    "kind the first findings whose images can be read are drawn, 12 of a kind and 200 in all, at most 350 pixels long."
)
_DATA = (
    "The side of a box is the square root of its area, in pixels of an image shrunk to the size that is trained on; "
    "the dotted line is a cell of the finest grid."
)
_ANCHORS = (
    "A box that differs from every anchor by more than a factor of four in a side is hardly learned. Trainings take "
    "the anchors of kmeans, unless told otherwise."
)


def write_audit_page(path: Path, found: Audited, drawn: Sequence[DrawnFinding]) -> Path:
    """Writes the page and returns its path; a reader never sees half a file.

    Args:
        path: File to write or replace.
        found: Findings of the audit, and what the data set holds.
        drawn: Findings with their pictures, those of a kind next to each other.
    """
    return write_document(path, render(found, drawn))


def render(found: Audited, drawn: Sequence[DrawnFinding]) -> str:
    """The page as HTML; arguments as of `write_audit_page`."""
    sections = [
        _section("found", "What was found", _FOUND, _summary(found)),
        _section("pictures", "What does it look like?", _PICTURES, _pictures(found, drawn)),
        _section("findings", "All findings", "", _all(found)),
        _section("data", "What does the data set hold?", _DATA, _data(found)),
        _section("anchors", "Do anchors fit the boxes?", _ANCHORS, _anchors(found)),
    ]
    details = (found.source, f"seen at {found.image_size} px", str(found.summary.get("note", "")))
    return document(f"Audit of {Path(found.source).name}", details, [part for part in sections if part.blocks])


def _section(key: str, title: str, caption: str, blocks: Iterable[Block]) -> Section:
    return Section(key=key, title=title, caption=caption, blocks=tuple(blocks))


def _summary(found: Audited) -> Iterable[Block]:
    tiles = [Tile(label=f"{severity}s", value=f"{count:,}") for severity, count in found.severities().items()]
    if splits := found.summary.get("splits"):
        for what in ("images", "boxes"):
            parts = {name: facts[what] for name, facts in splits.items()}
            detail = ", ".join(f"{name} {count:,}" for name, count in parts.items())
            tiles.append(Tile(label=what, value=f"{sum(parts.values()):,}", detail=detail))
    yield Tiles(tuple(tiles))
    if not found.findings:
        yield Prose("Nothing: every file can be read, and no box, image or class is odd.")
        return
    columns = (
        Column(title="severity"),
        Column(title="kind"),
        Column(title="count", kind="number", digits=0),
        Column(title="meaning", is_long=True),
    )
    rows = tuple(
        (severity_of(kind), kind.replace("_", " "), count, KINDS[kind].meaning)
        for kind, count in found.counts().items()
    )
    yield Table(name="kinds", columns=columns, rows=rows)


def _pictures(found: Audited, drawn: Sequence[DrawnFinding]) -> Iterable[Block]:
    for kind, listed in groupby(drawn, lambda shown: shown.finding.kind):
        snapshots = tuple(Snapshot(jpeg=shown.jpeg, caption=_caption(shown.finding)) for shown in listed)
        total = found.counts()[kind]
        number = counted(total, "finding") if len(snapshots) == total else f"{len(snapshots)} of {total:,} findings"
        yield Prose(f"{severity_of(kind)}: {KINDS[kind].meaning} ({number})")
        yield Gallery(snapshots)


def _caption(finding: Finding) -> str:
    text = f"{finding.place}: {finding.message}"
    for path in (finding.file, *finding.images):
        text = text.replace(path, Path(path).name)
    return text


def _all(found: Audited) -> Iterable[Block]:
    if not found.findings:
        return
    listed = found.findings[:MOST_LISTED]
    if len(listed) < len(found.findings):
        yield Prose(f"The first {len(listed):,} of {len(found.findings):,}; `evolve audit --json` has all.")
    folder = f"{found.source.rstrip('/')}/"
    yield findings_table(
        (
            finding.kind,
            finding.file.removeprefix(folder),
            nan if finding.line is None else finding.line,
            finding.message,
        )
        for finding in listed
    )


def _data(found: Audited) -> Iterable[Block]:
    if not found.summary:
        yield Empty("Nothing could be opened.")
        return
    yield from summary_tables(found.summary)
    if found.boxes_by_image:
        yield class_figure(found)
        yield side_figure(found)
        yield counts_figure(found)
        yield image_figure(found)


def _anchors(found: Audited) -> Iterable[Block]:
    if not found.anchors:
        return
    columns = (
        Column(title="anchors", kind="number", digits=0),
        Column(title="from"),
        Column(title="boxes that fit", kind="number", unit="%", digits=1),
        Column(title="mean IoU", kind="number", unit="with the best", digits=3),
    )
    rows = tuple((choice.number, choice.source, 100 * choice.recall, choice.overlap) for choice in found.anchors)
    yield Table(name="anchors", columns=columns, rows=rows)
