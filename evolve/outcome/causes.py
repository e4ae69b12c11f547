"""What made a training diverge: a rule for each cause, its evidence in numbers, and what to change.

Rules are pure functions of a training's telemetry and hyperparameters. A rule is silent unless its sign is there, and
says how strong the evidence is in powers of ten beyond what sound trainings show, so that causes can be compared. The
thresholds were set on some of the plantings of benchmarks/causes.py; how often they are right on others stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite, log10
from statistics import median

from detector.hyperparameters import declarations
from detector.telemetry import TERMS, StepTelemetry
from evolve.outcome.explanations import Cause, Explanation, Remedy
from evolve.outcome.signs import LARGE_BOX_LOGIT, WARNING_UPDATE, Course, broken_terms, largest

Rule = Callable[[Course], Explanation | None]

# Learning rates that are usual at most: 0.1 for SGD (Goyal et al. 2017), 0.001 for Adam (Kingma & Ba 2015), 0.02 for
# Muon (Jordan et al. 2024).
USUAL_RATES = {"sgd": 0.1, "rmsprop": 0.01, "adam": 0.001, "adamw": 0.001, "muon": 0.02}
USUAL_MOMENTUM = 0.937
USUAL_WARMUP = 20  # batches: a shorter one is over before the first weights have moved far
USUAL_LOGIT = 12.0  # raw box output of first weights; exp makes more than 100 000 anchors of it
OVERFLOW = 1.15  # strength of a box size that has no number: a rate must be above 1.4 to be worse
BEFORE_OVERFLOW = 1.3  # strength of what throws sizes out of exp's reach: they overflow after it, and because of it
SAFE_UPDATE = 0.05  # of the weights: where remedies aim
SPIKE_BEFORE, SPIKE_WINDOW = 5, 10  # steps that a batch is held against: at least, at most
SPIKE_LEAD = 20  # steps from a spike to the end: what comes later is of other causes
LEAST_STRENGTH = 0.3  # of the evidence; below it is a factor of two


def explain(course: Course) -> tuple[Explanation, ...]:
    """Causes that the evidence speaks for, the strongest first; `Cause.UNKNOWN` alone where nothing stands out."""
    found = [explanation for rule in RULES.values() if (explanation := rule(course)) is not None]
    strong = [cause for cause in found if cause.strength >= LEAST_STRENGTH]
    return tuple(sorted(strong, key=lambda cause: -cause.strength)) or (_unknown(course),)


def rate(course: Course) -> Explanation | None:
    """The update is too large for the weights, and the learning rate is what makes it so.

    Silent where no update was, or where biases were given a far higher rate than weights. The rate at which the update
    was a fifth of the weights, measured on the way up, is taken for the stable limit.

    Source: an update of about 1e-3 of the weights is usual (Karpathy, CS231n notes, Neural networks 3).
    """
    culprit, update = course.culprit, course.update
    if update <= WARNING_UPDATE or culprit.bias_lr > 10 * max(culprit.lr, 1e-12):
        return None
    values = course.values
    limit = _own_limit(course)
    return Explanation(
        cause=Cause.RATE,
        strength=max(log10(values.lr0 / USUAL_RATES[values.optimizer]), LEAST_STRENGTH),
        evidence={
            "learning rate": culprit.lr,
            "update over weights": update,
            "at step": culprit.step,
            "stable limit about": limit,
        },
        remedies=(_lower_rate(course, limit),),
    )


def _own_limit(course: Course) -> float:
    """Learning rate at which the culprit's update would have been `WARNING_UPDATE`, at the momentum after warm-up."""
    culprit, values = course.culprit, course.values
    momentum = (1 - values.momentum) / max(1 - culprit.momentum, 1e-6)
    return (culprit.lr or values.lr0) * WARNING_UPDATE / max(course.update, WARNING_UPDATE) * min(momentum, 1.0)


def _lower_rate(course: Course, limit: float) -> Remedy:
    lr0 = course.values.lr0
    value = _rounded(min(limit * SAFE_UPDATE / WARNING_UPDATE, lr0 / 2))
    return Remedy(name="lr0", before=lr0, value=value, why=f"a quarter of the limit of {limit:.3g}")


