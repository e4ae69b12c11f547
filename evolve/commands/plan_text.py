"""A study in words: what it would do, what that would cost, and what it found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detector.plan import TrainingPlan
from evolve.formatting import counted, listed, parameter, rough_duration
from evolve.run.data import DataChecked
from evolve.run.detection import measure_cost
from evolve.run.run import Run
from evolve.study import Study
from evolve.study.placing import placing_text
from evolve.study.population import Pbt, PopulationPlan
from evolve.study.space import Choices

MAX_CLASSES, MAX_FINDINGS = 12, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a study would cost if no trial were stopped early.

    Attributes:
        trials: Number of trials that fit into the time of the budget.
        allowed_trials: Number of trials that the budget allows; no more than `trials` of them fit into its time.
        seeds: Number of seeds of the study.
        trainings: How many trainings there are, as trials times seeds, in words.
        workers: Number of processes that train at once.
        steps: Number of batches in one training, on average.
        step_seconds: Measured time of one batch.
        training_seconds: Time of one training, evaluation included.
        total_seconds: Time of the whole study.
        device: torch's name of the device it was measured on.
        start_seconds: Time to load program and data before the first step and to write the report.
    """

    trials: int
    allowed_trials: int
    seeds: int
    trainings: str
    workers: int
    steps: int
    step_seconds: float
    training_seconds: float
    total_seconds: float
    device: str
    start_seconds: float

    def as_mapping(self) -> dict[str, Any]:
        """The estimate as plain values, for machines."""
        return asdict(self)

    def text(self) -> str:
        """The estimate in a line, for people."""
        step, whole = f"{self.step_seconds * 1e3:.1f} ms on {self.device}", rough_duration(self.total_seconds)
        ends, training = rough_duration(self.start_seconds), rough_duration(self.training_seconds)
        return (
            f"cost: {self.trainings} x {self.steps} steps at {step}, {self.workers} "
            f"at once: about {whole} ({ends} to start and end, {training} a training with its validations; measured "
            "over a few steps, no pruning assumed)"
        )


REPORT_SECONDS = 3.0


