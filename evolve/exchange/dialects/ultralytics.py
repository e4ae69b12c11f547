"""args yaml of the `ultralytics` package (8.4): `yolo train cfg=args.yaml`.

Learning rates, momentum, weight decay and warm-up mean what they mean here; gains have no map, since its losses are
others (distribution focal loss, no objectness).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from detector.hyperparameters import Hyperparameters
from evolve.exchange.dialects.context import STRIDE, Context, Explanation, Export, Imported, Used, short
from evolve.exchange.dialects.exact import scaled
from evolve.exchange.dialects.source import Source
from evolve.exchange.dialects.yolov3 import CLIP_NORM, NOMINAL, lost_to_the_family, refuse_what_sgd_refuses

NAME = "ultralytics"

DEFAULTS: Mapping[str, str] = {
    "lr0": "0.01",
    "lrf": "0.01",
    "momentum": "0.937",
    "weight_decay": "0.0005",
    "warmup_epochs": "3.0",
    "warmup_momentum": "0.8",
    "warmup_bias_lr": "0.1",
    "hsv_h": "0.015",
    "hsv_s": "0.7",
    "hsv_v": "0.4",
    "translate": "0.1",
    "scale": "0.5",
    "fliplr": "0.5",
}
# What is not done here, with that trainer's defaults.
_NOT_OURS: Mapping[str, str] = {
    "mosaic": "1.0",
    "mixup": "0.0",
    "copy_paste": "0.0",
    "degrees": "0.0",
    "shear": "0.0",
    "perspective": "0.0",
    "flipud": "0.0",
}
_GAINS = ("box", "cls", "dfl")
_UNKNOWN_THERE = ("obj", "obj_pw", "anchor_t", "iou_t", "fl_gamma", "noobj")
_OVERRIDING = ("auto", "")


def to_dialect(values: Hyperparameters, context: Context) -> Export:
    """The args with which the package trains by our learning rates, momentum, weight decay and warm-up.

    Raises:
        RefusedError: A value would be read there with another meaning.
    """
    refuse_what_sgd_refuses(values, NAME)
    keys = {
        "optimizer": "SGD",
        "epochs": str(context.epochs),
        "batch": str(context.batch_size),
        "nbs": str(context.nominal_batch_size),
        "imgsz": str(context.image_size),
        "cos_lr": str(values.schedule == "cosine").lower(),
    }
    times = {name: Fraction(1) for name in DEFAULTS} | {"weight_decay": 1 / context.decay_factor}
    keys |= {name: scaled(getattr(values, name), times[name]) for name in DEFAULTS}
    keys |= dict.fromkeys(_NOT_OURS, "0.0")
    body = "".join(f"{name}: {text}\n" for name, text in keys.items())
    how = (
        "Train: yolo detect train cfg=FILE model=yolov3u.pt data=YOUR.yaml",
        "optimizer is named because optimizer: auto would override lr0 and momentum.",
        f"Converted for batch {context.batch_size}; another batch needs another export.",
    )
    return Export(dialect=NAME, body=body, how=how, notes=tuple(_lost(values, context)))


def _lost(values: Hyperparameters, context: Context) -> Iterator[str]:
    gains = ", ".join(f"{name} {short(getattr(values, name))}" for name in ("box", "obj", "noobj", "cls"))
    yield f"{gains}: gains have no lossless map, its losses are others; box, cls and dfl stay at its defaults."
    if values.warmup_epochs > context.epochs - 1:
        yield f"warmup_epochs {short(values.warmup_epochs)}: newer releases end it an epoch before the last."
    if 0 < values.warmup_epochs * context.batches < 100:
        yield "warm-up: older releases use at least 100 iterations unless it is 0."
    yield from lost_to_the_family(values)
    if values.clip_norm != CLIP_NORM:
        yield f"clip_norm {short(values.clip_norm)}: gradients are clipped at {CLIP_NORM:g} there, always."
    yield "mosaic and other augmentation that is not done here are 0; its defaults have mosaic 1.0."
    yield "lr changes by the epoch there, by the batch here."


def from_source(source: Source, context: Context) -> Imported:
    """Our values of an args yaml; missing keys have the package's defaults, gains ours.

    Raises:
        DialectError: A value is not a number, or not allowed here.
    """
    read = {name: source.number(name, text) for name, text in DEFAULTS.items()}
    values: dict[str, object] = {name: float(number) for name, number in read.items()}
    values["weight_decay"] = float(read["weight_decay"] * _context_of(source, context).decay_factor)
    values |= {"schedule": "cosine" if source.truth("cos_lr") else "linear", "nesterov": True, "clip_norm": CLIP_NORM}
    optimizer = source.text("optimizer", "SGD")
    if optimizer.lower() != "sgd":
        del values["lr0"], values["momentum"]
    return Imported(values=source.hyperparameters(values), notes=tuple(_lost_in_import(source, optimizer)))


def training_in(source: Source) -> dict[str, int]:
    """What the file itself says of batch, epochs and image size: fields of `Context`."""
    keys = {"batch_size": "batch", "nominal_batch_size": "nbs", "epochs": "epochs", "image_size": "imgsz"}
    # batch may be -1 or a part of the memory: then nobody but the trainer knows.
    found = {name: count for name, key in keys.items() if (count := source.count(key)) is not None}
    if found.get("image_size", 0) % STRIDE:
        del found["image_size"]  # the trainer takes another one
    return found


def _context_of(source: Source, context: Context) -> Context:
    """The context with what the file itself says."""
    said: dict[str, Any] = {"nominal_batch_size": NOMINAL, **training_in(source)}
    return replace(context, **said)


def _lost_in_import(source: Source, optimizer: str) -> Iterator[str]:
    if optimizer.lower() in _OVERRIDING:
        yield "lr0, momentum: optimizer auto overrode them there, so ours stay at their defaults."
    elif optimizer.lower() != "sgd":
        yield f"lr0, momentum: are those of {optimizer}, not of SGD, so ours stay at their defaults."
    if gains := [name for name in (*_GAINS, "cls_pw") if name in source]:
        yield f"{', '.join(gains)}: gains have no lossless map, its losses are others; ours have their defaults."
    for name, default in _NOT_OURS.items():
        if source.number(name, default) != 0:
            yield f"{name} {source.text(name, default)}: is not done here."
    if missing := [name for name in DEFAULTS if name not in source]:
        yield f"missing keys have that trainer's defaults: {', '.join(missing)}."


def explain(source: Source, context: Context) -> Explanation:
    """What the package uses after its own arithmetic, and which keys do nothing."""
    context = _context_of(source, context)
    return Explanation(
        dialect=NAME,
        used=tuple(_used(source, context)),
        idle=dict(_idle(source, context)),
        problems=tuple(_problems(source)),
    )


def _used(source: Source, context: Context) -> Iterator[Used]:
    def given(name: str) -> str:
        return source.text(name, DEFAULTS[name])

    is_sgd = source.text("optimizer", "auto").lower() not in _OVERRIDING
    for name in ("lr0", "momentum"):
        number = short(source.number(name, DEFAULTS[name]))
        used = number if is_sgd else "chosen by optimizer: auto"
        yield Used(name=name, given=given(name), used=used)
    decay = source.number("weight_decay", DEFAULTS["weight_decay"]) * context.decay_factor
    why = f"x {context.batch_size} x {context.accumulation} / {context.nominal_batch_size} images"
    yield Used(name="weight_decay", given=given("weight_decay"), used=short(decay), why=why)
    asked = source.number("warmup_epochs", DEFAULTS["warmup_epochs"])
    length = round(min(asked, Fraction(context.epochs - 1)) * context.batches)
    why = "older releases: at least 100" if 0 < length < 100 else ""
    yield Used(name="warm-up", given=given("warmup_epochs"), used=f"{length} iterations", why=why)
    lrf = source.number("lrf", DEFAULTS["lrf"])
    last = source.number("lr0", DEFAULTS["lr0"]) * (lrf + (1 - lrf) / context.epochs)
    if is_sgd and not source.truth("cos_lr"):
        yield Used(name="last lr", given=given("lrf"), used=short(last), why="linear, by the epoch")
    for name, default in (("box", "7.5"), ("cls", "0.5"), ("dfl", "1.5")):
        yield Used(
            name=name, given=source.text(name, default), used=short(source.number(name, default)), why="not rescaled"
        )
    images = context.batch_size * context.accumulation
    yield Used(name="update", given=source.text("nbs", "64"), used=f"every {images} images")


def _idle(source: Source, context: Context) -> Iterator[tuple[str, str]]:
    if source.text("optimizer", "auto").lower() in _OVERRIDING:
        for name in ("lr0", "momentum"):
            if name in source:
                yield name, "optimizer: auto overrides it; name the optimizer"
    if source.number("warmup_epochs", DEFAULTS["warmup_epochs"]) == 0:
        for name in ("warmup_momentum", "warmup_bias_lr"):
            if name in source:
                yield name, "there is no warm-up"
    if context.epochs == 1 and "warmup_epochs" in source:
        yield "warmup_epochs", "a single epoch has no warm-up in newer releases"
    if "close_mosaic" in source and source.number("mosaic", "1.0") == 0:
        yield "close_mosaic", "mosaic is 0"


def _problems(source: Source) -> Iterator[str]:
    for name in _UNKNOWN_THERE:
        if name in source:
            yield f"{name}: is not a key of the package, which stops on it"
    if "cls_pw" in source:
        power = source.number("cls_pw")
        if not 0 <= power <= 1:
            yield f"cls_pw {source.text('cls_pw')}: is a class-imbalance power in 0..1 there, not a positive weight"
    for key in source.texts_for_numbers():
        yield f"{key}: {source.text(key)} is text to PyYAML; write it with a point"
