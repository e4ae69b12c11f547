"""Rows about the study as a whole: the headline, all trials, failures, the data check, set-up and environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite, log, nan
from typing import Any

import pandas as pd

from dashboards.views import search, wording
from dashboards.views.blocks import (
    Cell,
    Column,
    Disclosure,
    Empty,
    Prose,
    Table,
    Tile,
    Tiles,
    VerdictCounts,
)
from dashboards.views.search import started
from dashboards.views.study import VERDICTS, Parameter, StudyView, as_text, finished, none_shown
from evolve import analysis

EDGE = 0.05
MAX_FAILURES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The study in a few words and numbers."""

    sentences: tuple[Prose, ...]
    tiles: Tiles
    counts: VerdictCounts
    setting: Table | Empty


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """What the data set holds and what its check found."""

    summary: tuple[Table, ...] | Empty
    findings: Table | None
    note: Prose


def headline(view: StudyView) -> Headline:
    """What was asked, what came out, and the best trial."""
    question_and_answer = " ".join(part for part in (view.facts.text("description"), search.answer(view)) if part)
    sentences = (question_and_answer, _asked(view), _answered(view))
    return Headline(
        sentences=tuple(Prose(text) for text in sentences if text),
        tiles=Tiles(_tiles(view)),
        counts=VerdictCounts(verdict_counts(view)),
        setting=best_setting(view),
    )


def verdict_counts(view: StudyView) -> tuple[tuple[str, int], ...]:
    """Count of trials by verdict, without those that did not occur."""
    counts = view.trials["verdict"].value_counts()
    return tuple((verdict, int(counts[verdict])) for verdict in VERDICTS if verdict in counts)


def best_setting(view: StudyView) -> Table | Empty:
    """Hyperparameters of the best trial beside the ranges that were searched."""
    best = view.best
    if best is None:
        return search.none_finished(
            view,
            "No trial has run to its end yet, so there is no best one. Wait for one, or lower the upper end of lr0 "
            "if all of them diverge.",
        )
    params = view.params_of(int(best["number"]))
    axes = [axis for axis in view.space if axis.name in params]
    if not axes:
        return Empty("No hyperparameter was searched. Name some under `space` in the study's file.")
    columns = (
        Column(title="hyperparameter"),
        Column(title=f"trial {int(best['number'])}", kind="number"),
        Column(title="from", kind="number"),
        Column(title="to", kind="number"),
        Column(title="scale"),
        Column(title="place in the range", kind="place"),
        Column(title=""),
    )
    rows = tuple((axis.name, params[axis.name], *_range_cells(axis), *_place(axis, params[axis.name])) for axis in axes)
    return Table(name="best-setting", columns=columns, rows=rows)


def trials_table(view: StudyView) -> Table | Empty:
    """All trials with their hyperparameters and results."""
    trials = started(view.trials)
    if trials.empty:
        return search.none_started(view)
    axes = [each for each in view.space if each.name in view.params]
    params = view.params[[axis.name for axis in axes]].astype(object).reindex(trials["number"])
    has_test = bool(trials["test_map50"].map(isfinite).any())
    results = ["fitness", "map50", "map50_95", *(["test_map50"] if has_test else [])]
    columns = (
        Column(title="trial", kind="number", digits=0),
        Column(title="verdict", kind="verdict"),
        *(_result_column(view, name) for name in results),
        Column(title="reason", is_long=True),
        *((Column(title="notes", is_long=True),) if len(view.notes) else ()),
        RESULT_COLUMNS["seconds"],
        *(Column(title=axis.name, kind="text" if axis.is_categorical else "number") for axis in axes),
    )
    rows = zip(
        trials["number"],
        trials["verdict"],
        *(trials[name] for name in results),
        map(_reason, trials["reason"], trials["traceback"]),
        *((_notes(view, trials),) if len(view.notes) else ()),
        trials["seconds"],
        *(_cells(params[axis.name], axis) for axis in axes),
        strict=True,
    )
    return Table(name="trials", columns=columns, rows=tuple(rows), is_sortable=True, links_to="trial")