def estimate(run: Run) -> Estimate:
    """Estimate from the cost of a few steps, measured now.

    Raises:
        EvolveError: The data cannot be trained on.
    """
    study = run.study
    crew = run.crew(run.device)
    workers = crew.workers
    cost = measure_cost(study, run.device, num_threads=crew.threads)
    part = _part_of_training(study)
    training = part * (cost.steps * cost.step_seconds + study.epochs * cost.evaluation_seconds) + cost.test_seconds
    groups = _groups(study)
    num_rounds = sum(-(-trials // workers) for trials, _ in groups)
    rounds, trial = num_rounds, training * sum(-(-trials // workers) * seeds for trials, seeds in groups) / num_rounds
    limit = study.budget.seconds
    # One start is this process's own, the other that of its workers.
    start = 2 * cost.start_seconds + REPORT_SECONDS
    if limit is not None:  # no trial is started that would not be over by then, but the first ones are
        rounds = min(rounds, max(int(limit // trial), 1))
    total, trials = rounds * trial, min(study.budget.trials, rounds * workers)
    of_all = f" of {study.budget.trials}" if trials < study.budget.trials else ""
    trainings = [f"{counted(count, 'trial')} x {counted(seeds, 'seed')}" for count, seeds in groups]
    if of_all or len(groups) == 1 or study.population is not None:
        asked = f"{trials}{of_all} trials" if of_all else counted(trials, "trial")
        trainings = [f"{asked} x {counted(len(study.seeds), 'seed')}"]
    return Estimate(
        trials=trials,
        trainings=" and ".join(trainings),
        allowed_trials=study.budget.trials,
        seeds=len(study.seeds),
        workers=workers,
        steps=round(part * cost.steps),
        step_seconds=cost.step_seconds,
        training_seconds=training,
        total_seconds=start + total,
        device=cost.device,
        start_seconds=start,
    )


def _part_of_training(study: Study) -> float:
    """How much of a whole training a trial is on average: less than 1 where it is a part of one."""
    members, trials = study.population, study.budget.trials
    return 1.0 if members is None else members.epochs_in(trials) / (trials * study.epochs)


def _groups(study: Study) -> list[tuple[int, int]]:
    """Numbers of trials with the number of seeds that each is trained with, if no arm ends at a look.

    The trials of a group begin when those of the one before have ended.
    """
    if (members := study.population) is not None:
        whole, rest = divmod(study.budget.trials, members.members)
        return [(members.members, len(study.seeds))] * whole + ([(rest, len(study.seeds))] if rest else [])
    plan = study.arm_plan
    if plan is None:
        return [(study.budget.trials, len(study.seeds))]
    tuning = [(plan.num_tuning, len(plan.tuning_seeds))] if plan.num_tuning else []
    firsts = [plan.first_of(look) for look in range(1, plan.num_looks + 1)]
    return [*tuning, *((len(plan.arms), len(plan.seeds_of(first))) for first in firsts)]


def choices_text(study: Study) -> list[str]:
    """A line for each value that was chosen from the data, with its reason."""
    lines = []
    for key, reason in study.decisions.items():
        value = f" {getattr(study, key)}" if key in Study.model_fields else ""
        lines.append(f"chosen  {key}{value}: {reason}")
    return lines


def data_lines(data: str, checked: DataChecked) -> list[str]:
    """What a data set holds, in lines for people: splits, classes with their boxes, findings."""
    splits = checked.summary["splits"]
    counts = ", ".join(f"{name} {split['images']} images, {split['boxes']} boxes" for name, split in splits.items())
    classes = splits["train"]["boxes_by_class"]
    named = ", ".join(f"{name} {count}" for name, count in list(classes.items())[:MAX_CLASSES])
    more = f" and {len(classes) - MAX_CLASSES} more" if len(classes) > MAX_CLASSES else ""
    lines = [f"data {data}: {counts}. {checked.note}", f"  training boxes by class: {named}{more}"]
    kinds = checked.summary.get("findings") or {}
    if kinds:
        lines.append("  findings: " + ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.items()))
    lines += [f"  {found.kind}: {found.place}: {found.message}" for found in checked.findings[:MAX_FINDINGS]]
    if len(checked.findings) > MAX_FINDINGS:
        lines.append(f"  and {len(checked.findings) - MAX_FINDINGS} more findings, all in the report")
    return lines


def describe(study: Study, open_keys: Collection[str] = ()) -> str:
    """A study in lines for people.

    Args:
        study: Study that is described.
        open_keys: Keys of the study whose values are chosen from the data when it runs.
    """
    plan: TrainingPlan = study.training_plan("cpu", study.seeds[0])
    limit = "" if study.budget.seconds is None else f", at most {rough_duration(study.budget.seconds)}"
    lines = [
        f"study    {study.name}: {' '.join(study.description.split())}",
        f"data     {study.data} at {plan.image_size} px, batch {plan.batch_size}"
        + (f" (updates every {plan.nominal_batch_size} images)" if plan.accumulation > 1 else ""),
        f"model    {plan.model}, {plan.epochs} epochs, {plan.precision}, seeds {list(study.seeds)}",
        f"search   {study.sampler} sampler, {_stopper(study)}, {study.budget.trials} trials{limit}",
        f"fitness  {', '.join(f'{k} {v:g}' for k, v in study.fitness.model_dump().items() if v)}",
    ]
    if study.pbt is not None and (members := study.population) is not None:
        lines.append(f"members  {_exchange_text(study.pbt, members)}")
    if study.ablation is not None and (arms := study.arm_plan) is not None:
        lines += [f"asks     {question}"] if (question := " ".join(study.ablation.question.split())) else []
        width = max(len(arm.name) for arm in arms.arms)
        lines += [f"arm      {arm.name:<{width}}  {_settings(arm.params)}" for arm in arms.arms]
        if arms.looks:
            seeds = listed([str(count) for count in arms.looks])
            lines.append(f"looks    after {seeds} seeds; arms that have won or hardly can any more get no further ones")
    lines += [f"space    {name:<16} {_range_text(axis)}" for name, axis in study.space.items()]
    if open_keys:
        lines.append(f"chosen   from the data when it runs: {', '.join(open_keys)}")
    fixed = ", ".join(f"{name} {value}" for name, value in study.fixed.items() if name not in study.space)
    return "\n".join([*lines, f"fixed    {fixed}"] if fixed else lines)


def _exchange_text(pbt: Pbt, members: PopulationPlan) -> str:
    parts = f"{counted(members.num_generations, 'part')} of {counted(pbt.interval, 'epoch')}, a trial each"
    changes = f"values times {listed([f'{factor:g}' for factor in pbt.factors])}, {pbt.resample:.0%} drawn anew"
    count = pbt.num_replaced
    return f"{pbt.members} in {parts}; between two the weakest ({count}) copy the strongest ({count}): {changes}"


def _settings(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {parameter(value)}" for name, value in params.items())


def _stopper(study: Study) -> str:
    if study.scheduler != "none":
        return f"Ray Tune's {study.scheduler}"
    return "no pruner" if study.pruner == "none" else f"{study.pruner} pruner"


def _range_text(parameter: Any) -> str:
    if isinstance(parameter, Choices):
        return ", ".join(str(choice) for choice in parameter.choices)
    if text := placing_text(parameter):
        return text
    return f"{parameter.low:g} .. {parameter.high:g}{' (log)' if getattr(parameter, 'log', False) else ''}"
