"""args yaml of the `ultralytics` package (8.4): `yolo train cfg=args.yaml`.

Learning rates, momentum, weight decay and warm-up mean what they mean here; gains have no map, since its losses are
others (distribution focal loss, no objectness).
"""

from __future__ import annotations

from fractions import Fraction

from evolve.exchange.dialects.table import (
    Absent,
    Case,
    Fact,
    Key,
    Table,
    idle,
    of_training,
    quantity,
    said,
    same,
    times,
    unlike,
    written,
)
from evolve.exchange.dialects.yolov3 import ABSENT, FIXED, NO_MOMENTUM, NOMINAL, SCHEDULES

NAME = "ultralytics"
_OVERRIDING = ("auto", "")
_NO_MAP = "gains have no lossless map, its losses are others; "


def _write_cosine(_key: Key, case: Case) -> str:
    return str(case.values.schedule == "cosine").lower()


def _read_cosine(key: Key, case: Case) -> str:
    return "cosine" if case.source.truth(key.name) else "linear"


def _optimizer(case: Case, default: str) -> str:
    return case.source.text("optimizer", default).lower()


def _is_auto(case: Case) -> bool:
    return _optimizer(case, "auto") in _OVERRIDING


def _without_foreign_rates(values: dict[str, object], case: Case) -> dict[str, object]:
    """Learning rate and momentum of another optimizer than SGD say nothing of ours."""
    dropped = () if _optimizer(case, "sgd") == "sgd" else ("lr0", "momentum")
    return {name: value for name, value in values.items() if name not in dropped}


def _warmup_iterations(case: Case) -> int:
    return round(min(case.number("warmup_epochs"), Fraction(case.context.epochs - 1)) * case.context.batches)


def _last_lr(case: Case) -> Fraction:
    lrf = case.number("lrf")
    return case.number("lr0") * (lrf + (1 - lrf) / case.context.epochs)


def _is_no_power(case: Case) -> bool:
    return "cls_pw" in case.source and not 0 <= case.number("cls_pw") <= 1


_FACTS: dict[str, Fact] = {
    "decay_images": lambda case: (
        f"x {case.context.batch_size} x {case.context.accumulation} / {case.context.nominal_batch_size} images"
    ),
    "images_per_update": lambda case: case.context.batch_size * case.context.accumulation,
    "lr0_used": lambda case: "chosen by optimizer: auto" if _is_auto(case) else case.number("lr0"),
    "momentum_used": lambda case: "chosen by optimizer: auto" if _is_auto(case) else case.number("momentum"),
    "length": _warmup_iterations,
    "old_floor": lambda case: "older releases: at least 100" if 0 < _warmup_iterations(case) < 100 else "",
    "last_lr": _last_lr,
    "nbs_given": lambda case: case.source.text("nbs", "64"),
}