def box_size(course: Course) -> Explanation | None:
    """Raw box outputs are so large that their exponential, the size of a box, has no number or no meaning.

    Source: Redmon & Farhadi 2018, section 2.1, bw = pw exp(tw), which nothing bounds.
    """
    if course.values.coding != "exp" or course.box_logit < USUAL_LOGIT:
        return None
    broken = broken_terms(course.end)
    # Of a term that looks at boxes, while outputs are numbers: at a usual rate, no more than that is needed.
    is_first = bool(broken) and "noobj" not in broken
    strength = OVERFLOW if is_first else min(log10(course.box_logit / USUAL_LOGIT), OVERFLOW)
    return Explanation(
        cause=Cause.BOX_SIZE,
        strength=strength,
        evidence={"largest raw box output": course.box_logit, "overflow from": LARGE_BOX_LOGIT},
        remedies=(Remedy(name="coding", before="exp", value="bounded", why="no box is larger than four anchors"),),
    )


def spike(course: Course) -> Explanation | None:
    """One batch has a gradient and a loss far above those of the batches before it, and nothing had grown towards them.

    What follows is not looked at: an update that large leaves weights where any other sign may come first. Silent where
    a label is to blame, which is a batch of its own kind.

    Source: loss spikes of single batches, Chowdhery et al. 2022 (PaLM), section 5.1.
    """
    last = range(max(len(course.steps) - SPIKE_LEAD, SPIKE_BEFORE), len(course.steps))
    place = next((place for place in last if _is_spike(course.steps, place)), None)
    if place is None or bad_label(course) is not None:
        return None
    step, usual = course.steps[place], _usual_norm(course.steps, place)
    return Explanation(
        cause=Cause.SPIKE,
        strength=max(log10(step.grad_norm / usual), BEFORE_OVERFLOW),
        evidence={"gradient norm": step.grad_norm, "usual": usual, "at step": step.step},
        remedies=_held(course, usual),
    )


def _is_spike(steps: Sequence[StepTelemetry], place: int) -> bool:
    """Whether a batch stands out before anything has grown: outputs are usual, and so was the update before."""
    step, before = steps[place], steps[max(place - SPIKE_WINDOW, 0) : place]
    norms, losses = [earlier.grad_norm for earlier in before], [earlier.loss for earlier in before]
    if not all(map(isfinite, (step.grad_norm, step.loss, *norms, *losses))):
        return False
    return (
        step.grad_norm >= max(2.5 * max(norms), 5 * _usual_norm(steps, place))
        and step.loss >= 1.5 * max(losses)
        and step.max_box_logit <= USUAL_LOGIT
        and before[-1].update_ratio <= WARNING_UPDATE
    )


def _usual_norm(steps: Sequence[StepTelemetry], place: int) -> float:
    return max(median(step.grad_norm for step in steps[max(place - SPIKE_WINDOW, 0) : place]), 1e-12)


def _held(course: Course, usual: float) -> tuple[Remedy, ...]:
    """Gradients clipped where they are unlike those before."""
    values, limit = course.values, _rounded(2 * usual)
    clipped = Remedy(name="clip_norm", before=values.clip_norm, value=limit, why="twice the usual gradient norm")
    if values.clipping == "norm":
        return (clipped,)
    why = "so that no batch counts for more than others"
    return Remedy(name="clipping", before=values.clipping, value="norm", why=why), clipped


def bad_label(course: Course) -> Explanation | None:
    """Terms that look at labels jump or break at once, while the one that looks at none stays as it was.

    The background term depends on weights and images alone: where it is a sound number, so are the network's outputs.
    What is no number no hyperparameter mends: `evolve audit` finds it.
    """
    step = course.steps[course.onset]
    broken = broken_terms(step)
    if "noobj" in broken or _outgrew(course):
        return None
    jumps = {term: course.jump_of(term) for term in ("box", "cls")}
    term = max(jumps, key=lambda name: -1.0 if jumps[name] != jumps[name] else jumps[name])
    jump = jumps[term]
    if jump == inf or (broken and not step.is_finite):
        strength, what = 3.0, {"loss terms that are no numbers": float(len(broken))}
    elif jump >= 10 and jump > 3 * _known(course.jump_of("obj")) and _known(course.jump_of("noobj")) <= 2:
        strength, what = log10(jump), {f"{term} term over its usual": jump}
    else:
        return None
    return Explanation(
        cause=Cause.BAD_LABEL,
        strength=strength,
        evidence={**what, "background term over its usual": _known(course.jump_of("noobj")), "at step": step.step},
        remedies=() if jump == inf or broken else _held(course, course.typical_grad_norm),
    )


