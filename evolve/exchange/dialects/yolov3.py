"""hyp.yaml of ultralytics/yolov3 from v9 to today.

Its train.py multiplies gains by numbers of layers, classes and pixels and the weight decay by the batch; exports are
divided by the same, so that our effective values are what it ends up with. Numbers and formulas: its train.py,
utils/loss.py and data/hyps/hyp.scratch-low.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import cos, pi

from evolve.exchange.dialects.context import Context
from evolve.exchange.dialects.exact import as_fraction, scaled, shortest
from evolve.exchange.dialects.table import (
    Absent,
    Among,
    Case,
    Fact,
    Fixed,
    Key,
    Table,
    idle,
    quantity,
    said,
    same,
    times,
    unlike,
    written,
)

NAME = "yolov3"
NOMINAL = 64
WARMUP_FLOOR = 100
OLD_WARMUP_FLOOR = 1000
CLIP_NORM = 10.0
MOST_POSITIVE_WEIGHT = 1e12


def layer_factor(context: Context) -> Fraction:
    """What train.py multiplies gains by for the number of detection layers."""
    return Fraction(3, context.layers)


def class_factor(context: Context) -> Fraction:
    """What train.py multiplies cls by."""
    return Fraction(context.classes, 80) * layer_factor(context)


def area_factor(context: Context) -> Fraction:
    """What train.py multiplies obj by."""
    return Fraction(context.image_size, 640) ** 2 * layer_factor(context)


def decay_factor(context: Context) -> Fraction:
    """What train.py multiplies weight_decay by."""
    return context.with_nominal(NOMINAL).decay_factor


def _written_noobj(case: Case) -> Fraction:
    """Our noobj as train.py has it, of the obj that is written."""
    factor = area_factor(case.context)
    return Fraction(scaled(case.values.noobj, 1 / factor)) * factor


def _write_positive_weight(_key: Key, case: Case) -> str:
    """BCE's weight of what is an object: our obj over our noobj."""
    noobj = _written_noobj(case)
    if noobj == 0:
        return "1.0"
    return shortest(as_fraction(case.values.obj) / noobj, lambda read: float(read * noobj) == case.values.obj)


def _read_positive_weight(_key: Key, case: Case) -> float:
    return float(case.number("obj_pw") * (case.number("obj") * area_factor(case.context)))


# Every key that train.py reads, in the file's order, with the defaults of hyp.scratch-low.
_KEYS = (
    same("lr0", "0.01"),
    same("lrf", "0.01"),
    same("momentum", "0.937"),
    times("weight_decay", "0.0005", decay_factor, why="x {batch_size} x {accumulation_there} / {nominal} images"),
    same("warmup_epochs", "3.0"),
    same("warmup_momentum", "0.8"),
    same("warmup_bias_lr", "0.1"),
    times("box", "0.05", layer_factor, why="x 3/{layers} layers"),
    times("cls", "0.5", class_factor, why="x {classes}/80 classes x 3/{layers} layers"),
    unlike("cls_pw", "1.0", as_if="1.0"),
    times("obj", "1.0", area_factor, ours="noobj", why="x ({image_size}/640)^2 x 3/{layers} layers"),
    Key(name="obj_pw", default="1.0", ours="obj", write=_write_positive_weight, read=_read_positive_weight),
    written("iou_t", lambda _case: "0.2", "0.2"),
    written("anchor_t", lambda _case: "4.0", "4.0"),
    unlike("fl_gamma", "0.0"),
    same("hsv_h", "0.015"),
    same("hsv_s", "0.7"),
    same("hsv_v", "0.4"),
    unlike("degrees", "0.0"),
    same("translate", "0.1"),
    same("scale", "0.5"),
    unlike("shear", "0.0"),
    unlike("perspective", "0.0"),
    unlike("flipud", "0.0"),
    same("fliplr", "0.5"),
    unlike("mosaic", "1.0"),
    unlike("mixup", "0.0"),
    unlike("copy_paste", "0.0"),
)

# Of both trainers of the ultralytics family

FIXED = (
    Fixed(ours="nesterov", value=True, there="SGD is always Nesterov's there."),
    Fixed(ours="clip_norm", value=CLIP_NORM, there=f"gradients are clipped at {CLIP_NORM:g} there, always."),
)
SCHEDULES = Among(
    ours="schedule",
    values=("linear", "cosine"),
    otherwise=" does not exist there, and any other would be another training",
    way_out=" (--schedule linear exports as if it had been that)",
)
ABSENT = (
    Absent(names=("ignore_iou",), text="no counterpart; every place without a label is background there."),
    Absent(names=("assign_iou",), text="no counterpart; labels are assigned in another way there."),
    Absent(names=("ema_decay",), text="the average of the weights has a fixed decay there."),
)
NO_MOMENTUM = said(
    "momentum 0 stops that trainer: its SGD is Nesterov's, which needs one above 0",
    lambda case: not case.values.momentum,
)


