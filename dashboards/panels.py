"""The panels of each page, top to bottom; a panel itself stands with its question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dashboards.data.filters import candidates
from dashboards.data.study import StudyView
from dashboards.data.trial import TrialView
from dashboards.questions import (
    approaches,
    arm_curves,
    arm_headline,
    classes,
    compared,
    compared_curves,
    confirmed,
    contour,
    convergence,
    cured,
    data_check,
    diverged,
    divergence_map,
    effects,
    findings,
    foreseen,
    headline,
    history,
    importances,
    layers,
    losses,
    noise,
    objectness,
    paired,
    parallel,
    path,
    pictures,
    population,
    schedules,
    screened,
    seeds,
    setup,
    shapley,
    slices,
    studies,
    time_spent,
    timeline,
    trial_curves,
    trial_files,
    trial_outcome,
    trials,
    tuning,
    validated,
)
from dashboards.questions.panel import Panel

STUDIES = (studies.TOTAL, studies.PANEL)
# Asked of a search alone, not of a comparison.
_OF_SEARCH = (findings.PANEL, confirmed.PANEL)
STUDY = (
    headline.PANEL,
    history.PANEL,
    convergence.PANEL,
    *_OF_SEARCH,
    slices.PANEL,
    importances.PANEL,
    parallel.PANEL,
    contour.PANEL,
    divergence_map.PANEL,
    diverged.PANEL,
    foreseen.PANEL,
    cured.PANEL,
    approaches.PANEL,
    losses.PANEL,
    losses.TERM,
    schedules.PANEL,
    seeds.PANEL,
    timeline.PANEL,
    time_spent.PANEL,
    trials.PANEL,
    trials.FAILURE,
    setup.EVENT,
    data_check.PANEL,
    setup.PANEL,
    setup.ENVIRONMENT,
)
SCREENING = (*STUDY[:1], screened.PANEL, *STUDY[1:])
# A population is one search by many trainings, of which no trial is a whole one.
POPULATION = (*STUDY[:2], population.PANEL, *(panel for panel in STUDY[2:] if panel not in _OF_SEARCH))


def _of_candidates(panel: Panel) -> Panel:
    """A panel of a study, over the trials that can be the best."""
    return replace(panel, rows=lambda view: panel.rows(candidates(view)))


# What its arms are is no search: which settings are good, and which matter, is asked of effects.
ABLATION = (
    arm_headline.PANEL,
    effects.PANEL,
    paired.PANEL,
    arm_curves.PANEL,
    diverged.PANEL,
    foreseen.PANEL,
    cured.PANEL,
    approaches.PANEL,
    _of_candidates(losses.PANEL),
    _of_candidates(losses.TERM),
    _of_candidates(schedules.PANEL),
    *STUDY[STUDY.index(timeline.PANEL) :],
)
NOISE = (noise.HEADLINE, noise.PANEL, *ABLATION[4:])
# Where its nuisance is tuned, after what came of it.
TUNED_ABLATION = (*ABLATION[:4], tuning.PANEL, *ABLATION[4:])
# And whose the gain is, by the way in which it names its arms.
_SHARES = {"path": path.PANEL, "factorial": shapley.PANEL}
# How a training went, on the page of a trial and on that of a training alone.
_TRAINED = (
    trial_curves.METRIC,
    classes.PANEL,
    pictures.PANEL,
    objectness.PANEL,
    objectness.SPREAD,
    trial_curves.LOSS,
    trial_curves.SCHEDULE,
    trial_curves.HEALTH,
    layers.PANEL,
    pictures.BATCH,
    trial_outcome.DIAGNOSIS,
)
TRIAL = (
    trial_outcome.PANEL,
    trial_outcome.NOTE,
    *_TRAINED,
    trial_files.SETTING,
    trial_files.REPRODUCTION,
    trial_files.CHECKPOINT,
    trial_files.ENVIRONMENT,
)


def _of_study(panel: Panel, rows: Callable[[StudyView], Any]) -> Panel:
    """A panel about a study where a trial of it is shown."""
    return replace(panel, rows=lambda view: rows(view.study))


# A training, which is a study of one trial that searches nothing: no picture of a search.
TRAINING = (
    trial_outcome.PANEL,
    *_TRAINED,
    trial_outcome.NOTE,
    _of_study(time_spent.PANEL, time_spent.rows),
    _of_study(setup.EVENT, setup.event_rows),
    _of_study(data_check.PANEL, data_check.rows),
    _of_study(setup.PANEL, lambda study: setup.rows(study)[0]),
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
    validated.WORST,
)
PAGES = {"/": STUDIES, "/study": STUDY, "/trial": TRIAL, "/compare": COMPARE}


def panels_of(page: str, view: object) -> tuple[Panel, ...]:
    """The panels of a page, top to bottom.

    Args:
        page: Path of the page, a key of `PAGES`; no other page has panels.
        view: What the page is about: the studies, a study, a trial or a comparison.
    """
    if page == "/study" and isinstance(view, TrialView):
        return TRAINING
    if page == "/study" and isinstance(view, StudyView) and view.facts.config.get("noise"):
        return NOISE
    if page == "/study" and isinstance(view, StudyView) and view.facts.config.get("pbt"):
        return POPULATION
    if page == "/study" and isinstance(view, StudyView) and view.facts.config.get("sampler") == "screening":
        return SCREENING
    if page == "/study" and isinstance(view, StudyView) and (ablation := view.facts.config.get("ablation")):
        whole = TUNED_ABLATION if ablation.get("nuisance") else ABLATION
        shares = (panel for way, panel in _SHARES.items() if ablation.get(way))
        return (*whole[:2], *shares, *whole[2:])
    return PAGES.get(page, ())
