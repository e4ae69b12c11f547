"""args yaml of the `ultralytics` package (8.4): `yolo train cfg=args.yaml`.

Learning rates, momentum, weight decay and warm-up mean what they mean here; gains have no map, since its losses are
others (distribution focal loss, no objectness).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from evolve.exchange.dialects.table import (
    Case,
    Fact,
    Key,
    Quantity,
    Table,
    of_training,
    read_same,
    same,
    silent_unless,
    times,
    unlike,
    written,
)
from evolve.exchange.dialects.yolov3 import (
    FAMILY_ABSENT,
    FAMILY_FIXED,
    IF_NO_MOMENTUM,
    NO_MOMENTUM,
    NOMINAL,
    PERSPECTIVE,
)

NAME = "ultralytics"
_OVERRIDING = ("auto", "")
_GAINS = {"box": "7.5", "cls": "0.5", "dfl": "1.5"}
_DECAY = "x {batch_size} x {accumulation} / {nominal_batch_size} images"
OLD_WARMUP_FLOOR = 100
_NO_MAP = "gains have no lossless map, its losses are others; "


def _write_cosine(_key: Key, case: Case) -> str:
    return str(case.values.schedule == "cosine").lower()


def _read_cosine(key: Key, case: Case) -> str:
    return "cosine" if case.source.truth(key.name) else "linear"


def _write_last_epochs(_key: Key, case: Case) -> str:
    return str(round(case.values.close_mosaic * case.context.epochs))


def _read_last_epochs(key: Key, case: Case) -> float:
    return min(float(case.number(key.name)) / case.context.epochs, 1.0)


def _optimizer(case: Case, default: str) -> str:
    return case.source.text("optimizer", default).lower()


def _is_auto(case: Case) -> bool:
    return _optimizer(case, "auto") in _OVERRIDING


def _read_of_sgd(key: Key, case: Case) -> float | None:
    """A rate or momentum; those of another optimizer say nothing of ours."""
    return read_same(key, case) if _optimizer(case, "sgd") == "sgd" else None


def _used_by_sgd(name: str) -> Fact:
    return lambda case: "chosen by optimizer: auto" if _is_auto(case) else case.number(name)


def _warmup_iterations(case: Case) -> int:
    return round(min(case.number("warmup_epochs"), Fraction(case.context.epochs - 1)) * case.context.batches)


def _last_lr(case: Case) -> Fraction:
    lrf = case.number("lrf")
    return case.number("lr0") * (lrf + (1 - lrf) / case.context.epochs)


def _is_no_power(case: Case) -> bool:
    return "cls_pw" in case.source and not 0 <= case.number("cls_pw") <= 1


def _is_short(iterations: Fraction | float) -> bool:
    """Whether a warm-up is one that older releases lengthen."""
    return 0 < iterations < OLD_WARMUP_FLOOR


_FACTS: dict[str, Fact] = {
    "images_per_update": lambda case: case.context.batch_size * case.context.accumulation,
    "lr0_used": _used_by_sgd("lr0"),
    "momentum_used": _used_by_sgd("momentum"),
    "length": _warmup_iterations,
    "floor": silent_unless(lambda case: _is_short(_warmup_iterations(case)), lambda _case: OLD_WARMUP_FLOOR),
    "old_floor": silent_unless(
        lambda case: _is_short(case.values.warmup_epochs * case.context.batches), lambda _case: OLD_WARMUP_FLOOR
    ),
    "long_warmup": silent_unless(
        lambda case: case.values.warmup_epochs > case.context.epochs - 1, lambda case: case.values.warmup_epochs
    ),
    "last_lr": silent_unless(lambda case: not _is_auto(case) and not case.source.truth("cos_lr"), _last_lr),
    "auto": silent_unless(lambda case: "optimizer" in case.source and _is_auto(case), lambda _case: "auto"),
    "auto_or_missing": silent_unless(_is_auto, lambda _case: "auto"),
    "other_optimizer": silent_unless(
        lambda case: _optimizer(case, "sgd") not in ("sgd", *_OVERRIDING), lambda case: case.text("optimizer")
    ),
    "no": silent_unless(lambda case: case.number("warmup_epochs") == 0, lambda _case: "no"),
    "single": silent_unless(lambda case: case.context.epochs == 1, lambda _case: "single"),
    "no_mosaic": silent_unless(lambda case: case.number("mosaic") == 0, lambda _case: "0"),
    "no_power": silent_unless(_is_no_power, lambda case: case.text("cls_pw")),
    "if_no_momentum": IF_NO_MOMENTUM,
}

TABLE = Table(
    name=NAME,
    keys=(
        written("optimizer", lambda _case: "SGD"),
        of_training("epochs", "epochs"),
        of_training("batch", "batch_size"),
        of_training("nbs", "nominal_batch_size"),
        of_training("imgsz", "image_size"),
        Key("cos_lr", None, "schedule", _write_cosine, _read_cosine),
        *(replace(key, read=_read_of_sgd) for key in same(lr0="0.01")),
        *same(lrf="0.01"),
        *(replace(key, read=_read_of_sgd) for key in same(momentum="0.937")),
        times("weight_decay", "0.0005", lambda context: context.decay_factor, why=_DECAY),
        *same(warmup_epochs="3.0", warmup_momentum="0.8", warmup_bias_lr="0.1"),
        *same(hsv_h="0.015", hsv_s="0.7", hsv_v="0.4", translate="0.1", scale="0.5", fliplr="0.5"),
        *same(mosaic="1.0", mixup="0.0"),
        *unlike(copy_paste="0.0"),
        *same(degrees="0.0", shear="0.0"),
        PERSPECTIVE,
        *same(flipud="0.0"),
        *(Key(name, text, read=read_same, why="not rescaled") for name, text in _GAINS.items()),
        Key("cls_pw"),
        Key("close_mosaic", "10", "close_mosaic", _write_last_epochs, _read_last_epochs),
    ),
    signs=frozenset({"dfl", "optimizer", "nbs", "cos_lr", "close_mosaic", "imgsz", "batch"}),
    fixed=FAMILY_FIXED,
    absent={("box", "obj", "noobj", "cls"): f"{_NO_MAP}box, cls and dfl stay at its defaults.", **FAMILY_ABSENT},
    unconverted={(*_GAINS, "cls_pw"): f"{_NO_MAP}ours have their defaults."},
    facts=_FACTS,
    refusals=(NO_MOMENTUM,),
    how=(
        "Train: yolo detect train cfg=FILE model=yolov3u.pt data=YOUR.yaml",
        "optimizer is named because optimizer: auto would override lr0 and momentum.",
        "Converted for batch {batch_size}; another batch needs another export.",
    ),
    export_notes=(
        "warmup_epochs {long_warmup}: newer releases end it an epoch before the last.",
        "warm-up: older releases use at least {old_floor} iterations unless it is 0.",
        "lr changes by the epoch there, by the batch here.",
    ),
    import_notes=(
        "lr0, momentum: optimizer {auto} overrode them there, so ours stay at their defaults.",
        "lr0, momentum: are those of {other_optimizer}, not of SGD, so ours stay at their defaults.",
    ),
    used=(
        Quantity("lr0", "lr0", "{lr0_used}"),
        Quantity("momentum", "momentum", "{momentum_used}"),
        Quantity("warm-up", "warmup_epochs", "{length} iterations", "older releases: at least {floor}"),
        Quantity("last lr", "lrf", "{last_lr}", "linear, by the epoch"),
        Quantity("update", "nbs", "every {images_per_update} images"),
    ),
    idle={
        "lr0": "optimizer: {auto_or_missing} overrides it; name the optimizer",
        "momentum": "optimizer: {auto_or_missing} overrides it; name the optimizer",
        "warmup_momentum": "there is {no} warm-up",
        "warmup_bias_lr": "there is {no} warm-up",
        "warmup_epochs": "a {single} epoch has no warm-up in newer releases",
        "close_mosaic": "mosaic is {no_mosaic}",
    },
    problems=("cls_pw {no_power}: is a class-imbalance power in 0..1 there, not a positive weight",),
    foreign=("obj", "obj_pw", "anchor_t", "iou_t", "fl_gamma", "noobj"),
    if_foreign="{key}: is not a key of the package, which stops on it",
    is_pyyaml=True,
    preset={"optimizer": "SGD"},
    preset_of="its defaults, but SGD named: its optimizer: auto chooses optimizer, lr0 and momentum by itself",
    nominal_batch_size=NOMINAL,
)
DEFAULTS = {key.name: key.default for key in TABLE.carried if key.default is not None}