# Quantities


def _asked(case: Case) -> Fraction:
    """Iterations of warm-up that the file asks for."""
    return case.number("warmup_epochs") * case.context.batches


def _length(case: Case) -> int:
    """Iterations of warm-up that train.py makes of it."""
    return max(round(_asked(case)), WARMUP_FLOOR)


def _factor(case: Case, epoch: int) -> float:
    """Learning rate of an epoch over lr0, as train.py has it."""
    lrf, epochs = float(case.number("lrf")), case.context.epochs
    if case.values.schedule == "cosine":
        return (1 - cos(pi * epoch / epochs)) / 2 * (lrf - 1) + 1
    return (1 - epoch / epochs) * (1 - lrf) + lrf


def _reached(case: Case) -> float:
    """Part of the warm-up that the training gets through."""
    return min(case.context.total_batches / _length(case), 1.0)


def _how_far(case: Case) -> str:
    reached = _reached(case)
    return "after warm-up, linear decay" if reached >= 1 else f"warm-up gets {reached:.0%} of the way"


def _floors(case: Case) -> str:
    is_below = round(_asked(case)) < OLD_WARMUP_FLOOR
    return f"at least {WARMUP_FLOOR}, {OLD_WARMUP_FLOOR} up to v9.6" if is_below else ""


def _highest_lr(case: Case) -> float:
    lr0, batches, length = float(case.number("lr0")), case.context.batches, _length(case)
    return max(
        lr0 * min((epoch + 1) * batches / length, 1) * _factor(case, epoch) for epoch in range(case.context.epochs)
    )


def _momentum(case: Case) -> float:
    start, end = (float(case.number(name)) for name in ("warmup_momentum", "momentum"))
    return start + (end - start) * _reached(case)


def _images(case: Case) -> int:
    return case.context.batch_size * case.context.accumulation


def _images_there(case: Case) -> int:
    return case.context.batch_size * case.context.with_nominal(NOMINAL).accumulation


_FACTS: dict[str, Fact] = {
    "nominal": lambda _case: NOMINAL,
    "floor": lambda _case: WARMUP_FLOOR,
    "old_floor": lambda _case: OLD_WARMUP_FLOOR,
    "floor_epochs": lambda case: Fraction(WARMUP_FLOOR, case.context.batches),
    "epochs_needed": lambda case: WARMUP_FLOOR // case.context.batches + 1,
    "asked": _asked,
    "length": _length,
    "length_epochs": lambda case: Fraction(_length(case), case.context.batches),
    "floors": _floors,
    "how_far": _how_far,
    "highest_lr": _highest_lr,
    "last_lr": lambda case: float(case.number("lr0")) * _factor(case, case.context.epochs - 1) * _reached(case),
    "last_factor": lambda case: _factor(case, case.context.epochs - 1),
    "momentum_reached": _momentum,
    "accumulation_there": lambda case: case.context.with_nominal(NOMINAL).accumulation,
    "images_here": _images,
    "images_there": _images_there,
    "updates_ratio": lambda case: Fraction(_images(case), _images_there(case)),
    "flag": lambda case: " --cos-lr" if case.values.schedule == "cosine" else "",
    "most": lambda _case: MOST_POSITIVE_WEIGHT,
    "zeros": lambda case: ", ".join(_zeros(case)),
}


def _zeros(case: Case) -> Iterator[str]:
    return (name for name in case.source if name in case.table.defaults and case.number(name) == 0)


