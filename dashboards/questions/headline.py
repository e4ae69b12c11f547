"""The study in a few words and numbers, and its best trial."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, log, nan
from typing import Any

import pandas as pd

from dashboards.blocks import Cell, Column, Empty, Prose, Table, Tile, Tiles, VerdictCounts
from dashboards.data.shown import none_finished
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import VERDICTS, finished, started
from dashboards.questions.edges import divergence_sentence
from dashboards.questions.panel import Block, Panel
from evolve import analysis, formatting
from evolve.study.arms import best_text

EDGE = 0.05


def rows(view: StudyView) -> tuple[Block, ...]:
    """What was asked, what came out, and the best trial."""
    question_and_answer = " ".join(part for part in (view.facts.text("description"), divergence_sentence(view)) if part)
    sentences = (Prose(text) for text in (question_and_answer, _asked(view), _outcome(view)) if text)
    return (*sentences, Tiles(_tiles(view)), VerdictCounts(verdict_counts(view), of="trial"), best_setting(view))


def verdict_counts(view: StudyView) -> tuple[tuple[str, int], ...]:
    """Count of trials by verdict, without those that did not occur."""
    counts = view.trials["verdict"].value_counts()
    return tuple((verdict, int(counts[verdict])) for verdict in VERDICTS if verdict in counts)


def best_setting(view: StudyView) -> Table | Empty:
    """Hyperparameters of the best trial beside the ranges that were searched."""
    best = view.best
    if best is None:
        return none_finished(
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
    rows = tuple((axis.name, params[axis.name], *range_cells(axis), *_place(axis, params[axis.name])) for axis in axes)
    return Table(name="best-setting", columns=columns, rows=rows)


def range_cells(axis: Parameter) -> tuple[Cell, Cell, str]:
    if axis.is_categorical:
        return "", "", f"one of {formatting.listed(axis.choices, limit=8)}"
    low, high = (nan if abs(end) == inf else end for end in (axis.low, axis.high))
    return low, high, "log" if axis.is_log else "linear"


def _place(axis: Parameter, value: Cell) -> tuple[Cell, str]:
    if axis.is_categorical or not axis.has_range or isinstance(value, str):
        return "", ""
    low, high, at = (log(number) if axis.is_log else number for number in (axis.low, axis.high, value))
    place = (at - low) / (high - low)
    if place < EDGE:
        return place, "at the lower end"
    if place > 1 - EDGE:
        return place, "at the upper end"
    return place, ""


def _asked(view: StudyView) -> str:
    names = [axis.name for axis in view.space]
    searched = f"{formatting.counted(len(names), 'hyperparameter')} {subject(view)}".strip()
    how = view.facts.text("sampler")
    sampler = f" with the sampler {how}" if how else ""
    return f"The study searches {searched}{sampler}: {formatting.listed(names)}." if names else ""


def subject(view: StudyView) -> str:
    """What was trained on what, as far as that is known."""
    said = {"of": view.facts.text("model"), "on": view.facts.text("data"), "at": view.facts.text("image_size")}
    units = {"at": " px"}
    return " ".join(f"{word} {what}{units.get(word, '')}" for word, what in said.items() if what)


def _outcome(view: StudyView) -> str:
    trials = started(view.trials)
    if trials.empty:
        return "No trial has started yet."
    best = view.best
    spent = training_seconds(trials)
    counts = [f"{count:,} {verdict}" for verdict, count in verdict_counts(view)]
    effort = f" in {formatting.duration(spent)} of training" if isfinite(spent) else ""
    message = f"{formatting.counted(len(trials), 'trial')}{effort}: {formatting.listed(counts)}."
    if best is None:
        others = (
            "" if view.left_out.empty else f"; {formatting.counted(len(finished(view.left_out)), 'trial')} left out did"
        )
        return f"{message} None has run to its end{others}."
    among = f", {text}," if (text := best_text(view.facts.config)) else ","
    result = f"The best is trial {best['number']}{among} with a fitness of {formatting.score(best['fitness'])}"
    standing = _standing(view, best["number"]) if view.left_out.empty else ""
    return f"{message} {result}{_precisions(best, view.facts.text('nms_iou'))}.{standing}"


def _standing(view: StudyView, number: int) -> str:
    """How far the best trial can be trusted, in a sentence; empty where nothing was chosen among many."""
    standing = view.standing
    if standing.confirmation is not None and standing.best is not None and standing.best.trial != number:
        seeds = formatting.counted(len(standing.confirmation.seeds), "fresh seed")
        return f" With {seeds} the best is another: {standing.best.name}, with {standing.best.text}."
    command = view.facts.as_typed(standing.command) if standing.command else ""
    luck = f"; `{command}` tells whether it was luck" if command else ""
    return f" It is {standing.said}{luck}." if standing.said else ""


def _precisions(best: Mapping[str, Any], nms_iou: str) -> str:
    parts = [
        f"{formatting.score(best[column])} on {what} images"
        for column, what in (("map50", "validation"), ("test_map50", "test"))
        if isfinite(best[column])
    ]
    overlap = f" (suppression at IoU {nms_iou})" if nms_iou else ""
    return f" and an mAP50 of {formatting.listed(parts)}{overlap}" if parts else ""


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
                value=formatting.score(best["fitness"]),
                detail=", ".join(part for part in (f"trial {number}", _spread(view, number, "val", "fitness")) if part),
            ),
            Tile(label="mAP50, val", value=formatting.score(best["map50"]), detail=_seed_detail(view, number, "val")),
            Tile(
                label="mAP50, test",
                value=formatting.score(best["test_map50"]),
                detail=_seed_detail(view, number, "test"),
            ),
        ]
    share = f"{diverged / len(trials):.0%} of {len(trials):,}" if len(trials) else ""
    tiles += [
        Tile(label="trials", value=f"{len(trials):,}", detail=f"{len(finished(trials)):,} ran to their end"),
        Tile(label="diverged", value=f"{diverged:,}", detail=share),
        Tile(label="training time", value=formatting.duration(training_seconds(trials)), detail="over all trials"),
    ]
    return tuple(tiles)


def training_seconds(trials: pd.DataFrame) -> float:
    """Seconds that trials trained, together."""
    # Not a number, rather than nothing, where no trial has a time.
    return float(trials["seconds"].sum(min_count=1))


def _seed_detail(view: StudyView, number: int, split: str) -> str:
    # Single seeds are read for the best trials of the whole study, of which filters may show none.
    is_unread = not view.left_out.empty and number not in set(view.seed_results["number"])
    return _spread(view, number, split, "map50") or ("" if is_unread else "not measured")


def _spread(view: StudyView, number: int, split: str, column: str) -> str:
    """How far a mean over the seeds of a trial can be trusted; empty where nothing was measured."""
    rows = view.seed_results
    mine = rows[(rows["number"] == number) & (rows["split"] == split)]
    return analysis.spread_text([float(value) for value in mine[column]])


def mean_text(view: StudyView) -> str:
    num_seeds = len(view.facts.seeds)
    return f"mean of {num_seeds} seeds" if num_seeds > 1 else ""


PANEL = Panel(key="summary", title="Summary", rows=rows)
