"""hyp.yaml of ultralytics/yolov3 from v9 to today.

Its train.py multiplies gains by numbers of layers, classes and pixels and the weight decay by the batch; exports are
divided by the same, so that our effective values are what it ends up with. Numbers and formulas: its train.py,
utils/loss.py and data/hyps/hyp.scratch-low.yaml.
"""

from __future__ import annotations

from fractions import Fraction
from math import cos, pi

from evolve.exchange.dialects.context import Context
from evolve.exchange.dialects.exact import as_fraction, scaled, shortest
from evolve.exchange.dialects.table import (
    SGD,
    Case,
    Fact,
    Fixed,
    Key,
    Quantity,
    Table,
    renamed,
    same,
    silent_unless,
    times,
    unlike,
    written,
)

NAME = "yolov3"
NOMINAL = 64  # images, nbs in train.py
WARMUP_FLOOR = 100  # iterations: nw = max(round(warmup_epochs * nb), 100)
OLD_WARMUP_FLOOR = 1000  # the same up to v9.6
CLIP_NORM = 10.0  # max_norm in train.py
MOST_POSITIVE_WEIGHT = 1e12
_DECAY = "x {batch_size} x {accumulation_there} / {nominal} images"


def _area_factor(context: Context) -> Fraction:
    """What train.py multiplies obj by."""
    return Fraction(context.image_size, 640) ** 2 * Fraction(3, context.layers)


def _write_positive_weight(_key: Key, case: Case) -> str:
    """BCE's weight of what is an object: our obj over our noobj, as train.py has it of the obj that is written."""
    factor = _area_factor(case.context)
    noobj = Fraction(scaled(case.values.noobj, 1 / factor)) * factor
    if noobj == 0:
        return "1.0"
    return shortest(as_fraction(case.values.obj) / noobj, lambda read: float(read * noobj) == case.values.obj)


def _read_positive_weight(_key: Key, case: Case) -> float:
    return float(case.number("obj_pw") * (case.number("obj") * _area_factor(case.context)))


# Of both trainers of the ultralytics family, for each pixel from the centre; here at the edge.
PERSPECTIVE = times(
    "perspective", "0.0", lambda context: Fraction(context.image_size, 2), why="x {image_size} / 2 pixels"
)

# Every key that train.py reads, in the file's order, with the defaults of hyp.scratch-low.
_KEYS = (
    *same(lr0="0.01", lrf="0.01", momentum="0.937"),
    times("weight_decay", "0.0005", lambda context: context.with_nominal(NOMINAL).decay_factor, why=_DECAY),
    *same(warmup_epochs="3.0", warmup_momentum="0.8", warmup_bias_lr="0.1"),
    times("box", "0.05", lambda context: Fraction(3, context.layers), why="x 3/{layers} layers"),
    times(
        "cls",
        "0.5",
        lambda context: Fraction(context.classes * 3, 80 * context.layers),
        why="x {classes}/80 classes x 3/{layers} layers",
    ),
    *unlike("1.0", cls_pw="1.0"),
    times("obj", "1.0", _area_factor, ours="noobj", why="x ({image_size}/640)^2 x 3/{layers} layers"),
    Key("obj_pw", "1.0", "obj", _write_positive_weight, _read_positive_weight),
    written("iou_t", lambda _case: "0.2", "0.2"),
    renamed("anchor_t", "assign_ratio", "4.0"),
    Key("anchors"),
    *unlike(fl_gamma="0.0"),
    *same(hsv_h="0.015", hsv_s="0.7", hsv_v="0.4"),
    *same(degrees="0.0", translate="0.1", scale="0.5", shear="0.0"),
    PERSPECTIVE,
    *same(flipud="0.0", fliplr="0.5", mosaic="1.0", mixup="0.0"),
    *unlike(copy_paste="0.0"),
)