TABLE = Table(
    name=NAME,
    keys=(
        written("optimizer", lambda _case: "SGD"),
        of_training("epochs", "epochs"),
        of_training("batch", "batch_size"),
        of_training("nbs", "nominal_batch_size"),
        of_training("imgsz", "image_size"),
        Key(name="cos_lr", ours="schedule", write=_write_cosine, read=_read_cosine),
        same("lr0", "0.01"),
        same("lrf", "0.01"),
        same("momentum", "0.937"),
        times("weight_decay", "0.0005", lambda context: context.decay_factor, why="{decay_images}"),
        same("warmup_epochs", "3.0"),
        same("warmup_momentum", "0.8"),
        same("warmup_bias_lr", "0.1"),
        same("hsv_h", "0.015"),
        same("hsv_s", "0.7"),
        same("hsv_v", "0.4"),
        same("translate", "0.1"),
        same("scale", "0.5"),
        same("fliplr", "0.5"),
        unlike("mosaic", "1.0"),
        unlike("mixup", "0.0"),
        unlike("copy_paste", "0.0"),
        unlike("degrees", "0.0"),
        unlike("shear", "0.0"),
        unlike("perspective", "0.0"),
        unlike("flipud", "0.0"),
        Key(name="box", default="7.5", why="not rescaled"),
        Key(name="cls", default="0.5", why="not rescaled"),
        Key(name="dfl", default="1.5", why="not rescaled"),
    ),
    signs=frozenset({"dfl", "optimizer", "nbs", "cos_lr", "close_mosaic", "imgsz", "batch"}),
    fixed=FIXED,
    among=(SCHEDULES,),
    absent=(
        Absent(names=("box", "obj", "noobj", "cls"), text=f"{_NO_MAP}box, cls and dfl stay at its defaults."),
        *ABSENT,
    ),
    unconverted=(Absent(names=("box", "cls", "dfl", "cls_pw"), text=f"{_NO_MAP}ours have their defaults."),),
    facts=_FACTS,
    refusals=(NO_MOMENTUM,),
    adjust=_without_foreign_rates,
    how=(
        said("Train: yolo detect train cfg=FILE model=yolov3u.pt data=YOUR.yaml"),
        said("optimizer is named because optimizer: auto would override lr0 and momentum."),
        said("Converted for batch {batch_size}; another batch needs another export."),
    ),
    export_notes=(
        said(
            "warmup_epochs {warmup_epochs}: newer releases end it an epoch before the last.",
            lambda case: case.values.warmup_epochs > case.context.epochs - 1,
        ),
        said(
            "warm-up: older releases use at least 100 iterations unless it is 0.",
            lambda case: 0 < case.values.warmup_epochs * case.context.batches < 100,
        ),
        said("lr changes by the epoch there, by the batch here."),
    ),
    import_notes=(
        said(
            "lr0, momentum: optimizer auto overrode them there, so ours stay at their defaults.",
            lambda case: _optimizer(case, "sgd") in _OVERRIDING,
        ),
        said(
            "lr0, momentum: are those of {optimizer}, not of SGD, so ours stay at their defaults.",
            lambda case: _optimizer(case, "sgd") not in ("sgd", *_OVERRIDING),
        ),
    ),
    used=(
        quantity("lr0", "{lr0_used}", given="lr0"),
        quantity("momentum", "{momentum_used}", given="momentum"),
        quantity("warm-up", "{length} iterations", "{old_floor}", given="warmup_epochs"),
        quantity(
            "last lr",
            "{last_lr}",
            "linear, by the epoch",
            given="lrf",
            when=lambda case: not _is_auto(case) and not case.source.truth("cos_lr"),
        ),
        quantity("update", "every {images_per_update} images", given="nbs"),
    ),
    idle=(
        idle(("lr0", "momentum"), "optimizer: auto overrides it; name the optimizer", _is_auto),
        idle(
            ("warmup_momentum", "warmup_bias_lr"),
            "there is no warm-up",
            lambda case: case.number("warmup_epochs") == 0,
        ),
        idle(
            ("warmup_epochs",),
            "a single epoch has no warm-up in newer releases",
            lambda case: case.context.epochs == 1,
        ),
        idle(("close_mosaic",), "mosaic is 0", lambda case: case.number("mosaic") == 0),
    ),
    problems=(said("cls_pw {cls_pw}: is a class-imbalance power in 0..1 there, not a positive weight", _is_no_power),),
    names_missing=True,
    foreign=("obj", "obj_pw", "anchor_t", "iou_t", "fl_gamma", "noobj"),
    if_foreign="{key}: is not a key of the package, which stops on it",
    is_pyyaml=True,
    preset={"optimizer": "SGD"},
    preset_of="its defaults, but SGD named: its optimizer: auto chooses optimizer, lr0 and momentum by itself",
    nominal_batch_size=NOMINAL,
)
DEFAULTS = {key.name: key.default for key in TABLE.carried if key.default is not None}
