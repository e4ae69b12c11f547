"""hyp of the early ultralytics/yolov3 (v6 to v8, 2019 and 2020), whose lrf is an exponent of ten.

Only what describes the optimizer is carried: its losses are normalised in another way, so gains have no conversion.
v7 and v8, told by their key giou and an lrf that is no exponent, never read lrf.
"""

from __future__ import annotations

from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction
from math import ceil

from detector.families import AUGMENTATION
from detector.hyperparameters import Hyperparameters, names
from evolve.exchange.dialects.context import Context
from evolve.exchange.dialects.exact import plain, shortest
from evolve.exchange.dialects.table import (
    SGD,
    Case,
    Fact,
    Fixed,
    Key,
    Quantity,
    Table,
    read_same,
    renamed,
    silent_unless,
)

NAME = "yolov3-early"
# v7 and v8 fall to this fraction of lr0 by their train.py, whatever lrf says.
COSINE_END = 0.05
HIGHEST_LRF = 0.5
INVERSE = "inverse_exponential"
GAINS = ("k", "xy", "wh", "giou", "cls", "cls_pw", "conf", "conf_bpw", "obj", "obj_pw", "iou_t", "fl_gamma")
_NORMALISED = "no conversion, its losses are normalised in another way; "
_PRECISE = DecimalContext(prec=60)


def _write_exponent(_key: Key, case: Case) -> str:
    if case.values.schedule == INVERSE:
        return plain(case.values.lrf_exponent)
    lrf = case.values.lrf
    target = _PRECISE.log10(Decimal(repr(lrf)))
    return shortest(Fraction(target), lambda read: _power_of_ten(read) == lrf)


def _read_exponent(key: Key, case: Case) -> float:
    return COSINE_END if _is_later(case) else _power_of_ten(case.number(key.name))


def _power_of_ten(exponent: Fraction) -> float:
    return float(_PRECISE.power(10, _PRECISE.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))))


def _is_later(case: Case) -> bool:
    """Whether the file is of v7 or v8."""
    return case.number("lrf") >= 0 and "giou" in case.source


def _burn_in(context: Context) -> int:
    """Iterations of the burn-in of 2019."""
    return min(round(context.batches / 5 + 1), 1000)


def _done(context: Context) -> int:
    """The last iteration of burn-in, which ends with epoch 0."""
    return min(_burn_in(context), context.batches - 1)


def _is_cut(case: Case) -> bool:
    return case.context.batches <= _burn_in(case.context)


def _warmup_epochs(case: Case) -> float:
    batches = case.context.batches
    if _is_later(case):
        return float(Fraction(max(3 * batches, 500), batches))
    return float(min(Fraction(_burn_in(case.context), batches), Fraction(1)))


def _exponent(case: Case) -> float:
    """Exponent of the schedule where the file has one; ours else."""
    return Hyperparameters().lrf_exponent if _is_later(case) else float(case.number("lrf"))


def _is_straight(case: Case) -> bool:
    """Whether our schedule is the line that stands in for the one there."""
    return case.values.schedule != INVERSE


def _momentum(case: Case) -> float:
    return float(case.number("momentum")) if "momentum" in case.source else Hyperparameters().momentum


def _factor(case: Case, epoch: int) -> float:
    """Learning rate of an epoch over lr0; an exponent above 9 is as far from a training as 9 is."""
    exponent = min(float(case.number("lrf")), 9.0)
    return float(1 - 10 ** (exponent * (1 - epoch / case.context.epochs)))


def _lr(case: Case, epoch: int) -> float:
    return float(case.number("lr0")) * _factor(case, epoch)


def _errors(case: Case) -> list[tuple[str, str]]:
    case.number("lr0")  # which every file has, as it has lrf
    text = f"{case.text('lrf')} is no exponent of ten of a falling rate; read the file with --from yolov3"
    return [("lrf", text)] if case.number("lrf") >= 0 and not _is_later(case) else []


_FACTS: dict[str, Fact] = {
    "first": lambda case: _factor(case, 0),
    "last": lambda case: _factor(case, case.context.epochs - 1),
    "first_lr": lambda case: _lr(case, 0),
    "last_lr": lambda case: _lr(case, case.context.epochs - 1),
    "last_epoch": lambda case: case.context.epochs - 1,
    "no_power": silent_unless(lambda case: _is_straight(case) and case.values.lrf == 0, lambda _case: "0"),
    "flat": silent_unless(lambda case: not _is_straight(case) and case.values.lrf_exponent == 0, lambda _case: "0"),
    "low_begin": silent_unless(
        lambda case: _is_straight(case) and case.values.lrf >= HIGHEST_LRF, lambda case: f"{1 - case.values.lrf:.3g}"
    ),
    "burn_in": lambda case: _burn_in(case.context),
    "cut": lambda case: f", cut short by the epoch's {case.context.batches} batches" if _is_cut(case) else "",
    "done": lambda case: _done(case.context),
    "jump": silent_unless(_is_cut, lambda case: (_done(case.context) / _burn_in(case.context)) ** 4),
    "drops": lambda case: " and ".join(str(ceil(part * case.context.epochs)) for part in (0.8, 0.9)),
    "warmups": lambda case: ", ".join(name for name in case.source if name.startswith("warmup_")),
    "later_lrf": silent_unless(_is_later, lambda case: case.text("lrf")),
    "v7": silent_unless(_is_later, lambda _case: "v7"),
    "linear": silent_unless(lambda case: not _is_later(case), lambda _case: "linear"),
    "straight": silent_unless(lambda case: _is_straight(case), lambda _case: "linear"),
    "rising": silent_unless(lambda case: case.number("lrf") > 0, lambda case: case.text("lrf")),
    "zero": silent_unless(lambda case: case.number("lrf") == 0, lambda _case: "0"),
}