def _outgrew(course: Course) -> bool:
    """Whether outputs or updates had grown so much that weights, not labels, are to blame."""
    logit = largest((step.max_box_logit for step in course.steps[: course.onset + 1]), default=0.0)
    update = largest((step.update_ratio for step in course.before), default=0.0)
    return logit > USUAL_LOGIT or update > WARNING_UPDATE / 2


def half_precision(course: Course) -> Explanation | None:
    """Activations or gradients leave the range of float16, in which 65 504 is the largest number.

    Of activations the loss then is no number, and ends the training at once; for gradients the loss scale has been
    halved down to 1, a step each, and still they overflow.

    Source: Micikevicius et al. 2018, Mixed Precision Training, section 3.2.
    """
    if course.precision != "float16" or course.end.is_finite or course.largest_update > WARNING_UPDATE:
        return None
    skipped = sum(not step.is_finite for step in course.steps)
    change = Remedy(name="precision", before="float16", value="float32", why="its largest number is 3e38")
    return Explanation(
        cause=Cause.HALF_PRECISION,
        strength=3.0,
        evidence={"steps that overflowed": skipped, "largest update over weights": course.largest_update},
        remedies=(change,),
    )


def warmup(course: Course) -> Explanation | None:
    """The first updates are made at the full rate, and one of them is too large.

    Source: Goyal et al. 2017, section 2.2; Gilmer et al. 2021, A Loss Curvature Perspective on Training Instability.
    """
    made, place = course.warmup_steps, course.onset
    is_over = made < len(course.steps)
    if not is_over or made >= USUAL_WARMUP / 2 or place - made > USUAL_WARMUP:
        return None
    if course.largest_update <= WARNING_UPDATE:
        return None
    values = course.values
    steps = float(5 * USUAL_WARMUP)
    changes = [Remedy(name="warmup_steps", before=values.warmup_steps, value=steps, why="the rate rises from 0")]
    if values.warmup != "linear":
        why = "in which all rates rise to the end"
        changes.append(Remedy(name="warmup", before=values.warmup, value="linear", why=why))
    return Explanation(
        cause=Cause.WARMUP,
        strength=max(log10(USUAL_WARMUP / (made + 1)), BEFORE_OVERFLOW),
        evidence={"warm-up, batches": made, "first sign at step": course.steps[place].step, "update": course.update},
        remedies=tuple(changes),
    )


def momentum(course: Course) -> Explanation | None:
    """Momentum adds up so many updates that their sum is too large, although each is not.

    Source: an update that repeats grows to 1 / (1 - momentum) times itself (Goh 2017, Why Momentum Really Works).
    """
    # A first sign may come while it still rises in the warm-up; a training that ends there ended without it.
    values, present = course.values, max(course.culprit.momentum, course.end.momentum)
    excess = log10((1 - USUAL_MOMENTUM) / max(1 - max(values.momentum, present), 1e-6))
    if values.optimizer not in ("sgd", "rmsprop") or excess < LEAST_STRENGTH or present < 0.9:
        return None
    changes = [Remedy(name="momentum", before=values.momentum, value=0.9, why="adds up ten updates")]
    if values.lr0 > (usual := USUAL_RATES[values.optimizer]):
        why = "the highest that is usual: ten updates at more may be too many as well"
        changes.append(Remedy(name="lr0", before=values.lr0, value=usual, why=why))
    return Explanation(
        cause=Cause.MOMENTUM,
        strength=excess + LEAST_STRENGTH,
        evidence={"momentum": present, "updates it adds up": 1 / (1 - present), "update over weights": course.update},
        remedies=tuple(changes),
    )


