"""hyp of the early ultralytics/yolov3 (v6 to v8, 2019 and 2020), whose lrf is an exponent of ten.

Only what describes the optimizer is carried: its losses are normalised in another way, so gains have no conversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction
from math import ceil

from detector.hyperparameters import Hyperparameters
from evolve.exchange.dialects.context import Context, Explanation, Export, Imported, RefusedError, Used, short
from evolve.exchange.dialects.exact import plain, shortest
from evolve.exchange.dialects.source import Source

NAME = "yolov3-early"
# v7 and v8 fall to this part of lr0, whatever lrf says.
COSINE_END = 0.05
HIGHEST_LRF = 0.5
_CARRIED = ("momentum", "weight_decay")
GAINS = ("k", "xy", "wh", "giou", "cls", "cls_pw", "conf", "conf_bpw", "obj", "obj_pw", "iou_t", "fl_gamma")
_PRECISE = DecimalContext(prec=60)


def to_dialect(values: Hyperparameters, context: Context) -> Export:
    """lr0, lrf as an exponent of ten, momentum and weight decay for the early trainer.

    Raises:
        RefusedError: A value would be read there with another meaning.
    """
    _refuse(values)
    keys = {"lr0": plain(values.lr0), "lrf": _exponent(values.lrf)}
    keys |= {name: plain(getattr(values, name)) for name in _CARRIED}
    body = "".join(f"{name}: {text}\n" for name, text in keys.items())
    how = (
        "Put these values into the hyp of train.py (v6, 2019); leave its other keys as they are.",
        f"lrf is an exponent of ten there: 10^lrf = {short(values.lrf)}.",
    )
    return Export(dialect=NAME, body=body, how=how, notes=tuple(_lost(values, context)))


def _refuse(values: Hyperparameters) -> None:
    if values.schedule != "linear":
        raise RefusedError(
            f"{NAME}: schedule {values.schedule!r}: it is code there, not a key: 1 - 10^(lrf (1 - e/E)) while "
            "lrf counts, x0.1 at 80 % and 90 % in late 2019, a cosine to 0.05 in v7 and v8; allowed: linear"
        )
    if values.lrf == 0:
        raise RefusedError(f"{NAME}: lrf 0: no power of ten is 0, and lrf 0 there means 10^0 = 1; take 0.0001, say")
    if values.lrf >= HIGHEST_LRF:
        raise RefusedError(
            f"{NAME}: lrf {values.lrf:g}: the schedule there begins at 1 - 10^lrf, {1 - values.lrf:.3g} of lr0; "
            f"allowed: below {HIGHEST_LRF:g}"
        )


def _exponent(lrf: float) -> str:
    target = _PRECISE.log10(Decimal(repr(lrf)))
    return shortest(Fraction(target), lambda read: _power_of_ten(read) == lrf)


def _power_of_ten(exponent: Fraction) -> float:
    return float(_PRECISE.power(10, _PRECISE.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))))


def _lost(values: Hyperparameters, context: Context) -> Iterator[str]:
    gains = ", ".join(f"{name} {short(getattr(values, name))}" for name in ("box", "obj", "noobj", "cls"))
    yield f"{gains}: no conversion, its losses are normalised in another way; keep the gains of that trainer."
    first, last = (_factor(values.lrf, epoch, context.epochs) for epoch in (0, context.epochs - 1))
    yield (
        f"schedule linear: there 1 - 10^(lrf (1 - e/E)), which begins at {short(first)} of lr0, stays high and ends "
        f"at {short(last)}; commits of late 2019 (x0.1 at 80 % and 90 %) and v7, v8 (cosine to 0.05) never read lrf."
    )
    burn_in, batches = _burn_in(context), context.batches
    cut = f", cut short by the epoch's {batches} batches" if batches <= burn_in else ""
    yield (
        f"warmup_epochs {short(values.warmup_epochs)}, warmup_momentum, warmup_bias_lr: no keys; burn-in is "
        f"lr0 (i/n)^4 with n = {burn_in} iterations in epoch 0 alone{cut}."
    )
    yield "nesterov, clip_norm, ema_decay, ignore_iou, assign_iou and augmentation: no keys there."


def _factor(lrf: float, epoch: int, epochs: int) -> float:
    return float(1 - lrf ** (1 - epoch / epochs))


def _burn_in(context: Context) -> int:
    return min(round(context.batches / 5 + 1), 1000)


def from_source(source: Source, context: Context) -> Imported:
    """Our values of an early hyp; gains and what it has no keys for have our defaults.

    Raises:
        DialectError: lrf is no exponent, or a value is not a number or not allowed here.
    """
    lrf = source.number("lrf")
    is_later = lrf >= 0 and "giou" in source
    if lrf >= 0 and not is_later:
        raise source.error(
            "lrf", f"{source.text('lrf')} is no exponent of ten of a falling rate; read the file with --from yolov3"
        )
    values: dict[str, object] = {"lr0": float(source.number("lr0"))}
    values |= {name: float(source.number(name)) for name in _CARRIED if name in source}
    if is_later:
        length = Fraction(max(3 * context.batches, 500), context.batches)
        values |= {"schedule": "cosine", "lrf": COSINE_END, "warmup_epochs": float(length), "warmup_bias_lr": 0.1}
    else:
        values |= {"schedule": "linear", "lrf": _power_of_ten(lrf), "warmup_bias_lr": 0.0}
        values |= {"warmup_epochs": float(min(Fraction(_burn_in(context), context.batches), Fraction(1)))}
    values["warmup_momentum"] = values.get("momentum", Hyperparameters().momentum)
    imported = source.hyperparameters(values)
    return Imported(values=imported, notes=tuple(_lost_in_import(source, is_later=is_later)))


def _lost_in_import(source: Source, *, is_later: bool) -> Iterator[str]:
    if gains := [name for name in GAINS if name in source]:
        yield f"{', '.join(gains)}: no conversion, its losses are normalised in another way; ours have their defaults."
    if is_later:
        yield f"lrf {source.text('lrf')}: v7 and v8 never read it; they fall by a cosine to {COSINE_END:g}."
        yield "warm-up: as v7 and v8 have it, max(3 epochs, 500 iterations) with biases from 0.1."
    else:
        yield "schedule: linear stands in for 1 - 10^(lrf (1 - e/E)), which stays high for longer."
        yield "warm-up: as long as its burn-in, but linear where that has a power of 4."
    known = (*GAINS, *_CARRIED, "lr0", "lrf")
    if others := [name for name in source if name not in known]:
        yield f"keys of no meaning here: {', '.join(others)}."


def explain(source: Source, context: Context) -> Explanation:
    """What the trainer of 2019 uses, and which keys do nothing."""
    used, problems = [], []
    lr0, exponent = source.number("lr0"), source.number("lrf")
    if exponent > 0:
        problems.append(f"lrf {source.text('lrf')} is read as an exponent of ten: the factor begins below 0")
    elif exponent == 0:
        problems.append("lrf 0 is read as 10^0: the factor is 1 - 1 = 0 in every epoch")
    for name, epoch in (("first lr", 0), ("last lr", context.epochs - 1)):
        factor = 1 - 10 ** (min(float(exponent), 9.0) * (1 - epoch / context.epochs))
        why = f"1 - 10^(lrf (1 - e/E)), e = {epoch}"
        used.append(Used(name=name, given=source.text("lrf"), used=short(float(lr0) * factor), why=why))
    burn_in = _burn_in(context)
    done = min(burn_in, context.batches - 1)
    why = f"(i/n)^4 up to i = {done}, in epoch 0 alone"
    used.append(Used(name="burn-in", given="", used=f"{burn_in} iterations", why=why))
    if context.batches <= burn_in:
        problems.append(
            f"burn-in of {burn_in} iterations is longer than epoch 0 of {context.batches}: it jumps to full lr from "
            f"{short((done / burn_in) ** 4)} of it"
        )
    used += [
        Used(name=name, given=source.text(name), used=short(source.number(name)), why="as it is")
        for name in (*_CARRIED, *GAINS)
        if name in source
    ]
    idle = {name: "there is no such key; burn-in is code" for name in source if name.startswith("warmup_")}
    idle["lrf (late 2019)"] = f"x0.1 from epochs {ceil(0.8 * context.epochs)} and {ceil(0.9 * context.epochs)}, instead"
    idle["lrf (v7, v8)"] = "cosine to 0.05 of lr0, instead"
    return Explanation(dialect=NAME, used=tuple(used), idle=idle, problems=tuple(problems))
