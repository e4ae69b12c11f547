"""The panels of each page, top to bottom; a panel itself stands with its question."""

from __future__ import annotations

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
    validated,
)

STUDIES = (studies.TOTAL, studies.PANEL)
STUDY = (
    headline.PANEL,
    history.PANEL,
    convergence.PANEL,
    slices.PANEL,
    importances.PANEL,
    parallel.PANEL,
    contour.PANEL,
    divergence_map.PANEL,
    diverged.PANEL,
    approaches.PANEL,
    losses.PANEL,
    losses.TERM,
    schedules.PANEL,
    seeds.PANEL,
    timeline.PANEL,
    trials.PANEL,
    trials.FAILURE,
    setup.EVENT,
    data_check.PANEL,
    setup.PANEL,
    setup.ENVIRONMENT,
)
TRIAL = (
    trial_outcome.PANEL,
    trial_outcome.NOTE,
    trial_curves.METRIC,
    trial_curves.LOSS,
    trial_curves.SCHEDULE,
    trial_curves.HEALTH,
    trial_outcome.DIAGNOSIS,
    trial_files.SETTING,
    trial_files.REPRODUCTION,
    trial_files.CHECKPOINT,
    trial_files.ENVIRONMENT,
)
COMPARE = (compared.OUTCOME, compared.SETTING, compared_curves.STEP, compared_curves.CURVE)
VALIDATION = (
    validated.HEADLINE,
    validated.CLASS,
    validated.CURVE,
    validated.SWEEP,
    validated.CONFUSION,
)
PAGES = {"/": STUDIES, "/study": STUDY, "/trial": TRIAL, "/compare": COMPARE}
