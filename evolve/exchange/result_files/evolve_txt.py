"""The old evolve.txt of ultralytics/yolov3, which has no header: the number of columns tells the version."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evolve.exchange.dialects import early, yolov3
from evolve.exchange.dialects.context import DialectError
from evolve.exchange.result_files.rows import (
    LOSSES,
    METRICS,
    V9_FITNESS,
    Cell,
    Results,
    Row,
    keys_of,
    lines_of,
    number_in,
)

_V6 = ("giou", "xy", "wh", "cls", "conf", "conf_bpw", "iou_t", "lr0", "lrf", "momentum", "weight_decay")
_V6_FIRST = ("k", "xy", "wh", "cls", "conf", "iou_t", "lr0", "lrf", "momentum", "weight_decay")
_V7 = (
    *("giou", "cls", "cls_pw", "obj", "obj_pw", "iou_t", "lr0", "lrf", "momentum", "weight_decay", "fl_gamma"),
    *("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear"),
)
_V9 = tuple(yolov3.DEFAULTS)
_RESULTS_V6 = ("precision", "recall", "map50", "F1", "loss")
_RESULTS_V7 = ("precision", "recall", "map50", "F1", "val/box_loss", "val/obj_loss", "val/cls_loss")
_RESULTS_V9 = ("precision", "recall", "map50", "map50_95", "val/box_loss", "val/obj_loss", "val/cls_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    results: tuple[str, ...]
    keys: tuple[str, ...]
    dialect: str
    weights: Mapping[str, float]


_V6_FITNESS = {"map50": 1.0, "map50_95": 0.0}
_V7_FITNESS = {"recall": 0.01, "map50": 0.99, "map50_95": 0.0}
_LAYOUTS = {
    len(layout.results) + len(layout.keys): layout
    for layout in (
        _Layout(results=_RESULTS_V6, keys=_V6_FIRST, dialect=early.NAME, weights=_V6_FITNESS),
        _Layout(results=_RESULTS_V6, keys=_V6, dialect=early.NAME, weights=_V6_FITNESS),
        _Layout(results=_RESULTS_V7, keys=_V7, dialect=early.NAME, weights=_V7_FITNESS),
        _Layout(results=_RESULTS_V9, keys=_V9[:-1], dialect=yolov3.NAME, weights=V9_FITNESS),
        _Layout(results=_RESULTS_V9, keys=_V9, dialect=yolov3.NAME, weights=V9_FITNESS),
    )
}


def read_evolve_txt(text: str, origin: str, columns: Sequence[str]) -> Results:
    """Content of an evolve.txt; `columns` names its hyperparameters where their number is none of the known.

    Raises:
        DialectError: It does not fit; names line and column.
    """
    lines = [_words(line, number) for number, line in lines_of(text, origin)]
    if not lines:
        raise DialectError(f"{origin}:1:1: is empty; allowed: a line of numbers for each training")
    layout = _layout(lines[0], origin, columns)
    width = len(layout.results) + len(layout.keys)
    for words in lines:
        if len(words) != width:
            last = words[-1]
            raise DialectError(f"{origin}:{last.line}:{last.column}: {len(words)} values where line 1 has {width}")
    return Results(
        kind="evolve.txt",
        dialect=layout.dialect,
        rows=tuple(_txt_row(words, layout, origin) for words in lines),
        weights=layout.weights,
        notes=(
            f"{width} columns: taken for {', '.join(layout.results)} and {', '.join(layout.keys)}.",
            "rows are sorted by fitness, so the number of a trial says nothing of when it ran.",
        ),
    )


def _words(line: str, number: int) -> list[Cell]:
    return [Cell(word.group(), number, word.start() + 1) for word in re.finditer(r"\S+", line)]


def _layout(words: list[Cell], origin: str, columns: Sequence[str]) -> _Layout:
    if columns:
        is_early = not {"anchor_t", "warmup_epochs"} & set(columns)
        results = {5: _RESULTS_V6, 7: _RESULTS_V7 if is_early else _RESULTS_V9}.get(len(words) - len(columns))
        if results is None:
            raise DialectError(
                f"{origin}:1:{words[-1].column}: {len(words)} values, {len(columns)} of them named, leave "
                f"{len(words) - len(columns)} results; allowed: 5 or 7"
            )
        weights = {_RESULTS_V6: _V6_FITNESS, _RESULTS_V7: _V7_FITNESS}.get(results, V9_FITNESS)
        dialect = early.NAME if is_early else yolov3.NAME
        return _Layout(results=results, keys=tuple(columns), dialect=dialect, weights=weights)
    if len(words) not in _LAYOUTS:
        raise DialectError(
            f"{origin}:1:{words[-1].column}: {len(words)} values; versions are known with {sorted(_LAYOUTS)}; name the "
            "hyperparameters in their order: --columns lr0,lrf,..."
        )
    return _LAYOUTS[len(words)]


def _txt_row(words: list[Cell], layout: _Layout, origin: str) -> Row:
    count = len(layout.results)
    found = {name: number_in(word, name, origin) for name, word in zip(layout.results, words[:count], strict=True)}
    return Row(
        line=words[0].line,
        keys=keys_of(dict(zip(layout.keys, words[count:], strict=True)), origin),
        metrics={name: found[name] for name in METRICS.values() if name in found},
        losses={LOSSES[name]: value for name, value in found.items() if name in LOSSES},
    )