FAMILY_FIXED = (
    SGD,
    Fixed(
        "schedule",
        ("linear", "cosine"),
        " does not exist there, and any other would be another training (--schedule linear exports as if it had been "
        "that)",
    ),
    Fixed("nesterov", True, "SGD is always Nesterov's there."),
    Fixed("small_box_gain", 0.0, "boxes of all sizes weigh alike there."),
    Fixed("clip_norm", CLIP_NORM, f"gradients are clipped at {CLIP_NORM:g} there, always."),
)
FAMILY_ABSENT: dict[tuple[str, ...], str] = {
    ("ignore_iou",): "no counterpart; every place without a label is background there.",
    ("assign_iou",): "no counterpart; labels are assigned in another way there.",
    ("ema_decay",): "the average of the weights has a fixed decay there.",
}
NO_MOMENTUM = "momentum 0 stops that trainer: its SGD is Nesterov's, which needs one above 0{if_no_momentum}"
IF_NO_MOMENTUM = silent_unless(lambda case: case.values.momentum == 0)


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


def _zeros(case: Case) -> str:
    """Keys that are switched off."""
    return ", ".join(name for name in case.source if name in case.table.defaults and case.number(name) == 0)


def _is_short(case: Case) -> bool:
    """Whether the training ends within the warm-up."""
    return case.context.total_batches <= WARMUP_FLOOR


_FACTS: dict[str, Fact] = {
    "nominal": lambda _case: NOMINAL,
    "floor": lambda _case: WARMUP_FLOOR,
    "floor_epochs": lambda case: Fraction(WARMUP_FLOOR, case.context.batches),
    "epochs_needed": lambda case: WARMUP_FLOOR // case.context.batches + 1,
    "too_few": silent_unless(lambda case: _asked(case) < WARMUP_FLOOR, _asked),
    "old_floor": silent_unless(lambda case: _asked(case) < OLD_WARMUP_FLOOR, lambda _case: OLD_WARMUP_FLOOR),
    "too_short": silent_unless(_is_short, lambda case: case.context.total_batches),
    "length": _length,
    "length_epochs": lambda case: Fraction(_length(case), case.context.batches),
    "how_far": _how_far,
    "highest_lr": _highest_lr,
    "last_lr": lambda case: float(case.number("lr0")) * _factor(case, case.context.epochs - 1) * _reached(case),
    "last_factor": lambda case: _factor(case, case.context.epochs - 1),
    "momentum_reached": _momentum,
    "accumulation_there": lambda case: case.context.with_nominal(NOMINAL).accumulation,
    "images_here": silent_unless(lambda case: _images(case) != _images_there(case), _images),
    "images_there": _images_there,
    "updates_ratio": lambda case: Fraction(_images(case), _images_there(case)),
    "cosine": silent_unless(lambda case: case.values.schedule == "cosine", lambda case: case.values.schedule),
    "flag": lambda case: " --cos-lr" if case.values.schedule == "cosine" else "",
    "ratio_beyond": silent_unless(
        lambda case: case.values.obj > case.values.noobj * MOST_POSITIVE_WEIGHT, lambda _case: MOST_POSITIVE_WEIGHT
    ),
    "if_no_momentum": IF_NO_MOMENTUM,
    "one": silent_unless(lambda case: case.context.classes == 1, lambda _case: "one"),
    "no_objects": silent_unless(lambda case: case.number("obj") == 0, lambda _case: "0"),
    "negative_lrf": silent_unless(lambda case: case.number("lrf") < 0, lambda case: case.text("lrf")),
    "zeros": _zeros,
}

