"""What a trial was trained with, where its weights are, and how to train it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from math import nan
from typing import Any

from dashboards.blocks import Cell, Column, Disclosure, Empty, Prose, Table
from dashboards.data.arms import arms_of
from dashboards.data.lived import lived_in
from dashboards.data.resolved import study_of, typed_params
from dashboards.data.study import StudyView
from dashboards.data.trial import TrialView
from dashboards.data.trial_sets import OPEN
from dashboards.questions.panel import Panel
from detector.yaml_text import dump
from evolve import formatting
from evolve.ablation.chosen import chosen_arm
from evolve.outcome.kept import drops_weights
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.study import Study
from evolve.study.arms import exportable_trials
from evolve.study.hyp import LATER, training_of
from evolve.study.trial import plan_of_trial

NOT_OURS = "This study was not made by `evolve run`, so there is no command that trains it again."
UNREADABLE = "This study is of another version of evolve, so that it cannot be told how it would be trained again."
NOISE = (
    "No single command trains this again: in a study of noise a seed stands for a combination of the levels that it "
    "crosses. `evolve run` on the study's file trains them all."
)


def setting_rows(view: TrialView) -> Table | Empty:
    """Hyperparameters beside those of the study's best trial, the ones furthest apart first."""
    own = view.study.params_of(view.number)
    if not own:
        return Empty("This trial has no hyperparameters of its own; it trained with the study's.")
    best = view.study.best
    others = {} if best is None else view.study.params_of(int(best["number"]))
    title = "best" if best is None else f"best: trial {best['number']}"
    columns = (
        Column(title="hyperparameter"),
        Column(title=f"trial {view.number}", kind="number"),
        Column(title=title, kind="number"),
        Column(title="ratio", kind="number", digits=2),
    )
    names = sorted(own, key=lambda name: own[name] == others.get(name))
    rows = tuple((name, own[name], others.get(name, nan), _ratio(own[name], others.get(name))) for name in names)
    return Table(name="setting", columns=columns, rows=rows)


def checkpoint_rows(view: TrialView) -> Table | Empty:
    """Where the weights of each seed are, or why there are none."""
    stored = {row.seed: row for row in view.outline.checkpoints}
    seeds = sorted({*stored, *view.seeds, *_planned_seeds(view)})
    if not stored and len(seeds) < 2:
        why = _no_checkpoint(view, seeds[0]) if seeds else "nothing of this trial is stored"
        return Empty(f"There is no checkpoint: {why}.")
    columns = (
        Column(title="seed", kind="number", digits=0),
        Column(title="epoch", kind="number", digits=0),
        Column(title="step", kind="number", digits=0),
        Column(title="file", unit="in the run folder of the study"),
    )
    removed = _removed(view)
    rows = tuple(
        (seed, stored[seed].epoch, stored[seed].step, removed or stored[seed].path)
        if seed in stored
        else (seed, nan, nan, f"none: {_no_checkpoint(view, seed)}")
        for seed in seeds
    )
    return Table(name="checkpoint", columns=columns, rows=rows)


def environment_rows(view: TrialView) -> Table | Empty:
    """Versions and machine the trial was trained with."""
    identity = view.row["environment_id"]
    facts = next((stored for name, stored, _ in view.study.environments if name == identity), None)
    if not facts:
        return Empty("No environment is stored for this trial.")
    rows = tuple((str(key), formatting.as_text(value)) for key, value in facts.items())
    return Table(name="environment", columns=(Column(title="what"), Column(title="value")), rows=rows)