RESULT_COLUMNS = {
    "fitness": Column(title="fitness", kind="number", digits=3),
    "map50": Column(title="mAP50", kind="number", unit="val", digits=3),
    "map50_95": Column(title="mAP50\N{EN DASH}95", kind="number", unit="val", digits=3),
    "test_map50": Column(title="mAP50", kind="number", unit="test", digits=3),
    "seconds": Column(title="time", kind="number", unit="s", digits=1),
}


def failures(view: StudyView) -> tuple[Disclosure, ...] | Prose:
    """Tracebacks of failed trials, the same error once, the most frequent first."""
    failed = _failed(view.trials)
    if failed.empty:
        return Prose(none_shown(view, "failed", _failed) or "No trial failed.")
    groups: dict[str, list[tuple[int, str]]] = {}
    for number, reason, traceback in zip(failed["number"], failed["reason"], failed["traceback"], strict=True):
        groups.setdefault(_reason(reason, traceback), []).append((int(number), traceback))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    shown = [_failure(error, members) for error, members in ordered[:MAX_FAILURES]]
    if rest := ordered[MAX_FAILURES:]:
        others = "\n".join(f"{_trial_list(members)}: {error}" for error, members in rest)
        shown.append(Disclosure(summary=f"{len(rest):,} rarer errors", text=others))
    return tuple(shown)


def events(view: StudyView) -> Table | Empty:
    """What happened to the study besides the results of its trials."""
    if view.events.empty:
        return Empty("Nothing: no worker was lost, every checkpoint could be used, and the data stayed as they were.")
    columns = (Column(title="trial", kind="number"), Column(title="event"), Column(title="what", is_long=True))
    known = view.events[["number", "kind", "message"]].to_dict("records")
    rows = tuple((float(row["number"]), str(row["kind"]).replace("_", " "), str(row["message"])) for row in known)
    return Table(name="events", columns=columns, rows=rows)


def data_check(view: StudyView) -> DataCheck:
    """Counts of images and boxes, and what was clipped or left out."""
    total = sum(view.finding_counts.values())
    kinds = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in view.finding_counts.items()]
    if not total:
        clean = Prose("The data check found nothing to report: no box was clipped or left out.")
        return DataCheck(summary=_data_summary(view), findings=None, note=clean)
    shown = "" if total == len(view.findings) else f" The first {len(view.findings):,} are listed."
    columns = (
        Column(title="kind"),
        Column(title="file"),
        Column(title="line", kind="number", digits=0),
        Column(title="what"),
    )
    rows = tuple(view.findings[["kind", "file", "line", "message"]].itertuples(index=False, name=None))
    return DataCheck(
        summary=_data_summary(view),
        findings=Table(name="findings", columns=columns, rows=rows, is_sortable=True),
        note=Prose(f"{wording.counted(total, 'finding')}: {wording.listed(kinds)}.{shown}"),
    )


def setup(view: StudyView) -> tuple[Table | Empty, ...]:
    """What the study asked for, and the space it searched."""
    config = {str(key): as_text(value) for key, value in view.facts.config.items() if key not in ("name", "space")}
    asked: Table | Empty = Empty("This study has no configuration of ours; it was not started by `evolve run`.")
    if config:
        asked = _pairs("setup", "setting", {key.replace("_", " "): value for key, value in config.items() if value})
    columns = (
        Column(title="searched"),
        Column(title="from", kind="number"),
        Column(title="to", kind="number"),
        Column(title="scale"),
    )
    rows = tuple((axis.name, *_range_cells(axis)) for axis in view.space)
    return asked, Table(name="space", columns=columns, rows=rows) if rows else Empty("No hyperparameter is searched.")


def environment(view: StudyView) -> tuple[Table, ...] | Empty:
    """Versions, device and machine the trials ran on, one table for each."""
    if not view.environments:
        return Empty("No trial has stored its environment yet; it is stored when a trial starts.")
    return tuple(
        _pairs(
            f"environment-{index}",
            wording.counted(count, "trial"),
            {key: as_text(value) for key, value in _flat(facts).items()} or {"identity": identity},
        )
        for index, (identity, facts, count) in enumerate(view.environments)
    )


