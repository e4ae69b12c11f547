"""The panels of the live pages: a study has those of the report; other pages are live alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from dashboards.figures.series import series
from dashboards.panels import REPORT, Block, Panel, as_they_are
from dashboards.views import compare, overview, trial
from dashboards.views.compare import Overlay
from dashboards.views.trial import Explanation, Reproduction, Summary


def _summary(found: Summary) -> tuple[Block, ...]:
    traceback = () if found.traceback is None else (found.traceback,)
    return (found.verdict, *found.sentences, found.tiles, *traceback)


def _explanation(found: Explanation) -> tuple[Block, ...]:
    return (*found.sentences, found.table)


def _overlay(found: Overlay, *, x: str) -> tuple[Block, ...]:
    return (found.key, *series(found.series, x=x))


def _reproduction(found: Reproduction) -> tuple[Block, ...]:
    return (found.note, found.text)


STUDIES: tuple[Panel[Any], ...] = (
    Panel(key="totals", title="All studies", caption="", rows=overview.totals, blocks=as_they_are),
    Panel(
        key="studies",
        title="Each study",
        caption="Those that run come first, then the latest.",
        rows=overview.studies_table,
        blocks=as_they_are,
    ),
)

STUDY = REPORT

TRIAL: tuple[Panel[Any], ...] = (
    Panel(key="summary", title="What became of it", caption="", rows=trial.summary, blocks=_summary),
    Panel(key="notes", title="Notes", caption="", rows=trial.notes, blocks=as_they_are),
    Panel(
        key="metrics",
        title="Metrics by epoch",
        caption="Measured on the validation images after each epoch.",
        rows=trial.metrics,
        blocks=series,
    ),
    Panel(
        key="losses",
        title="Loss by step",
        caption="Each term on the training batches, by the scale it was predicted at, and on the validation images "
        "after each epoch. A cross marks a number that was not finite.",
        rows=trial.losses,
        blocks=series,
    ),
    Panel(
        key="schedule",
        title="Learning rate and momentum as applied",
        caption="What the optimizer was given, warm-up included.",
        rows=trial.schedule,
        blocks=series,
    ),
    Panel(
        key="health",
        title="Signs of trouble",
        caption="A single step that moves the weights by more than a fifth of themselves came before most divergences "
        "seen so far.",
        rows=trial.health,
        blocks=series,
    ),
    Panel(
        key="diagnosis",
        title="Diagnosis",
        caption="Steps and epochs count from 0, scales from the coarsest grid.",
        rows=trial.diagnosis,
        blocks=_explanation,
    ),
    Panel(
        key="setting",
        title="Hyperparameters beside the best",
        caption="Those that differ come first; the ratio is this trial's over the best's.",
        rows=trial.setting,
        blocks=as_they_are,
    ),
    Panel(
        key="reproduction",
        title="Train it again",
        caption="",
        rows=trial.reproduction,
        blocks=_reproduction,
    ),
    Panel(key="checkpoint", title="Checkpoints", caption="", rows=trial.checkpoint, blocks=as_they_are),
    Panel(key="environment", title="Where it ran", caption="", rows=trial.environment, blocks=as_they_are),
)

COMPARE: tuple[Panel[Any], ...] = (
    Panel(key="outcomes", title="What became of each", caption="", rows=compare.outcomes, blocks=as_they_are),
    Panel(
        key="settings",
        title="What differs",
        caption="Hyperparameters and settings; those that differ come first.",
        rows=compare.settings,
        blocks=as_they_are,
    ),
    Panel(
        key="steps",
        title="How did training go, step by step?",
        caption="Of each the seed that diverged, or its first. A cross in a trial's own colour is where it diverged.",
        rows=compare.steps,
        blocks=partial(_overlay, x="steps trained"),
    ),
    Panel(
        key="curves",
        title="How did they converge?",
        caption="After each epoch, mean over the seeds of a trial; a cross is the last number of one that diverged.",
        rows=compare.curves,
        blocks=partial(_overlay, x="trial"),
    ),
)

PAGES = {"/": STUDIES, "/study": STUDY, "/trial": TRIAL, "/compare": COMPARE}