def reproduction_rows(view: TrialView) -> tuple[Prose, Disclosure] | Empty:
    """A shell script that writes the trial's hyp file and trains with it."""
    config, study = view.study.facts.config, study_of(view.study)
    if study is None:
        return Empty(UNREADABLE if config else NOT_OURS)
    if study.noise is not None:
        return Empty(NOISE)
    stem = f"trial-{view.number}"
    through = lived_in(view.study, view.number)
    text = dump(_all_hyperparameters(study, view.study.params_of(view.number) if through is None else through.first))
    later = config.get(LATER) if through is None else {epoch: dict(values) for epoch, values in through.changes.items()}
    text += dump({LATER: later}) if later else ""
    text += dump({"training": training_of({**config, **plan_of_trial(config, view.study.params_of(view.number))})})
    seeds = ",".join(str(seed) for seed in study.seeds_of(view.number))
    command = f"evolve train --hyp {shlex.quote(stem + '.yaml')} --seeds {seeds}"
    note = Prose(
        "Paste all of this script into a shell where `evolve` is installed: its last line trains with the file that "
        "the lines above it write. The seeds are those of the trial."
    )
    script = f"cat > {stem}.yaml <<'END_OF_HYP'\n{text}END_OF_HYP\n{command}\n"
    summary = f"the script: writes {stem}.yaml, then trains with it"
    return note, Disclosure(summary=summary, text=script, is_open=True)


def _planned_seeds(view: TrialView) -> tuple[int, ...]:
    study = study_of(view.study)
    return () if study is None else study.seeds_of(view.number)


def _no_checkpoint(view: TrialView, seed: int) -> str:
    is_over = view.verdict not in OPEN
    if seed not in view.finished:
        if not is_over:
            return "its training has not begun"
        return "not trained, since another seed diverged" if view.verdict == "diverged" else "no training is stored"
    if view.finished[seed]:
        return "none is stored"
    if not is_over:
        return "the first is written after the first epoch"
    if view.verdict == "diverged" and view.diverged_seed in (seed, None):
        return "diverged in the first epoch, before the first checkpoint"
    return "ended in the first epoch, before the first checkpoint"


def _removed(view: TrialView) -> str:
    study, best = study_of(view.study), view.study.best
    if study is None or best is None:
        return ""
    trials = view.study.trials
    verdicts = {
        int(number): str(verdict)
        for number, verdict in zip(trials["number"], trials["verdict"], strict=True)
        if number == view.number or verdict not in OPEN
    }
    ended = [number for number, verdict in verdicts.items() if verdict not in OPEN]
    kept = exportable_trials(study.arm_plan, ended, best=int(best["number"]), chosen=lambda: _chosen(view.study))
    if not drops_weights(study, view.number, verdicts, is_exportable=view.number in kept):
        return ""
    of = "its best, trial" if len(kept) == 1 else "what may be exported: trials"
    return f"removed: the study keeps the weights of {of} {formatting.listed([str(number) for number in sorted(kept)])}"


def _chosen(view: StudyView) -> int | None:
    """Number of the trial whose arm an ablation exports; None where that cannot be told."""
    found = arms_of(view)
    if isinstance(found, Empty):
        return None
    trained = view.trials[view.trials["verdict"].isin(TRAINED_THROUGH)]
    arm = chosen_arm(found, dict(zip(trained["number"].astype(int), trained["fitness"].astype(float), strict=True)))
    return None if arm is None else arm.trial


def _all_hyperparameters(study: Study, params: Mapping[str, float | str]) -> dict[str, Any]:
    # With all defaults written out, so that a later version trains the same.
    return asdict(study.hyperparameters(typed_params(study, params)))


def _ratio(own: float | str, other: float | str | None) -> Cell:
    return own / other if isinstance(own, float) and isinstance(other, float) and other else nan


SETTING = Panel(
    key="setting",
    title="Hyperparameters beside the best",
    caption="Those that differ come first; the ratio is this trial's over the best's.",
    rows=setting_rows,
)

REPRODUCTION = Panel(key="reproduction", title="Train it again", rows=reproduction_rows)

CHECKPOINT = Panel(key="checkpoint", title="Checkpoints", rows=checkpoint_rows)

ENVIRONMENT = Panel(key="environment", title="Where it ran", rows=environment_rows)
