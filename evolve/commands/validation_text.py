"""What `evolve val` found, in aligned lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from detector.scores import OperatingPoint
from detector.text_files import printable
from evolve.formatting import MISSING, counted, score
from evolve.outcome.validated import BACKGROUND, Validated

_MOST_CLASSES = 12  # a wider confusion matrix fits no terminal
_WIDEST = 24
_MOST_WORST = 5


def validation_text(done: Validated) -> str:
    """Scores over all, by class and by size, the best operating point, the sweep, and the confusion there."""
    found = done.found
    parts = {"all": {"objects": found.objects, **_scores(done)}, **_named(done.by_class()), **done.by_size()}
    return "\n".join(
        [
            f"{done.split:<8}{counted(found.images, 'image')}, {counted(found.objects, 'object')}, {done.image_size} px"
            f"  (suppression at IoU {done.nms_iou:g})",
            "",
            *_table([("", "objects", "precision", "recall", "map50", "map50_95"), *map(_row, parts.items())]),
            "small, medium, large: areas below 32 x 32, up to 96 x 96, and above, in pixels of the images",
            "precision and recall: of each row at its own best F1, so parts may all have a higher recall",
            "",
            f"best F1 {_point(found.best)}",
            *_sweep(found.sweep),
            "",
            *_confusion(done),
            *_worst(done),
        ]
    )


def _scores(done: Validated) -> dict[str, float]:
    overall = done.found.scores.overall
    return {
        "precision": overall.precision,
        "recall": overall.recall,
        "map50": overall.map50,
        "map50_95": overall.map50_95,
    }


def _named(rows: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Rows under names that cannot be taken for the others of the table."""
    return {f"class {_shown(name)}": row for name, row in rows.items()}


def _row(item: tuple[str, Mapping[str, float]]) -> tuple[str, ...]:
    name, row = item
    return (name, f"{row['objects']:,}", *(score(row[key]) for key in ("precision", "recall", "map50", "map50_95")))


def _point(point: OperatingPoint) -> str:
    return (
        f"{point.f1:.3f} at score {point.score:g} and suppression at IoU {point.nms_iou:g}: precision "
        f"{score(point.precision)}, recall {score(point.recall)}, "
        f"{point.false_positives_per_image:.2f} false positives per image"
    )


def _sweep(points: Sequence[OperatingPoint]) -> list[str]:
    """F1 and false positives per image, a row a score and a column an overlap."""
    overlaps = sorted({point.nms_iou for point in points})
    by_place = {(point.score, point.nms_iou): point for point in points}
    heads = ("score", *(f"IoU {overlap:g}" for overlap in overlaps))
    rows = [
        (f"{threshold:g}", *(_cell(by_place[threshold, overlap]) for overlap in overlaps))
        for threshold in sorted({point.score for point in points})
    ]
    return ["F1 (false positives per image) by score and suppression", *_table([heads, *rows])]


def _cell(point: OperatingPoint) -> str:
    return MISSING if isnan(point.precision) else f"{point.f1:.3f} ({point.false_positives_per_image:.2f})"


def _confusion(done: Validated) -> list[str]:
    names = [_shown(name) for name in done.names]
    heading = "confusion there: rows what is labelled, columns what is found"
    if len(names) > _MOST_CLASSES:
        return [f"confusion of {len(names)} classes: --json"]
    rows = zip([*names, BACKGROUND], done.found.confusion, strict=True)
    last = len(names)
    cells = [
        (name, *(MISSING if row == column == last else f"{count:,}" for column, count in enumerate(counts)))
        for row, (name, counts) in enumerate(rows)
    ]
    return [heading, *_table([("", *names, BACKGROUND), *cells])]


def _worst(done: Validated) -> list[str]:
    if not done.worst:
        return []
    shown = done.worst[:_MOST_WORST]
    rows = [(printable(mistaken.image), *(f"{count:,}" for count in mistaken.counts().values())) for mistaken in shown]
    return ["", "most mistakes there", *_table([("", *shown[0].counts()), *rows])]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join((row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)))).rstrip()
        for row in rows
    ]


def _shown(name: str) -> str:
    text = printable(name)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
