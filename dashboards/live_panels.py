"""The panels of the live pages: those of the report, and what only a page with a reader before it needs."""

from __future__ import annotations

from functools import partial
from typing import Any

from dashboards.figures import landscape as landscape_figures
from dashboards.figures.series import series
from dashboards.panels import REPORT, Block, Panel, as_they_are, single
from dashboards.views import compare, landscape, overview, trial
from dashboards.views.blocks import Prose
from dashboards.views.landscape import Parallel
from dashboards.views.trial import Reproduction, Summary

_OF_REPORT = {panel.key: panel for panel in REPORT}


def _parallel(found: Parallel) -> tuple[Block, ...]:
    shown = len(found.places)
    notes = [] if shown == found.num_trials else [f"{shown:,} of {found.num_trials:,} trials are drawn"]
    notes += [f"{found.num_left_out} more hyperparameters have no room here"] if found.num_left_out else []
    figure = landscape_figures.parallel(found)
    return (Prose(f"{'; '.join(notes).capitalize()}."), figure) if notes else (figure,)


def _summary(found: Summary) -> tuple[Block, ...]:
    optional = [each for each in (found.reason, *found.notes) if each is not None]
    return (found.counts, *optional, found.tiles, *([] if found.traceback is None else [found.traceback]))


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

_PARALLEL = Panel(
    key="parallel",
    title="What do good settings have in common?",
    caption="A line is a trial that ran to its end, brighter where its fitness is higher. Drag over a part of an axis "
    "to select the trials that pass there.",
    rows=landscape.parallel,
    blocks=_parallel,
    follows_selection=True,
)
_CONTOUR = Panel(
    key="contour",
    title="Fitness over two hyperparameters",
    caption="A weighted mean of the trials nearby; empty where no trial is near. It hides what other hyperparameters "
    "did, so read it with the pictures above.",
    rows=landscape.contour,
    blocks=single(landscape_figures.contour),
    has_pair=True,
)
_TIMELINE = Panel(
    key="timeline",
    title="When did each trial run?",
    caption="From the first step to the last thing known of a trial.",
    rows=landscape.timeline,
    blocks=single(landscape_figures.timeline),
)
STUDY: tuple[Panel[Any], ...] = (
    *(_OF_REPORT[key] for key in ("summary", "history", "convergence", "slices", "importances")),
    _PARALLEL,
    _CONTOUR,
    *(_OF_REPORT[key] for key in ("map", "diverged", "approach", "losses", "loss-terms", "schedule", "seeds")),
    _TIMELINE,
    *(_OF_REPORT[key] for key in ("trials", "failures", "data", "setup", "environment")),
)

TRIAL: tuple[Panel[Any], ...] = (
    Panel(key="summary", title="What became of it", caption="", rows=trial.summary, blocks=_summary),
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
        caption="Of the step whose loss or gradient was no longer a number.",
        rows=trial.diagnosis,
        blocks=as_they_are,
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
        key="curves",
        title="How did they converge?",
        caption="After each epoch, mean over the seeds of a trial.",
        rows=compare.curves,
        blocks=partial(series, x="trial"),
    ),
)

PAGES = {"/": STUDIES, "/study": STUDY, "/trial": TRIAL, "/compare": COMPARE}
