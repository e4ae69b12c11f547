"""What a replay of a diverged training shows: where it broke, whether it went as before, and what a change would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from detector.observations import ModuleTraced, StepTraced
from detector.telemetry import StepTelemetry
from evolve.formatting import counted
from evolve.outcome.explanations import Value
from evolve.outcome.signs import broken_terms

_MEASURED = ("loss", "grad_norm", "update_ratio", "max_box_logit", "lr", "bias_lr", "momentum")


LOSS = "loss"  # in place of a module's name, where all outputs are numbers and the loss is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first thing of a training that is no number.

    Attributes:
        step: Number of the step in which it is, from 0.
        module: Name of the module, such as blocks.4.conv; loss where all outputs are numbers and the loss is not.
        what: output, or gradient where the pass forward is sound; for the loss, its terms.
    """

    step: int
    module: str
    what: str

    @property
    def text(self) -> str:
        """What is no number, where and at which step, in a clause."""
        module = "the loss" if self.module == LOSS else self.module
        return f"the {self.what} of {module} at step {self.step}"


def first_broken(traced: Iterable[StepTraced], steps: Mapping[int, StepTelemetry]) -> Broken | None:
    """The first module whose output, or else gradient, has a value that is no number; None where all are numbers.

    Modules are looked at in the order in which a step computes: outputs forward, then the loss, then gradients from
    the last module back, of each that of its output before that of its weights.

    Args:
        traced: Steps that were looked into, module by module, in their order.
        steps: Telemetry of these steps, by number of the step.
    """
    for traced_step in traced:
        if (found := _broken_in(traced_step, steps.get(traced_step.step))) is not None:
            return found
    return None


def _broken_in(traced: StepTraced, step: StepTelemetry | None) -> Broken | None:
    for module in traced.modules:
        if not isfinite(module.output_norm):
            return Broken(step=traced.step, module=module.name, what="output")
    if step is not None and not isfinite(step.loss):
        terms = " and ".join(broken_terms(step)) or "sum"
        return Broken(step=traced.step, module=LOSS, what=f"{terms} term")
    for module in reversed(traced.modules):
        if not all(isfinite(norm) for norm in _gradients(module)):
            return Broken(step=traced.step, module=module.name, what="gradient")
    return None


