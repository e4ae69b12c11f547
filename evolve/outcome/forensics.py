"""How a training blew up, and what made it: from its telemetry, and the hyperparameters where they are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from math import inf, isfinite, nan
from typing import Any

from detector.hyperparameters import Hyperparameters
from detector.telemetry import TERMS, LaneEnded, StepTelemetry
from evolve.formatting import capitalised, counted
from evolve.outcome.causes import explain
from evolve.outcome.explanations import Cause, Explanation
from evolve.outcome.signs import LARGE_BOX_LOGIT, WARNING_UPDATE, Course
from evolve.outcome.verdict import FIRST_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How a training blew up.

    Attributes:
        step, epoch: Where loss or gradient stopped being numbers for good; the last step where they stayed numbers.
        term: box, obj, noobj or cls: the first of the loss terms that is no number at that step. gradient where the
            loss is a number and its gradient is not, loss where only the sum overflows. Where all stayed numbers,
            the largest term.
        scale: Scale of the term, from 0 (coarsest); None for gradient and loss.
        value: Value of the term, gradient norm or loss that `term` names: nan, inf, or that of the largest term.
        num_terms: How many terms, counted by scale, were no numbers; all of them point at the weights.
        lr, bias_lr, momentum, in_warmup: Rates applied in that step, and whether it belongs to the warm-up.
        last_finite_loss: Loss of the last step with a finite one, which is the last step itself where only its gradient
            broke; nan if there is none.
        loss_growth: That loss over the mean of the first five, or the first half of fewer than ten; where all stayed
            numbers, that of the last epoch over it, as the verdict has it, both under the gains of that epoch.
        last_finite_grad_norm: Gradient norm of the last step with a finite one; nan if there is none.
        last_finite_grad_step: Step of that gradient norm, or None.
        first_sign_step: First step whose update was above `WARNING_UPDATE` of the weights, or None.
        steps_ahead: Steps from that first warning to the end, or None.
        max_update_ratio: Largest update over weights; nan if none was measured.
        max_box_logit: Largest absolute raw box output up to that step; nan if none was finite.
        seed: Seed of the training that diverged; None in diagnoses stored before seeds were.
        causes: What the evidence speaks for, the strongest first; empty in diagnoses stored before causes were, and
            where the hyperparameters are not known.
    """

    step: int
    epoch: int
    term: str
    scale: int | None
    value: float
    num_terms: int
    lr: float
    bias_lr: float
    momentum: float
    in_warmup: bool
    last_finite_loss: float
    loss_growth: float
    last_finite_grad_norm: float
    last_finite_grad_step: int | None
    first_sign_step: int | None
    steps_ahead: int | None
    max_update_ratio: float
    max_box_logit: float
    seed: int | None = None
    causes: tuple[Explanation, ...] = ()

    @property
    def summary(self) -> str:
        """One line: what, where, and the warnings before."""
        parts = [self._what(), self._before(), f"lr {self.lr:.3g} {'in' if self.in_warmup else 'after'} warm-up"]
        if self.first_sign_step is not None:
            parts.append(f"update ratio above {WARNING_UPDATE:g} from step {self.first_sign_step}")
        if self.max_box_logit > LARGE_BOX_LOGIT:
            parts.append(f"box logit {self.max_box_logit:.3g}: no box needs as much")
        return "; ".join(part for part in (*parts, self._cause()) if part)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The same for people who have time: what broke, what came before, the rates, and the warnings."""
        found = (self._what_sentence(), self._before_sentence(), self._rates_sentence(), self._warning_sentence())
        return tuple(sentence for sentence in (*found, self._box_sentence(), *self._cause_sentences()) if sentence)

    def to_json(self) -> str:
        """The diagnosis as strict JSON: what is no number is written as text."""
        values = _as_json(asdict(self))
        return json.dumps(values | {"summary": self.summary}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Diagnosis:
        """The diagnosis that `to_json` wrote."""
        return cls.from_mapping(json.loads(text))

    @classmethod
    def from_mapping(cls, stored: Mapping[str, Any]) -> Diagnosis:
        """The diagnosis whose JSON has been read already.

        Raises:
            KeyError: It lacks what every version wrote.
        """
        known = [field.name for field in fields(cls) if field.name in stored or field.default is MISSING]
        values = {name: _from_json(name, stored[name]) for name in known}
        causes = tuple(Explanation.from_mapping(cause) for cause in values.get("causes", ()))
        return cls(**values | {"causes": causes})

    def _what(self) -> str:
        where = f"step {self.step}"
        if isfinite(self.value):
            return (
                f"loss grew to {self.loss_growth:.3g}x its start by {where}, most in {self.term} at scale {self.scale}"
            )
        if self.term in TERMS:
            others = f" and {counted(self.num_terms - 1, 'more term')}" if self.num_terms > 1 else ""
            return f"{self.term} loss {self.value:g} at scale {self.scale}{others}, {where}"
        return f"{self.term} {self.value:g}, {where}"

    def _before(self) -> str:
        if self.last_finite_grad_step is None:
            return ""
        return f"grad norm {self.last_finite_grad_norm:.1e} at step {self.last_finite_grad_step}"

    def _cause(self) -> str:
        if not self.causes:
            return ""
        first = self.causes[0]
        settings = f"; try {' '.join(remedy.setting for remedy in first.remedies)}" if first.remedies else ""
        return f"cause: {first.cause.text}{settings}"

    def _what_sentence(self) -> str:
        where = f"step {self.step}, in epoch {self.epoch}"
        if isfinite(self.value):
            return (
                f"No number was lost, but by {where}, the loss had grown to {self.loss_growth:.3g} times its start, "
                f"most of it in the {self.term} term at scale {self.scale}."
            )
        if self.term in TERMS:
            others = self.num_terms - 1
            more = f", and so were {others} more" if others > 1 else ", and so was one more" if others else ""
            return f"At {where}, the {self.term} term of the loss was {self.value:g} at scale {self.scale}{more}."
        before = "the loss was still a number" if self.term == "gradient" else "each of its terms was still a number"
        return f"At {where}, the {self.term} was {self.value:g} while {before}."

    def _before_sentence(self) -> str:
        parts = []
        if isfinite(self.last_finite_loss):
            is_said = isfinite(self.value) or not isfinite(self.loss_growth)
            growth = "" if is_said else f", {self.loss_growth:.3g} times its start"
            parts.append(f"the last loss that was a number was {self.last_finite_loss:.4g}{growth}")
        if self.last_finite_grad_step is not None:
            norm, step = self.last_finite_grad_norm, self.last_finite_grad_step
            parts.append(f"the last gradient norm that was one was {norm:.3g}, at step {step}")
        text = "; ".join(parts)
        return f"{capitalised(text)}." if text else "No step before it had a loss or gradient that was a number."

    def _rates_sentence(self) -> str:
        when = "Warm-up was not over" if self.in_warmup else "Warm-up was over"
        rates = f"the learning rate was {self.lr:.3g} ({self.bias_lr:.3g} for biases)"
        return f"{when}: {rates}, the momentum {self.momentum:.3g}."

    def _warning_sentence(self) -> str:
        if self.first_sign_step is None:
            return f"No single update before it was above {WARNING_UPDATE:g} of the weights, the sign to look for."
        ahead = f", {self.steps_ahead} steps ahead" if self.steps_ahead else ""
        return (
            f"The first sign was at step {self.first_sign_step}{ahead}: an update above {WARNING_UPDATE:g} of the "
            f"weights; the largest was {self.max_update_ratio:.3g} of them."
        )

    def _box_sentence(self) -> str:
        if not self.max_box_logit > LARGE_BOX_LOGIT:
            return ""
        return f"A raw box output had reached {self.max_box_logit:.3g}; no box needs as much."

    def _cause_sentences(self) -> tuple[str, ...]:
        if not self.causes:
            return ()
        first, *others = self.causes
        if first.cause is Cause.UNKNOWN:
            likely = "None of the known causes stands out."
        else:
            likely = f"Most likely cause: {first.text}."
        remedies = f"What to change: {'; '.join(remedy.text for remedy in first.remedies)}." if first.remedies else ""
        less = f"The evidence speaks less for: {'; '.join(cause.text for cause in others)}." if others else ""
        return likely, remedies, less


def diagnose(
    steps: Sequence[StepTelemetry],
    ended: LaneEnded,
    *,
    seed: int | None = None,
    values: Hyperparameters | None = None,
    precision: str = "float32",
) -> Diagnosis:
    """Diagnosis of a training that diverged, whether its loss stopped being a number or only grew.

    Args:
        steps: Records of one lane in order, from its first step on.
        ended: Last record of the lane.
        seed: Seed of the training.
        values: Hyperparameters that it was trained with; None where they are not known, and no cause is looked for.
        precision: Precision that it was trained in, one of `detector.plan.PRECISIONS`.

    Raises:
        ValueError: There are no steps.
    """
    if not steps:
        raise ValueError(f"lane {ended.lane} ended at step {ended.step} ({ended.reason}) without a step to look at")
    until = steps[: _start_of_end(steps) + 1]
    causes = () if values is None else explain(Course(steps=until, values=values, precision=precision))
    return replace(_symptoms(until), seed=seed, causes=causes)


def _symptoms(steps: Sequence[StepTelemetry]) -> Diagnosis:
    """What broke in the last of the steps, and what came before it."""
    broken = steps[-1]
    term, scale, value = _first_broken(broken)
    graded = [step for step in steps if isfinite(step.grad_norm)]
    sign = next((step.step for step in steps if step.update_ratio > WARNING_UPDATE), None)
    lossy = [step.loss for step in steps if isfinite(step.loss)]  # where a gradient broke, its own loss is one of them
    return Diagnosis(
        step=broken.step,
        epoch=broken.epoch,
        term=term,
        scale=scale,
        value=value,
        num_terms=len(_broken_terms(broken)),
        lr=broken.lr,
        bias_lr=broken.bias_lr,
        momentum=broken.momentum,
        in_warmup=broken.in_warmup,
        last_finite_loss=lossy[-1] if lossy else nan,
        loss_growth=_growth(lossy),
        last_finite_grad_norm=graded[-1].grad_norm if graded else nan,
        last_finite_grad_step=graded[-1].step if graded else None,
        first_sign_step=sign,
        steps_ahead=None if sign is None else broken.step - sign,
        max_update_ratio=_largest(step.update_ratio for step in steps),
        max_box_logit=_largest(step.max_box_logit for step in steps if isfinite(step.max_box_logit)),
    )


def _start_of_end(steps: Sequence[StepTelemetry]) -> int:
    # A half-precision training skips single steps that overflow and goes on, so earlier ones are no end.
    index = len(steps) - 1
    while index > 0 and not steps[index].is_finite and not steps[index - 1].is_finite:
        index -= 1
    return index


def _broken_terms(step: StepTelemetry) -> list[tuple[str, int, float]]:
    return [term for term in _terms(step) if not isfinite(term[2])]


def _terms(step: StepTelemetry) -> list[tuple[str, int, float]]:
    return [(name, scale, value) for name in TERMS for scale, value in enumerate(getattr(step.terms, name))]


def _first_broken(step: StepTelemetry) -> tuple[str, int | None, float]:
    if broken := _broken_terms(step):
        return broken[0]
    if not isfinite(step.loss):
        return "loss", None, step.loss
    if not isfinite(step.grad_norm):
        return "gradient", None, step.grad_norm
    return max(_terms(step), key=lambda term: term[2])


def _growth(losses: Sequence[float]) -> float:
    start = losses[: max(min(FIRST_STEPS, len(losses) // 2), 1)]  # of a short training the first half, before it grew
    if not start or sum(start) <= 0:
        return nan
    return losses[-1] / (sum(start) / len(start))


def _largest(values: Iterable[float]) -> float:
    return max((value for value in values if value == value), default=nan)  # nan is not equal to itself


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _from_json(name: str, value: Any) -> Any:
    special = {"nan": nan, "inf": inf, "-inf": -inf}
    return special.get(value, value) if name != "term" and isinstance(value, str) else value