TABLE = Table(
    name=NAME,
    keys=_KEYS,
    signs=frozenset({"anchor_t", "obj_pw", "fl_gamma"}),
    fixed=(
        *FIXED,
        Fixed(
            ours="box_loss",
            value="ciou",
            there="a box is learned by the mean of 1 - CIoU there, of (2 - w h)(1 - GIoU) here.",
        ),
        Fixed(ours="objectness", value="iou", there="the target of obj is the IoU there, 1 here."),
        Fixed(
            ours="assign",
            value="shape_ratio",
            there="a label is learned by anchors whose sides differ by a factor below anchor_t there.",
        ),
    ),
    among=(SCHEDULES,),
    absent=ABSENT,
    unconverted=(
        Absent(names=("iou_t",), text="is never read there."),
        Absent(names=("anchor_t",), text="labels are assigned in another way here."),
        Absent(names=("anchors",), text="are measured on the labels here."),
    ),
    facts=_FACTS,
    refusals=(
        NO_MOMENTUM,
        said(
            "noobj {noobj} with obj {obj}: there obj_pw is the ratio obj / noobj, which has no useful number; allowed: "
            "up to {most}",
            lambda case: case.values.obj > case.values.noobj * MOST_POSITIVE_WEIGHT,
        ),
        said(
            "lr0 would never be reached: warm-up lasts at least {floor} iterations there, and {epochs} epochs of "
            "{batches} batches are {total_batches}; train longer: --epochs {epochs_needed} or more",
            lambda case: case.context.total_batches <= WARMUP_FLOOR,
        ),
    ),
    errors=lambda case: (
        [("lrf", f"{case.text('lrf')} is an exponent of ten; read the file with --from yolov3-early")]
        if case.number("lrf") < 0
        else []
    ),
    how=(
        said(
            "Train: python train.py --hyp FILE --imgsz {image_size} --batch-size {batch_size} --epochs {epochs}{flag}"
        ),
        said(
            "Converted for {layers} detection layers, {classes} classes, {image_size} px and batch {batch_size}: "
            "another model, data set, size or batch needs another export."
        ),
        said(
            "There it becomes box {box}, obj {noobj} (our noobj; our obj is that times obj_pw), cls {cls}, weight decay "
            "{weight_decay}: the values found here."
        ),
    ),
    export_notes=(
        said(
            "schedule cosine: is not a key of this file; it is --cos-lr on the command line.",
            lambda case: case.values.schedule == "cosine",
        ),
        said(
            "warmup_epochs {warmup_epochs}: is {asked} iterations, but {floor} are the fewest there ({floor_epochs} "
            "epochs); 0 does not switch it off.",
            lambda case: _asked(case) < WARMUP_FLOOR,
        ),
        said(
            "warm-up up to v9.6: at least {old_floor} iterations; take a later version.",
            lambda case: _asked(case) < OLD_WARMUP_FLOOR,
        ),
        said(
            "lr changes by the epoch there: the last one runs at {last_factor} of lr0, here it falls to {lrf}.",
        ),
        said(
            "updates: every {images_here} images here, every {images_there} in yolov3. lr0, momentum and weight_decay "
            "are per update and are carried as such, so an epoch has {updates_ratio} times the updates there, and "
            "decays weights as much less or more ({weight_decay} per update).",
            lambda case: _images(case) != _images_there(case),
        ),
        said("iou_t and anchor_t are that file's defaults."),
        said("hsv_h: hue is shifted here and multiplied there."),
    ),
    import_notes=(
        said("schedule: linear is assumed; the file does not say whether --cos-lr was given."),
        said("ignore_iou, assign_iou, ema_decay: have our defaults."),
        said(
            "warmup_epochs {warmup_epochs}: lasted {floor} iterations there, {floor_epochs} epochs; here it lasts as "
            "long as it says.",
            lambda case: _asked(case) < WARMUP_FLOOR,
        ),
    ),
    used=(
        quantity("warm-up", "{length} iterations ({length_epochs} epochs)", "{floors}", given="warmup_epochs"),
        quantity("highest lr", "{highest_lr}", "{how_far}", given="lr0"),
        quantity("last lr", "{last_lr}", "without --cos-lr", given="lrf"),
        quantity("momentum", "{momentum_reached}", given="momentum"),
        quantity("update", "every {images_there} images", "{accumulation_there} batches"),
        quantity("clip_norm", f"{CLIP_NORM:g}", "fixed"),
    ),
    idle=(
        idle(("iou_t",), "train.py never reads it"),
        idle(("cls", "cls_pw"), "the class term is skipped with one class", lambda case: case.context.classes == 1),
        idle(("obj_pw",), "obj is 0", lambda case: case.number("obj") == 0),
        idle(
            ("warmup_epochs",),
            "asks for {asked} iterations, and {floor} are the fewest",
            lambda case: _asked(case) < WARMUP_FLOOR,
        ),
        idle(
            "{zeros}",
            "0 switches it off, and stays 0 under --evolve (steps are factors)",
            lambda case: any(_zeros(case)),
        ),
    ),
    problems=(
        said(
            "warm-up of {floor} iterations is longer than the training of {total_batches}: lr0 and momentum are never "
            "reached",
            lambda case: case.context.total_batches <= WARMUP_FLOOR,
        ),
        said("lrf {lrf} is read as a fraction: the learning rate ends below 0", lambda case: case.number("lrf") < 0),
    ),
    names_others=True,
    names_missing=True,
    if_missing="{key} is missing: train.py stops with a KeyError",
    if_foreign="{key}: is not a key of train.py; --evolve breaks on it",
    is_pyyaml=True,
    preset_of="hyp.scratch-low",
    nominal_batch_size=NOMINAL,
)
DEFAULTS = TABLE.defaults
SAME = TABLE.same