TABLE = Table(
    name=NAME,
    keys=(
        renamed("lr0", "lr0"),
        Key("lrf", None, "lrf", _write_exponent, _read_exponent),
        renamed("momentum", "momentum", why="as it is"),
        renamed("weight_decay", "weight_decay", why="as it is"),
        *(Key(gain, read=read_same, why="as it is") for gain in GAINS),
    ),
    signs=frozenset({"k", "xy", "wh", "conf", "conf_bpw", "giou"}),
    fixed=(
        SGD,
        Fixed(
            "schedule",
            ("linear", INVERSE),
            ": it is code there, not a key: 1 - 10^(lrf (1 - e/E)) while lrf counts, x0.1 at 80 % and 90 % in late "
            "2019, a cosine to 0.05 in v7 and v8",
        ),
        Fixed("schedule", lambda case: "cosine" if _is_later(case) else INVERSE),
        Fixed("lrf_exponent", _exponent),
        Fixed("warmup", lambda case: "linear" if _is_later(case) else "cut_off"),
        Fixed("warmup_epochs", lambda case: _warmup_epochs(case) if _is_later(case) else 0.0),
        Fixed("warmup_steps", lambda case: 0.0 if _is_later(case) else float(_burn_in(case.context))),
        Fixed("warmup_momentum", _momentum),
        Fixed("warmup_bias_lr", lambda case: 0.1 if _is_later(case) else 0.0),
        Fixed("coding", "exp", "boxes are coded by exp there."),
        Fixed("cells", "centre", "a label is learned in the cell of its centre there."),
        Fixed("assignment", "shape_overlap", "anchors that overlap a label by iou_t learn it there."),
        Fixed("positives", "every", "every place that may learn a label does there."),
        Fixed("box_loss", "giou", "boxes are learned by GIoU in v7 and v8, by squared errors before."),
        Fixed("small_box_gain", 0.0, "boxes of all sizes weigh alike there."),
        Fixed("objectness", "bce", "objectness is learned by binary cross-entropy there."),
        Fixed(
            "obj_iou", lambda case: 1.0 if _is_later(case) else 0.0, "obj is asked for GIoU in v7 and v8, for 1 before."
        ),
    ),
    absent={
        ("box", "obj", "noobj", "cls"): f"{_NORMALISED}keep the gains of that trainer.",
        ("nesterov", "clip_norm", "ema_decay", "ignore_iou", "assign_iou", *names(AUGMENTATION)): "no keys there.",
    },
    unconverted={GAINS: f"{_NORMALISED}ours have their defaults."},
    facts=_FACTS,
    refusals=(
        "lrf_exponent {flat}: the rate would be 0 in every epoch; allowed: below 0",
        "lrf {no_power}: no power of ten is 0, and lrf 0 there means 10^0 = 1; take 0.0001, say",
        f"lrf {{lrf}}: the schedule there begins at 1 - 10^lrf, {{low_begin}} of lr0; allowed: below {HIGHEST_LRF:g}",
    ),
    errors=_errors,
    how=(
        "Put these values into the hyp of train.py (v6, 2019); leave its other keys as they are.",
        "lrf is an exponent of ten there: 10^lrf = {lrf}.",
    ),
    export_notes=(
        "schedule {straight}: there 1 - 10^(lrf (1 - e/E)), which begins at {first} of lr0, stays high and ends at "
        f"{{last}}; commits of late 2019 (x0.1 at 80 % and 90 %) and v7, v8 (cosine to {COSINE_END:g}) never read lrf.",
        "warm-up {warmup}, warmup_momentum, warmup_bias_lr: no keys; burn-in is lr0 (i/n)^4 with n = "
        "{burn_in} iterations in epoch 0 alone{cut}.",
    ),
    import_notes=(
        f"lrf {{later_lrf}}: v7 and v8 never read it; they fall by a cosine to {COSINE_END:g}.",
        "warm-up: as {v7} and v8 have it, max(3 epochs, 500 iterations) with biases from 0.1.",
    ),
    used=(
        Quantity("first lr", "lrf", "{first_lr}", "1 - 10^(lrf (1 - e/E)), e = 0"),
        Quantity("last lr", "lrf", "{last_lr}", "1 - 10^(lrf (1 - e/E)), e = {last_epoch}"),
        Quantity("burn-in", "", "{burn_in} iterations", "(i/n)^4 up to i = {done}, in epoch 0 alone"),
    ),
    idle={
        "{warmups}": "there is no such key; burn-in is code",
        "lrf (late 2019)": "x0.1 from epochs {drops}, instead",
        "lrf (v7, v8)": f"cosine to {COSINE_END:g} of lr0, instead",
    },
    problems=(
        "lrf {rising} is read as an exponent of ten: the factor begins below 0",
        "lrf {zero} is read as 10^0: the factor is 1 - 1 = 0 in every epoch",
        "burn-in of {burn_in} iterations is longer than epoch 0 of {batches}: it jumps to full lr from {jump} of it",
    ),
    preset={"giou": "3.54", "lr0": "0.01", "lrf": "0.0005", "momentum": "0.937", "weight_decay": "0.000484"},
    preset_of="hyp of v7 and v8, 2020",
    foreign=None,
)
