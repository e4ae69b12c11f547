"""A study in words: what it would do, what that would cost, and what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detector.plan import TrainingPlan
from evolve.detection import Cost, available_cores
from evolve.session import Sitting
from evolve.space import Choices
from evolve.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a study would cost if no trial were stopped early.

    Attributes:
        trials, workers, steps: Trainings are trials times seeds; steps are those of one training.
        step_seconds: Of one batch, measured.
        training_seconds: Of one training, evaluation included.
        total_seconds: Of the study.
        device: Where it was measured.
    """

    trials: int
    seeds: int
    workers: int
    steps: int
    step_seconds: float
    training_seconds: float
    total_seconds: float
    device: str

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        return (
            f"cost: {self.trials} trials x {self.seeds} seeds x {self.steps} steps at {self.step_seconds * 1e3:.1f} ms "
            f"on {self.device}, {self.workers} at once: about {minutes(self.total_seconds)} "
            f"({minutes(self.training_seconds)} a training; measured over a few steps, no pruning assumed)"
        )


def estimate(sitting: Sitting, cost: Cost) -> Estimate:
    """Estimate from the measured cost of a few steps."""
    study = sitting.study
    workers = sitting.workers or (1 if cost.device.startswith("cuda") else available_cores())
    workers = min(workers, study.budget.trials)
    training = cost.steps * cost.step_seconds + study.epochs * cost.evaluation_seconds
    rounds = -(-study.budget.trials // workers)
    total = rounds * training * len(study.seeds)
    limit = study.budget.seconds
    return Estimate(
        trials=study.budget.trials,
        seeds=len(study.seeds),
        workers=workers,
        steps=cost.steps,
        step_seconds=cost.step_seconds,
        training_seconds=training,
        total_seconds=total if limit is None else min(total, limit + training),
        device=cost.device,
    )


def describe(study: Study) -> str:
    """A study in lines for people."""
    plan: TrainingPlan = study.training_plan("cpu", study.seeds[0])
    limit = "" if study.budget.seconds is None else f", at most {minutes(study.budget.seconds)}"
    lines = [
        f"study    {study.name}: {' '.join(study.description.split())}",
        f"data     {study.data} at {plan.image_size} px, batch {plan.batch_size}"
        + (f" (updates every {plan.nominal_batch_size} images)" if plan.accumulation > 1 else ""),
        f"model    {plan.model}, {plan.epochs} epochs, {plan.precision}, seeds {list(study.seeds)}",
        f"search   {study.sampler} sampler, {study.pruner} pruner, {study.budget.trials} trials{limit}",
        f"fitness  {', '.join(f'{k} {v:g}' for k, v in study.fitness.model_dump().items() if v)}",
    ]
    lines += [f"space    {name:<16} {_range_text(each)}" for name, each in study.space.items()]
    fixed = ", ".join(f"{name} {value}" for name, value in study.fixed.items() if name not in study.space)
    return "\n".join([*lines, f"fixed    {fixed}"] if fixed else lines)


def _range_text(parameter: Any) -> str:
    if isinstance(parameter, Choices):
        return ", ".join(str(each) for each in parameter.choices)
    return f"{parameter.low:g} .. {parameter.high:g}{' (log)' if getattr(parameter, 'log', False) else ''}"


def result_text(result: dict[str, Any]) -> str:
    """The end of a run in lines for people."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in result["verdicts"].items())
    lines = [f"study   {result['study']}: {verdicts or 'no trial ended'}"]
    if best := result["best"]:
        params = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in best["params"].items())
        lines.append(
            f"best    trial {best['number']}: fitness {best['fitness']:.4f}" + (f"  ({params})" if params else "")
        )
        for split, metrics in best["metrics"].items():
            words = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
            lines.append(f"{split:<8}{words}" + (f"  (mean of {best['seeds']} seeds)" if best["seeds"] > 1 else ""))
    return "\n".join([*lines, *(f"{kind:<8}{path}" for kind, path in result["files"].items())])


def minutes(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