def bias_rate(course: Course) -> Explanation | None:
    """In the warm-up biases move at a rate of their own, far above that of the weights.

    Source: ultralytics/yolov3 train.py, warmup_bias_lr 0.1, from which biases come down while weights come up.
    """
    values, culprit = course.values, course.culprit
    usual = max(USUAL_RATES["sgd"], values.lr0)
    if not culprit.in_warmup or culprit.bias_lr <= culprit.lr or values.warmup_bias_lr <= usual:
        return None
    return Explanation(
        cause=Cause.BIAS_RATE,
        strength=log10(values.warmup_bias_lr / usual),
        evidence={"rate of biases": culprit.bias_lr, "of weights": culprit.lr, "at step": culprit.step},
        remedies=(
            Remedy(
                name="warmup_bias_lr",
                before=values.warmup_bias_lr,
                value=min(values.lr0, USUAL_RATES["sgd"]),
                why="as high as that of weights, and at most what is usual",
            ),
        ),
    )


def loss_gain(course: Course) -> Explanation | None:
    """One term of the loss is weighed so much that the others hardly count, and its gradient is as much larger."""
    values = course.values
    usual = {term: float(declarations()[term].default) if values.reduction == "mean" else 1.0 for term in TERMS}
    excesses = {term: log10(max(getattr(values, term), 1e-12) / usual[term]) for term in TERMS}
    term = max(excesses, key=excesses.__getitem__)
    share = course.share_of(term)
    if excesses[term] < 0.5 or not share > 0.5:
        return None
    return Explanation(
        cause=Cause.LOSS_GAIN,
        strength=excesses[term] + LEAST_STRENGTH,
        evidence={f"gain {term}": getattr(values, term), "usual": usual[term], "its share of the loss": share},
        remedies=(Remedy(name=term, before=getattr(values, term), value=usual[term], why="the usual gain"),),
    )


def initialisation(course: Course) -> Explanation | None:
    """Outputs are far too large, or no numbers, before anything was updated.

    Source: He et al. 2015, Delving Deep into Rectifiers, section 2.2: the deviation that keeps the signal's size.
    """
    first = course.steps[0]
    is_broken = "noobj" in broken_terms(first) or not (first.is_finite or broken_terms(first))
    if not is_broken and not first.max_box_logit > USUAL_LOGIT:
        return None
    if course.precision == "float16" and not first.max_box_logit > USUAL_LOGIT:
        return None
    values = course.values
    logit = first.max_box_logit
    changes = [
        Remedy(name="initialiser", before=values.initialiser, value="uniform", why="its deviation fits each layer")
    ]
    return Explanation(
        cause=Cause.INITIALISATION,
        strength=3.0 if is_broken or not isfinite(logit) else 1.0 + log10(logit / USUAL_LOGIT),
        evidence={"largest raw box output at the first step": logit, "gradient norm there": first.grad_norm},
        remedies=tuple(changes) if values.initialiser != "uniform" else (),
    )


RULES: dict[Cause, Rule] = {
    Cause.RATE: rate,
    Cause.BOX_SIZE: box_size,
    Cause.SPIKE: spike,
    Cause.BAD_LABEL: bad_label,
    Cause.HALF_PRECISION: half_precision,
    Cause.WARMUP: warmup,
    Cause.MOMENTUM: momentum,
    Cause.BIAS_RATE: bias_rate,
    Cause.LOSS_GAIN: loss_gain,
    Cause.INITIALISATION: initialisation,
}


def _unknown(course: Course) -> Explanation:
    lr0 = course.values.lr0
    change = Remedy(name="lr0", before=lr0, value=_rounded(lr0 / 10), why="a guess: a lower rate helps most often")
    return Explanation(
        cause=Cause.UNKNOWN,
        strength=0.0,
        evidence={"largest update over weights": course.largest_update, "largest raw box output": course.box_logit},
        remedies=(change,) if lr0 > 0 else (),
    )


def _known(jump: float) -> float:
    return 1.0 if jump != jump else jump


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