def _failed(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["verdict"] == "failed"]


def _result_column(view: StudyView, name: str) -> Column:
    column = RESULT_COLUMNS[name]
    return replace(column, unit=_mean_text(view)) if name == "fitness" else column


def _mean_text(view: StudyView) -> str:
    num_seeds = len(view.facts.seeds)
    return f"mean of {num_seeds} seeds" if num_seeds > 1 else ""


def _asked(view: StudyView) -> str:
    facts = view.facts
    names = [axis.name for axis in view.space]
    size = facts.text("image_size")
    subject = " ".join(
        part
        for part in (
            f"of {facts.text('model')}" if facts.text("model") else "",
            f"on {facts.text('data')}" if facts.text("data") else "",
            f"at {size} px" if size else "",
        )
        if part
    )
    searched = f"{wording.counted(len(names), 'hyperparameter')} {subject}".strip()
    how = facts.text("sampler")
    sampler = f" with the sampler {how}" if how else ""
    return f"The study searches {searched}{sampler}: {wording.listed(names)}." if names else ""


def _answered(view: StudyView) -> str:
    trials = started(view.trials)
    if trials.empty:
        return "No trial has started yet."
    best = view.best
    spent = _training_seconds(trials)
    counts = [f"{count:,} {verdict}" for verdict, count in verdict_counts(view)]
    effort = f" in {wording.duration(spent)} of training" if isfinite(spent) else ""
    told = f"{wording.counted(len(trials), 'trial')}{effort}: {wording.listed(counts)}."
    if best is None:
        others = (
            "" if view.left_out.empty else f"; {wording.counted(len(finished(view.left_out)), 'trial')} left out did"
        )
        return f"{told} None has run to its end{others}."
    result = f"The best is trial {best['number']}, with a fitness of {wording.score(best['fitness'])}"
    return f"{told} {result}{_precisions(best, view.facts.text('nms_iou'))}."


def _precisions(best: Mapping[str, Any], nms_iou: str) -> str:
    parts = [
        f"{wording.score(best[column])} on {what} images"
        for column, what in (("map50", "validation"), ("test_map50", "test"))
        if isfinite(best[column])
    ]
    overlap = f" (suppression at IoU {nms_iou})" if nms_iou else ""
    return f" and an mAP50 of {wording.listed(parts)}{overlap}" if parts else ""


def _tiles(view: StudyView) -> tuple[Tile, ...]:
    best = view.best
    trials = started(view.trials)
    diverged = int((trials["verdict"] == "diverged").sum())
    tiles = []
    if best is not None:
        number = int(best["number"])
        tiles += [
            Tile(
                label="best fitness",
                value=wording.score(best["fitness"]),
                detail=", ".join(part for part in (f"trial {number}", _mean_text(view)) if part),
            ),
            Tile(label="mAP50, val", value=wording.score(best["map50"]), detail=_seed_detail(view, number, "val")),
            Tile(
                label="mAP50, test", value=wording.score(best["test_map50"]), detail=_seed_detail(view, number, "test")
            ),
        ]
    share = f"{diverged / len(trials):.0%} of {len(trials):,}" if len(trials) else ""
    tiles += [
        Tile(label="trials", value=f"{len(trials):,}", detail=f"{len(finished(trials)):,} ran to their end"),
        Tile(label="diverged", value=f"{diverged:,}", detail=share),
        Tile(label="training time", value=wording.duration(_training_seconds(trials)), detail="over all trials"),
    ]
    return tuple(tiles)


def _training_seconds(trials: pd.DataFrame) -> float:
    # Not a number, rather than nothing, where no trial has a time.
    return float(trials["seconds"].sum(min_count=1))


def _seed_detail(view: StudyView, number: int, split: str) -> str:
    rows = view.seed_results
    values = [float(value) for value in rows[(rows["number"] == number) & (rows["split"] == split)]["map50"]]
    known = [value for value in values if isfinite(value)]
    if not known:
        return "not measured"
    if len(known) == 1:
        return "one seed"
    interval = analysis.mean_interval(known)
    if not isfinite(interval.low):
        return f"{wording.listed([wording.score(value) for value in known])}, {len(known)} seeds"
    low, high = wording.score(max(interval.low, 0.0)), wording.score(min(interval.high, 1.0))
    return f"{low} to {high} (95 %, {interval.num_values} seeds)"


