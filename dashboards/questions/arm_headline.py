"""A comparison in a few words and numbers: what was compared with what, and which arm is better for sure."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

from dashboards.blocks import Column, Empty, Prose, Table, Tile, Tiles, VerdictCounts
from dashboards.data.arms import arms_of
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import VERDICTS, started
from dashboards.questions.headline import subject, training_seconds
from dashboards.questions.panel import Block, Panel
from evolve import formatting
from evolve.ablation.compared import Compared
from evolve.ablation.effects import EffectVerdict
from evolve.ablation.verdicts import conclusion
from evolve.study.ablation import BASELINE
from evolve.study.arms import ArmPlan


def rows(view: StudyView) -> tuple[Block, ...]:
    """What was compared, what came out, and the setting of each arm."""
    description = view.facts.text("description")
    head = (Prose(description),) if description else ()
    arms = arms_of(view)
    if isinstance(arms, Empty):
        return (*head, arms)
    edges = [Prose(f"Tuned, but to no optimum: {tuned.advice}.") for tuned in arms.tuned if tuned.at_an_end]
    found = (Prose(_asked(view, arms)), Prose(_outcome(arms)), *edges)
    numbers = Tiles(_tiles(view, arms)), VerdictCounts(_counts(view, arms.plan), of="training")
    # A single hyperparameter is what arms are named by.
    return (*head, *found, *numbers, *((_settings(view, arms),) if len(view.space) > 1 else ()))


def _asked(view: StudyView, arms: Compared) -> str:
    plan, ablation = arms.plan, arms.ablation
    others = formatting.counted(len(plan.arms) - 1, "arm")
    seeds = formatting.counted(len(plan.seeds), "seed")
    against = "the baseline, which is the defaults," if ablation.confirms else "the baseline"
    text = f"{others} {subject(view)}, each compared with {against} over the same {seeds}.".replace("  ", " ")
    if ablation.nuisance is None:
        return text
    tuned, trials = formatting.listed(list(ablation.nuisance.space)), formatting.counted(plan.num_tuning, "trial")
    return f"{text} Each was given its own {tuned} first, by {trials} on other seeds, which are not compared."


def _outcome(arms: Compared) -> str:
    missing = arms.missing
    note = f" {missing} of {len(arms.runs)} trainings are missing, so all of it may change." if missing else ""
    return f"{conclusion(arms.effects)}{note}"


def _tiles(view: StudyView, arms: Compared) -> tuple[Tile, ...]:
    values = [run.value for run in arms.runs_of(BASELINE) if run.value is not None]
    verdicts = Counter(effect.verdict for effect in arms.effects)
    of = f"of {formatting.counted(len(arms.effects), 'arm')}"
    lost = sum(run.outcome == "diverged" for run in arms.runs)
    trained = len(arms.runs) - arms.missing
    metric = arms.metric
    return (
        Tile(
            label=f"{metric}, baseline",
            value=formatting.score(fmean(values)) if values else "none",
            detail=f"mean of {formatting.counted(len(values), 'training')}",
        ),
        Tile(label="better", value=f"{verdicts[EffectVerdict.BETTER]:,}", detail=of),
        Tile(label="worse", value=f"{verdicts[EffectVerdict.WORSE]:,}", detail=of),
        Tile(label="trainings compared", value=f"{trained:,}", detail=f"of {len(arms.runs):,}"),
        Tile(label="diverged", value=f"{lost:,}", detail=f"of {formatting.counted(trained, 'training')}"),
        Tile(
            label="training time",
            value=formatting.duration(training_seconds(started(view.trials))),
            detail="tuning included" if arms.plan.num_tuning else "over all arms",
        ),
    )


def _counts(view: StudyView, plan: ArmPlan) -> tuple[tuple[str, int], ...]:
    """Trainings that are compared by verdict, without those verdicts that did not occur."""
    own = view.trainings[view.trainings["number"] >= plan.num_tuning]
    counts = own["verdict"].value_counts()
    return tuple((verdict, int(counts[verdict])) for verdict in VERDICTS if verdict in counts)


def _settings(view: StudyView, arms: Compared) -> Table:
    """The hyperparameters of each arm, also those that were tuned for it, once that is over."""
    names = [axis.name for axis in view.space]
    first = arms.plan.num_tuning
    settings = [view.params_of(first + place) for place in range(len(arms.plan.arms))]
    return Table(
        name="arms",
        columns=(Column(title="arm"), *(Column(title=name) for name in names)),
        rows=tuple(
            (arm.name, *(_cell(own.get(name, "")) for name in names))
            for arm, own in zip(arms.plan.arms, settings, strict=True)
        ),
    )


def _cell(value: float | str) -> str:
    return formatting.choice(value) if isinstance(value, str) else formatting.number(value)


PANEL = Panel(key="summary", title="Summary", rows=rows)