TABLE = Table(
    name=NAME,
    keys=_KEYS,
    signs=frozenset({"anchor_t", "obj_pw", "fl_gamma"}),
    fixed=(
        *FAMILY_FIXED,
        Fixed("box_loss", "ciou", "a box is learned by 1 - CIoU there."),
        Fixed("obj_iou", 1.0, "the target of obj is the IoU there."),
        Fixed("objectness", "bce", "obj is learned by binary cross-entropy there, with fl_gamma 0."),
        Fixed("assignment", "shape_ratio", "anchors learn labels whose sides differ less than anchor_t times."),
        Fixed("cells", "neighbours", "a label is learned in its cell and the two nearer ones there."),
        Fixed("positives", "every", "every place that may learn a label does there."),
        Fixed("coding", "bounded", "boxes are coded by sigmoids there, up to four anchors."),
        Fixed("prior_bias", True, "outputs start with few objects there."),
        Fixed("close_mosaic", 0.0, "mosaics last to the end there."),
        Fixed("ignore_iou", 1.0, "every place without a label is background there."),
    ),
    absent={names: text for names, text in FAMILY_ABSENT.items() if names != ("ignore_iou",)},
    unconverted={
        ("iou_t",): "is never read there.",
        ("anchors",): "are measured on the labels here.",
    },
    facts=_FACTS,
    refusals=(
        NO_MOMENTUM,
        "noobj {noobj} with obj {obj}: there obj_pw is the ratio obj / noobj, which has no useful number; allowed: up "
        "to {ratio_beyond}",
        "lr0 would never be reached: warm-up lasts at least {floor} iterations there, and {epochs} epochs of {batches} "
        "batches are {too_short}; train longer: --epochs {epochs_needed} or more",
    ),
    errors=lambda case: (
        [("lrf", f"{case.text('lrf')} is an exponent of ten; read the file with --from yolov3-early")]
        if case.number("lrf") < 0
        else []
    ),
    how=(
        "Train: python train.py --hyp FILE --imgsz {image_size} --batch-size {batch_size} --epochs {epochs}{flag}",
        "Converted for {layers} detection layers, {classes} classes, {image_size} px and batch {batch_size}: another "
        "model, data set, size or batch needs another export.",
        "There it becomes box {box}, obj {noobj} (our noobj; our obj is that times obj_pw), cls {cls}, weight decay "
        "{weight_decay}: the values found here.",
    ),
    export_notes=(
        "schedule {cosine}: is not a key of this file; it is --cos-lr on the command line.",
        "warmup_epochs {warmup_epochs}: is {too_few} iterations, but {floor} are the fewest there ({floor_epochs} "
        "epochs); 0 does not switch it off.",
        "warm-up up to v9.6: at least {old_floor} iterations; take a later version.",
        "lr changes by the epoch there: the last one runs at {last_factor} of lr0, here it falls to {lrf}.",
        "updates: every {images_here} images here, every {images_there} in yolov3. lr0, momentum and weight_decay are "
        "per update and are carried as such, so an epoch has {updates_ratio} times the updates there, and decays "
        "weights as much less or more ({weight_decay} per update).",
        "iou_t is that file's default.",
        "hsv_h: hue is shifted here and multiplied there.",
    ),
    import_notes=(
        "schedule: linear is assumed; the file does not say whether --cos-lr was given.",
        "ema_decay: has our default.",
        "warmup_epochs {warmup_epochs}: {too_few} iterations became {floor} there, {floor_epochs} epochs; here it "
        "lasts as long as it says.",
    ),
    used=(
        Quantity(
            "warm-up",
            "warmup_epochs",
            "{length} iterations ({length_epochs} epochs)",
            "at least {floor}, {old_floor} up to v9.6",
        ),
        Quantity("highest lr", "lr0", "{highest_lr}", "{how_far}"),
        Quantity("last lr", "lrf", "{last_lr}", "without --cos-lr"),
        Quantity("momentum", "momentum", "{momentum_reached}"),
        Quantity("update", "", "every {images_there} images", "{accumulation_there} batches"),
        Quantity("clip_norm", "", f"{CLIP_NORM:g}", "fixed"),
    ),
    idle={
        "iou_t": "train.py never reads it",
        "cls": "the class term is skipped with {one} class",
        "cls_pw": "the class term is skipped with {one} class",
        "obj_pw": "obj is {no_objects}",
        "warmup_epochs": "asks for {too_few} iterations, and {floor} are the fewest",
        "{zeros}": "0 switches it off, and stays 0 under --evolve (steps are factors)",
    },
    problems=(
        "warm-up of {floor} iterations is longer than the training of {too_short}: lr0 and momentum are never reached",
        "lrf {negative_lrf} is read as a fraction: the learning rate ends below 0",
    ),
    preset_of="hyp.scratch-low",
    foreign=None,
    if_missing="{key} is missing: train.py stops with a KeyError",
    if_foreign="{key}: is not a key of train.py; --evolve breaks on it",
    is_pyyaml=True,
    nominal_batch_size=NOMINAL,
)
DEFAULTS = TABLE.defaults