def _gradients(module: ModuleTraced) -> list[float]:
    return [norm for norm in (module.gradient_norm, module.weight_gradient_norm) if norm is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whether a replay went as the training had.

    Attributes:
        steps: Number of steps that were compared with those that are stored.
        differs_at: Number of the first step that differs; None where all are equal to the last bit.
        largest: Largest relative difference of any number of any step.
    """

    steps: int
    differs_at: int | None
    largest: float

    @property
    def text(self) -> str:
        """Whether the steps are the same, and from where on they are not, in words."""
        if self.differs_at is None:
            return f"all {self.steps} steps are those of the training, bit for bit"
        return (
            f"differs from step {self.differs_at} on, by up to {self.largest:.2g} of a value: another machine, number "
            "of threads, torch, or trials side by side"
        )


def compared(steps: Sequence[StepTelemetry], stored: Mapping[int, StepTelemetry]) -> Comparison:
    """A replay's steps compared with those that are stored of the training, by step; others are passed over."""
    pairs = [(step, stored[step.step]) for step in steps if step.step in stored]
    differences = {step.step: _difference(step, before) for step, before in pairs}
    differing = [number for number, difference in differences.items() if difference > 0]
    return Comparison(
        steps=len(pairs),
        differs_at=min(differing, default=None),
        largest=max(differences.values(), default=0.0),
    )


def _difference(step: StepTelemetry, before: StepTelemetry) -> float:
    pairs = [(getattr(step, name), getattr(before, name)) for name in _MEASURED]
    for name, values in asdict(step.terms).items():
        pairs += zip(values, getattr(before.terms, name), strict=True)
    return max(_relative(now, then) for now, then in pairs)


def _relative(now: float, then: float) -> float:
    # Storage keeps what is no number as one kind.
    if not (isfinite(now) and isfinite(then)):
        return 0.0 if isfinite(now) == isfinite(then) else float("inf")
    return abs(now - then) / max(abs(now), abs(then), 1e-300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """What became of the training under other hyperparameters.

    Attributes:
        changes: New value of each hyperparameter and setting that was changed, by name.
        from_step: Step from which on it trained with them; 0 from its start.
        why_from: What it went on from, a checkpoint or its start, and why, in a clause.
        epochs: Number of epochs that it trained with them.
        is_whole: Whether it trained to its last epoch, or ended before by itself.
        verdict, reason: What became of the training, and why in words.
        fitness: Fitness on the validation images after its last epoch; None where none was finished, or it is no
            number.
    """

    changes: Mapping[str, Value]
    from_step: int
    why_from: str
    epochs: int
    is_whole: bool
    verdict: str
    reason: str
    fitness: float | None

    @property
    def how_far(self) -> str:
        """From where on and how long it was trained, in a clause."""
        how_long = "to its end" if self.is_whole else f"for {counted(self.epochs, 'epoch')}"
        return f"trained {how_long} from {self.why_from}"

    @property
    def survives(self) -> bool:
        """Whether it did not diverge."""
        return self.verdict != "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A diverged training, trained again up to its end and looked into.

    Attributes:
        study, trial, seed: Name of the study, number of the trial and seed of the training.
        end: Step at which it diverged.
        until: Last step that was trained again: the end, or a little after the first sign where the loss only grew.
        from_step: Step from which on it was trained again: that of a checkpoint, or 0.
        diagnosis: Diagnosis of the training as it is stored.
        comparison: Whether the replay went as the training had.
        notes: What else a reader has to know, a sentence each.
        broken: The first thing that is no number; None where none is, as where the loss only grew.
        traced: Last steps of the replay, looked into module by module.
        steps: Telemetry of these last steps.
        files: File of each image of the last step; empty where images are rendered.
        names: Class names by index.
        survival: What became of the training under other hyperparameters; None where nobody asked for that.
    """

    study: str
    trial: int
    seed: int
    end: int
    until: int
    from_step: int
    diagnosis: Mapping[str, Any]
    comparison: Comparison
    notes: tuple[str, ...]
    broken: Broken | None
    traced: tuple[StepTraced, ...]
    steps: tuple[StepTelemetry, ...]
    files: tuple[str, ...]
    names: tuple[str, ...]
    survival: Survival | None = None

    def as_json(self) -> dict[str, Any]:
        """The replay as plain values, for machines; pictures are left out."""
        return {
            "study": self.study,
            "trial": self.trial,
            "seed": self.seed,
            "end": self.end,
            "until": self.until,
            "from_step": self.from_step,
            "diagnosis": dict(self.diagnosis),
            "comparison": asdict(self.comparison) | {"is_equal": self.comparison.differs_at is None},
            "notes": list(self.notes),
            "broken": None if self.broken is None else asdict(self.broken),
            "steps": [asdict(step) for step in self.steps],
            "modules": {traced.step: [asdict(module) for module in traced.modules] for traced in self.traced},
            "images": self._images_json(),
            "survival": self._survival_json(),
        }

    @property
    def images(self) -> tuple[str, ...]:
        """What each image of the last step is called: its file, or its place where it is rendered."""
        return self.files or tuple(f"training image {place}" for place in self.places)

    @property
    def places(self) -> tuple[int, ...]:
        """Places of the images of the last step among those that are trained on, from 0."""
        return self.traced[-1].places if self.traced else ()

    def _images_json(self) -> list[dict[str, Any]]:
        if not self.traced:
            return []
        labelled = zip(self.images, self.places, self.traced[-1].labels, strict=True)
        return [{"image": image, "place": place, "labels": labels} for image, place, labels in labelled]

    def _survival_json(self) -> dict[str, Any] | None:
        if self.survival is None:
            return None
        return asdict(self.survival) | {"survives": self.survival.survives}