def _cells(values: pd.Series[Any], axis: Parameter) -> list[Cell]:
    return ["" if axis.is_categorical and _is_nan(value) else value for value in values]


def _range_cells(axis: Parameter) -> tuple[Cell, Cell, str]:
    if axis.is_categorical:
        return "", "", f"one of {wording.listed(axis.choices, limit=8)}"
    low, high = (nan if abs(end) == inf else end for end in (axis.low, axis.high))
    return low, high, "log" if axis.is_log else "linear"


def _place(axis: Parameter, value: Cell) -> tuple[Cell, str]:
    if axis.is_categorical or not axis.has_range or isinstance(value, str):
        return "", ""
    low, high, at = (log(each) if axis.is_log else each for each in (axis.low, axis.high, value))
    place = (at - low) / (high - low)
    if place < EDGE:
        return place, "at the lower end: consider a lower one"
    if place > 1 - EDGE:
        return place, "at the upper end: consider a higher one"
    return place, ""


def _reason(reason: str, traceback: str) -> str:
    return wording.last_line(traceback) or reason


def _notes(view: StudyView, trials: pd.DataFrame) -> list[str]:
    texts: dict[int, list[str]] = {}
    for number, text, tag in zip(view.notes["number"], view.notes["text"], view.notes["tag"], strict=True):
        texts.setdefault(int(number), []).append(" ".join(part for part in (f"#{tag}" if tag else "", text) if part))
    return ["; ".join(texts.get(int(number), ())) for number in trials["number"]]


def _failure(error: str, members: list[tuple[int, str]]) -> Disclosure:
    traceback = next((text for _, text in members if text), "")
    return Disclosure(
        summary=f"{_trial_list(members)}: {error or 'no reason stored'}",
        text=traceback or "No traceback is stored: the process ended without writing one, or was killed.",
    )


def _trial_list(members: list[tuple[int, str]]) -> str:
    numbers = wording.listed([str(number) for number, _ in members], limit=8)
    return f"{'Trial' if len(members) == 1 else 'Trials'} {numbers}"


def _data_summary(view: StudyView) -> tuple[Table, ...] | Empty:
    summary = view.facts.data_summary
    if not summary:
        return Empty("No counts of images and boxes are stored for this study; `evolve run` counts them.")
    splits = summary.get("splits")
    counted = {str(name): each for name, each in splits.items()} if isinstance(splits, Mapping) else {}
    # What was found is told from the findings themselves.
    rest = {str(key): as_text(value) for key, value in summary.items() if key not in ("splits", "findings")}
    facts = {key.replace("_", " "): value for key, value in rest.items() if value}
    tables = (_splits_table(counted) if counted else None, _pairs("data-facts", "data", facts) if facts else None)
    return tuple(table for table in tables if table is not None)


def _splits_table(splits: Mapping[str, Any]) -> Table:
    keys = list(dict.fromkeys(key for each in splits.values() for key in each))
    is_nested = {key: any(isinstance(each.get(key), Mapping) for each in splits.values()) for key in keys}
    columns = (
        Column(title="split"),
        *(Column(title=str(key).replace("_", " "), kind="text" if is_nested[key] else "number") for key in keys),
    )
    rows = tuple((name, *(_count_cell(each.get(key)) for key in keys)) for name, each in splits.items())
    return Table(name="data-splits", columns=columns, rows=rows)


def _count_cell(value: object) -> Cell:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else as_text(value)


def _pairs(name: str, title: str, pairs: Mapping[str, str]) -> Table:
    return Table(name=name, columns=(Column(title=title), Column(title="value")), rows=tuple(pairs.items()))


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, Mapping):
            flat.update({f"{key} {inner}": each for inner, each in value.items()})
        else:
            flat[str(key)] = value if not isinstance(value, list) else json.dumps(value)
    return flat


def _is_nan(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
