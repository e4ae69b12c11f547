"""The panels of each page, top to bottom; a panel itself stands with its question."""

from __future__ import annotations

from functools import partial
from typing import Any

from dashboards.figures.series import series
from dashboards.questions import (
    approaches,
    compared,
    compared_curves,
    contour,
    convergence,
    data_check,
    diverged,
    divergence_map,
    headline,
    history,
    importances,
    losses,
    parallel,
    schedules,
    seeds,
    setup,
    slices,
    studies,
    timeline,
    trial_curves,
    trial_files,
    trial_outcome,
    trials,
)
from dashboards.questions.panel import Panel, as_they_are, single

REPORT: tuple[Panel[Any], ...] = (
    Panel(
        key="summary",
        title="Summary",
        caption="",
        rows=headline.rows,
        blocks=headline._blocks,
    ),
    Panel(
        key="history",
        title="Did the search get better?",
        caption="Every trial in the order it was asked for. The line is the best fitness of all trials so far that ran "
        "to their end; trials without a fitness stand in the rows beneath.",
        rows=history.rows,
        blocks=single(history.draw),
        has_points=True,
    ),
    Panel(
        key="convergence",
        title="How did trials converge?",
        caption="Average precision on the validation images after each epoch, mean over the seeds of a trial. A curve "
        "that still rises at its end was trained too short. The strip beneath has a cross for every trial that "
        "diverged, where it did.",
        rows=convergence.rows,
        blocks=convergence._blocks,
        follows_selection=True,
    ),
    Panel(
        key="slices",
        title="Which settings are good?",
        caption="Fitness against each hyperparameter. Dotted lines are the ends of the range that was searched: where "
        "the best trials crowd at one, widen it.",
        rows=slices.rows,
        blocks=slices.draw,
        has_points=True,
    ),
    Panel(
        key="importances",
        title="Which hyperparameters matter?",
        caption="Share of each hyperparameter in what sets the best trials apart (PED-ANOVA). Trials that diverged do "
        "not count here; the map below is about them.",
        rows=importances.rows,
        blocks=importances._blocks,
    ),
    Panel(
        key="parallel",
        title="What do good settings have in common?",
        caption="A line is a trial that ran to its end, brighter where its fitness is higher. On the live page, drag "
        "over a part of an axis to select the trials that pass there.",
        rows=parallel.rows,
        blocks=parallel._blocks,
        follows_selection=True,
    ),
    Panel(
        key="contour",
        title="Fitness over two hyperparameters",
        caption="A weighted mean of the trials nearby; empty where none is near or most of those diverged, marked by "
        "crosses. It hides what other hyperparameters did, so read it with the pictures above.",
        rows=contour.rows,
        blocks=single(contour.draw),
        has_pair=True,
        has_points=True,
    ),
    Panel(
        key="map",
        title="Where does training diverge?",
        caption="Brighter is better; crosses diverged.",
        rows=divergence_map.rows,
        blocks=divergence_map._blocks,
        has_pair=True,
        has_points=True,
    ),
    Panel(
        key="diverged",
        title="Why did they diverge?",
        caption="The step whose loss or gradient was no longer a number, and what was seen before it. Steps and epochs "
        "count from 0, scales from the coarsest grid.",
        rows=diverged.rows,
        blocks=as_they_are,
    ),
    Panel(
        key="approach",
        title="The last steps before divergence",
        caption="A few of those trials, from the earliest to the latest to diverge, all on logarithmic axes. Dashed: "
        "the limit above which trouble is near. Dotted: the first warning sign. A cross: not finite.",
        rows=approaches.rows,
        blocks=approaches.draw,
    ),
    Panel(
        key="losses",
        title="Do training and validation loss agree?",
        caption="A validation loss that turns upwards while the training loss falls is over-fitting. Training loss is "
        "measured on augmented images, so it may lie above.",
        rows=losses.rows,
        blocks=losses._blocks,
    ),
    Panel(
        key="loss-terms",
        title="Which term of the loss?",
        caption="The same, for the terms the loss is the sum of: blue is the best trial, grey the median; solid lines "
        "are training, dashed ones validation.",
        rows=losses.term_rows,
        blocks=losses.draw_terms,
    ),
    Panel(
        key="schedule",
        title="Learning rate and momentum as applied",
        caption="What the optimizer was given at each step, warm-up included; each different curve is drawn once.",
        rows=schedules.rows,
        blocks=schedules.draw,
    ),
    Panel(
        key="seeds",
        title="Is the best trial better than the next?",
        caption="The best trials with each of their seeds. Where intervals overlap widely, the order may be luck.",
        rows=seeds.rows,
        blocks=single(seeds.draw),
    ),
    Panel(
        key="timeline",
        title="When did each trial run?",
        caption="From the first step to the last thing known of a trial.",
        rows=timeline.rows,
        blocks=single(timeline.draw),
        has_points=True,
    ),
    Panel(
        key="trials",
        title="All trials",
        caption="",
        rows=trials.rows,
        blocks=as_they_are,
    ),
    Panel(
        key="failures",
        title="Trials that failed",
        caption="",
        rows=trials.failure_rows,
        blocks=as_they_are,
    ),
    Panel(
        key="events",
        title="What else happened?",
        caption="Workers that were lost, checkpoints that could not be used, data that changed. What was lost that way "
        "was trained again.",
        rows=setup.event_rows,
        blocks=as_they_are,
    ),
    Panel(
        key="data",
        title="The data",
        caption="What the data set holds, and what its check clipped or left out.",
        rows=data_check.rows,
        blocks=data_check._blocks,
    ),
    Panel(
        key="setup",
        title="What was asked",
        caption="",
        rows=setup.rows,
        blocks=as_they_are,
    ),
    Panel(
        key="environment",
        title="Where it ran",
        caption="",
        rows=setup.environment_rows,
        blocks=as_they_are,
    ),
)
STUDIES: tuple[Panel[Any], ...] = (
    Panel(key="totals", title="All studies", caption="", rows=studies.total_rows, blocks=as_they_are),
    Panel(
        key="studies",
        title="Each study",
        caption="Those that run come first, then the latest.",
        rows=studies.rows,
        blocks=as_they_are,
    ),
)
STUDY = REPORT
TRIAL: tuple[Panel[Any], ...] = (
    Panel(key="summary", title="What became of it", caption="", rows=trial_outcome.rows, blocks=trial_outcome._blocks),
    Panel(key="notes", title="Notes", caption="", rows=trial_outcome.note_rows, blocks=as_they_are),
    Panel(
        key="metrics",
        title="Metrics by epoch",
        caption="Measured on the validation images after each epoch.",
        rows=trial_curves.metric_rows,
        blocks=series,
    ),
    Panel(
        key="losses",
        title="Loss by step",
        caption="Each term on the training batches, by the scale it was predicted at, and on the validation images "
        "after each epoch. A cross marks a number that was not finite.",
        rows=trial_curves.loss_rows,
        blocks=series,
    ),
    Panel(
        key="schedule",
        title="Learning rate and momentum as applied",
        caption="What the optimizer was given, warm-up included.",
        rows=trial_curves.schedule_rows,
        blocks=series,
    ),
    Panel(
        key="health",
        title="Signs of trouble",
        caption="A single step that moves the weights by more than a fifth of themselves came before most divergences "
        "seen so far.",
        rows=trial_curves.health_rows,
        blocks=series,
    ),
    Panel(
        key="diagnosis",
        title="Diagnosis",
        caption="Steps and epochs count from 0, scales from the coarsest grid.",
        rows=trial_outcome.diagnosis_rows,
        blocks=trial_outcome._diagnosis_blocks,
    ),
    Panel(
        key="setting",
        title="Hyperparameters beside the best",
        caption="Those that differ come first; the ratio is this trial's over the best's.",
        rows=trial_files.setting_rows,
        blocks=as_they_are,
    ),
    Panel(
        key="reproduction",
        title="Train it again",
        caption="",
        rows=trial_files.reproduction_rows,
        blocks=trial_files._reproduction_blocks,
    ),
    Panel(key="checkpoint", title="Checkpoints", caption="", rows=trial_files.checkpoint_rows, blocks=as_they_are),
    Panel(key="environment", title="Where it ran", caption="", rows=trial_files.environment_rows, blocks=as_they_are),
)
COMPARE: tuple[Panel[Any], ...] = (
    Panel(key="outcomes", title="What became of each", caption="", rows=compared.outcome_rows, blocks=as_they_are),
    Panel(
        key="settings",
        title="What differs",
        caption="Hyperparameters and settings; those that differ come first.",
        rows=compared.setting_rows,
        blocks=as_they_are,
    ),
    Panel(
        key="steps",
        title="How did training go, step by step?",
        caption="Of each the seed that diverged, or its first. A cross in a trial's own colour is where it diverged.",
        rows=compared_curves.step_rows,
        blocks=partial(compared_curves._blocks, x="steps trained"),
    ),
    Panel(
        key="curves",
        title="How did they converge?",
        caption="After each epoch, mean over the seeds of a trial; a cross is the last number of one that diverged.",
        rows=compared_curves.curve_rows,
        blocks=partial(compared_curves._blocks, x="trial"),
    ),
)
PAGES = {"/": STUDIES, "/study": STUDY, "/trial": TRIAL, "/compare": COMPARE}
