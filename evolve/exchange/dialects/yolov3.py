"""hyp.yaml of ultralytics/yolov3 from v9 to today.

Its train.py multiplies gains by numbers of layers, classes and pixels and the weight decay by the batch; exports are
divided by the same, so that our effective values are what it ends up with. Numbers and formulas: its train.py,
utils/loss.py and data/hyps/hyp.scratch-low.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from math import cos, pi

from detector.hyperparameters import Hyperparameters
from evolve.exchange.dialects.context import Context, Explanation, Export, Imported, RefusedError, Used, short
from evolve.exchange.dialects.exact import as_fraction, plain, scaled, shortest
from evolve.exchange.dialects.source import Source

NAME = "yolov3"
NOMINAL = 64
WARMUP_FLOOR = 100
OLD_WARMUP_FLOOR = 1000
CLIP_NORM = 10.0
MOST_POSITIVE_WEIGHT = 1e12

# Every key that train.py reads, in the file's order, with the defaults of hyp.scratch-low.
DEFAULTS: Mapping[str, str] = {
    "lr0": "0.01",
    "lrf": "0.01",
    "momentum": "0.937",
    "weight_decay": "0.0005",
    "warmup_epochs": "3.0",
    "warmup_momentum": "0.8",
    "warmup_bias_lr": "0.1",
    "box": "0.05",
    "cls": "0.5",
    "cls_pw": "1.0",
    "obj": "1.0",
    "obj_pw": "1.0",
    "iou_t": "0.2",
    "anchor_t": "4.0",
    "fl_gamma": "0.0",
    "hsv_h": "0.015",
    "hsv_s": "0.7",
    "hsv_v": "0.4",
    "degrees": "0.0",
    "translate": "0.1",
    "scale": "0.5",
    "shear": "0.0",
    "perspective": "0.0",
    "flipud": "0.0",
    "fliplr": "0.5",
    "mosaic": "1.0",
    "mixup": "0.0",
    "copy_paste": "0.0",
}
# Values that mean the same in both files.
SAME = (
    *("lr0", "lrf", "momentum", "warmup_epochs", "warmup_momentum", "warmup_bias_lr"),
    *("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr"),
)
# What ours never does; a file's other value is lost.
_OURS: Mapping[str, str] = {
    "cls_pw": "1.0",
    "fl_gamma": "0.0",
    "degrees": "0.0",
    "shear": "0.0",
    "perspective": "0.0",
    "flipud": "0.0",
    "mosaic": "0.0",
    "mixup": "0.0",
    "copy_paste": "0.0",
}


def factors(context: Context) -> dict[str, Fraction]:
    """What train.py multiplies each key by at its start."""
    layers = Fraction(3, context.layers)
    return {
        "box": layers,
        "cls": Fraction(context.classes, 80) * layers,
        "obj": Fraction(context.image_size, 640) ** 2 * layers,
        "weight_decay": context.with_nominal(NOMINAL).decay_factor,
    }


# Ours -> theirs


def to_dialect(values: Hyperparameters, context: Context) -> Export:
    """The hyp.yaml with which train.py ends up at our effective values.

    Raises:
        RefusedError: A value would be read there with another meaning.
    """
    _refuse(values, context)
    keys = {**DEFAULTS, **_OURS, **{name: plain(getattr(values, name)) for name in SAME}}
    times = factors(context)
    keys |= {name: scaled(getattr(values, name), 1 / times[name]) for name in ("box", "cls", "weight_decay")}
    keys["obj"] = scaled(values.noobj, 1 / times["obj"])
    keys["obj_pw"] = _positive_weight(values, Fraction(keys["obj"]) * times["obj"])
    body = "".join(f"{name}: {text}\n" for name, text in keys.items())
    return Export(dialect=NAME, body=body, how=tuple(_how(values, context)), notes=tuple(_lost(values, context)))


def _positive_weight(values: Hyperparameters, noobj: Fraction) -> str:
    """BCE's weight of what is an object: our obj over our noobj."""
    if noobj == 0:
        return "1.0"
    return shortest(as_fraction(values.obj) / noobj, lambda read: float(read * noobj) == values.obj)


def _refuse(values: Hyperparameters, context: Context) -> None:
    refuse_what_sgd_refuses(values, NAME)
    if values.obj > values.noobj * MOST_POSITIVE_WEIGHT:
        raise RefusedError(
            f"{NAME}: noobj {values.noobj:g} with obj {values.obj:g}: there obj_pw is the ratio obj / noobj, which has "
            f"no useful number; allowed: up to {MOST_POSITIVE_WEIGHT:g}"
        )
    if context.total_batches <= WARMUP_FLOOR:
        raise RefusedError(
            f"{NAME}: lr0 would never be reached: warm-up lasts at least {WARMUP_FLOOR} iterations there, and "
            f"{context.epochs} epochs of {context.batches} batches are {context.total_batches}; "
            f"train longer: --epochs {WARMUP_FLOOR // context.batches + 1} or more"
        )


def refuse_what_sgd_refuses(values: Hyperparameters, name: str) -> None:
    """Refuses what neither trainer of the ultralytics family can be told.

    Raises:
        RefusedError: The schedule is not known there, or momentum is 0.
    """
    if values.schedule not in ("linear", "cosine"):
        raise RefusedError(
            f"{name}: schedule {values.schedule!r} does not exist there, and any other would be another training; "
            "allowed: linear, cosine (--schedule linear exports as if it had been that)"
        )
    if values.momentum == 0:
        raise RefusedError(f"{name}: momentum 0 stops that trainer: its SGD is Nesterov's, which needs one above 0")


def _how(values: Hyperparameters, context: Context) -> Iterator[str]:
    flag = " --cos-lr" if values.schedule == "cosine" else ""
    yield (
        f"Train: python train.py --hyp FILE --imgsz {context.image_size} --batch-size {context.batch_size} "
        f"--epochs {context.epochs}{flag}"
    )
    yield (
        f"Converted for {context.layers} detection layers, {context.classes} classes, {context.image_size} px and "
        f"batch {context.batch_size}: another model, data set, size or batch needs another export."
    )
    yield (
        f"There it becomes box {short(values.box)}, obj {short(values.noobj)} (our noobj; our obj is that times "
        f"obj_pw), cls {short(values.cls)}, weight decay {short(values.weight_decay)}: the values found here."
    )


def _lost(values: Hyperparameters, context: Context) -> Iterator[str]:
    if values.schedule == "cosine":
        yield "schedule cosine: is not a key of this file; it is --cos-lr on the command line."
    yield from _lost_rates(values, context)
    yield from lost_to_the_family(values)
    yield from lost_updates(values, context, NOMINAL, NAME)
    if values.clip_norm != CLIP_NORM:
        yield f"clip_norm {short(values.clip_norm)}: gradients are clipped at {CLIP_NORM:g} there, always."
    yield "box is a mean of (2 - w h)(1 - GIoU) here, of 1 - CIoU there; the target of obj is 1 here, the IoU there."
    yield "mosaic is 0, since nothing was found with it here; iou_t and anchor_t are that file's defaults."
    yield "hsv_h: hue is shifted here and multiplied there."


def _lost_rates(values: Hyperparameters, context: Context) -> Iterator[str]:
    asked, floor = values.warmup_epochs * context.batches, WARMUP_FLOOR
    if asked < floor:
        yield (
            f"warmup_epochs {short(values.warmup_epochs)}: is {short(asked)} iterations, but {floor} are the fewest "
            f"there ({short(floor / context.batches)} epochs); 0 does not switch it off."
        )
    if asked < OLD_WARMUP_FLOOR:
        yield f"warm-up up to v9.6: at least {OLD_WARMUP_FLOOR} iterations; take a later version."
    last = _factor(values.schedule == "cosine", context.epochs - 1, context.epochs, values.lrf)
    yield f"lr changes by the epoch there: the last one runs at {short(last)} of lr0, here it falls to {values.lrf:g}."


def lost_to_the_family(values: Hyperparameters) -> Iterator[str]:
    """Notes on what neither trainer of the ultralytics family has a key for."""
    if not values.nesterov:
        yield "nesterov false: SGD is always Nesterov's there."
    yield f"ignore_iou {short(values.ignore_iou)}: no counterpart; every place without a label is background there."
    yield f"assign_iou {short(values.assign_iou)}: no counterpart; labels are assigned in another way there."
    yield f"ema_decay {short(values.ema_decay)}: the average of the weights has a fixed decay there."


def lost_updates(values: Hyperparameters, context: Context, nominal: int, name: str) -> Iterator[str]:
    """A note if there are more or fewer images between two updates than here."""
    here = context.batch_size * context.accumulation
    there = context.batch_size * context.with_nominal(nominal).accumulation
    if here != there:
        yield (
            f"updates: every {here} images here, every {there} in {name}. lr0, momentum and weight_decay are per "
            f"update and are carried as such, so an epoch has {short(Fraction(here, there))} times the updates there, "
            f"and decays weights as much less or more ({short(values.weight_decay)} per update)."
        )


def _factor(is_cosine: bool, epoch: int, epochs: int, lrf: float) -> float:
    """Learning rate of an epoch over lr0, as train.py has it."""
    if is_cosine:
        return (1 - cos(pi * epoch / epochs)) / 2 * (lrf - 1) + 1
    return (1 - epoch / epochs) * (1 - lrf) + lrf


# Theirs -> ours


def from_source(source: Source, context: Context) -> Imported:
    """Our effective values of a hyp.yaml; missing keys have the defaults of hyp.scratch-low.

    Raises:
        DialectError: A value is not a number, or not allowed here.
    """
    if source.number("lrf", DEFAULTS["lrf"]) < 0:
        raise source.error("lrf", f"{source.text('lrf')} is an exponent of ten; read the file with --from yolov3-early")
    times = factors(context)
    read = {name: source.number(name, DEFAULTS[name]) for name in DEFAULTS}
    values: dict[str, object] = {name: float(read[name]) for name in SAME}
    values |= {name: float(read[name] * times[name]) for name in ("box", "cls", "weight_decay")}
    values |= {"noobj": float(read["obj"] * times["obj"])}
    values |= {"obj": float(read["obj_pw"] * (read["obj"] * times["obj"]))}
    values |= {"nesterov": True, "clip_norm": CLIP_NORM}
    hyperparameters = source.hyperparameters(values, {"noobj": "obj"})
    return Imported(values=hyperparameters, notes=tuple(_lost_in_import(source, context, hyperparameters)))


def _lost_in_import(source: Source, context: Context, values: Hyperparameters) -> Iterator[str]:
    if missing := [name for name in DEFAULTS if name not in source]:
        yield f"missing keys have that trainer's defaults: {', '.join(missing)}."
    for name, ours in _OURS.items():
        if source.number(name, DEFAULTS[name]) != Fraction(ours):
            yield f"{name} {source.text(name, DEFAULTS[name])}: is not done here (as if {ours})."
    if others := [name for name in source if name not in DEFAULTS]:
        yield f"keys of no meaning here: {', '.join(others)}."
    yield "schedule: linear is assumed; the file does not say whether --cos-lr was given."
    yield "iou_t, anchor_t: labels are assigned in another way here; ignore_iou, ema_decay have our defaults."
    if values.warmup_epochs * context.batches < WARMUP_FLOOR:
        yield (
            f"warmup_epochs {short(values.warmup_epochs)}: lasted {WARMUP_FLOOR} iterations there, "
            f"{short(WARMUP_FLOOR / context.batches)} epochs; here it lasts as long as it says."
        )


# What it does with it


def explain(source: Source, context: Context) -> Explanation:
    """What train.py uses after its own arithmetic, and which keys do nothing."""
    used = tuple(_used(source, context))
    problems = [f"{name} is missing: train.py stops with a KeyError" for name in DEFAULTS if name not in source]
    problems += [
        f"{name}: is not a key of train.py; --evolve breaks on it"
        for name in source
        if name not in (*DEFAULTS, "anchors")
    ]
    problems += [
        f"{key}: {source.text(key)} is text to PyYAML; write it with a point" for key in source.texts_for_numbers()
    ]
    if context.total_batches <= WARMUP_FLOOR:
        problems.append(
            f"warm-up of {WARMUP_FLOOR} iterations is longer than the training of {context.total_batches}: "
            "lr0 and momentum are never reached"
        )
    if source.number("lrf", DEFAULTS["lrf"]) < 0:
        problems.append(f"lrf {source.text('lrf')} is read as a fraction: the learning rate ends below 0")
    return Explanation(dialect=NAME, used=used, idle=dict(_idle(source, context)), problems=tuple(problems))


def _used(source: Source, context: Context) -> Iterator[Used]:
    times = factors(context)
    why = {
        "box": f"x 3/{context.layers} layers",
        "cls": f"x {context.classes}/80 classes x 3/{context.layers} layers",
        "obj": f"x ({context.image_size}/640)^2 x 3/{context.layers} layers",
        "weight_decay": f"x {context.batch_size} x {context.with_nominal(NOMINAL).accumulation} / {NOMINAL} images",
    }
    for name, text in why.items():
        given = source.text(name, DEFAULTS[name])
        yield Used(name=name, given=given, used=short(source.number(name, DEFAULTS[name]) * times[name]), why=text)
    yield from _used_rates(source, context)
    nominal = replace(context, nominal_batch_size=NOMINAL)
    images = context.batch_size * nominal.accumulation
    yield Used(name="update", given="", used=f"every {images} images", why=f"{nominal.accumulation} batches")
    yield Used(name="clip_norm", given="", used=f"{CLIP_NORM:g}", why="fixed")


def _used_rates(source: Source, context: Context) -> Iterator[Used]:
    epochs = source.number("warmup_epochs", DEFAULTS["warmup_epochs"])
    asked = round(epochs * context.batches)
    length = max(asked, WARMUP_FLOOR)
    yield Used(
        name="warm-up",
        given=source.text("warmup_epochs", DEFAULTS["warmup_epochs"]),
        used=f"{length} iterations ({short(length / context.batches)} epochs)",
        why=f"at least {WARMUP_FLOOR}, {OLD_WARMUP_FLOOR} up to v9.6" if asked < OLD_WARMUP_FLOOR else "",
    )
    lr0, lrf = float(source.number("lr0", DEFAULTS["lr0"])), float(source.number("lrf", DEFAULTS["lrf"]))
    reached = min(context.total_batches / length, 1.0)
    top = max(
        lr0 * min((epoch + 1) * context.batches / length, 1) * _factor(False, epoch, context.epochs, lrf)
        for epoch in range(context.epochs)
    )
    yield Used(name="highest lr", given=source.text("lr0", DEFAULTS["lr0"]), used=short(top), why=_reached(reached))
    last = lr0 * _factor(False, context.epochs - 1, context.epochs, lrf) * reached
    yield Used(name="last lr", given=source.text("lrf", DEFAULTS["lrf"]), used=short(last), why="without --cos-lr")
    start, end = (float(source.number(name, DEFAULTS[name])) for name in ("warmup_momentum", "momentum"))
    momentum = start + (end - start) * reached
    yield Used(name="momentum", given=source.text("momentum", DEFAULTS["momentum"]), used=short(momentum))


def _reached(part: float) -> str:
    return "after warm-up, linear decay" if part >= 1 else f"warm-up gets {part:.0%} of the way"


def _idle(source: Source, context: Context) -> Iterator[tuple[str, str]]:
    if "iou_t" in source:
        yield "iou_t", "train.py never reads it"
    if context.classes == 1:
        for name in ("cls", "cls_pw"):
            yield name, "the class term is skipped with one class"
    if source.number("obj", DEFAULTS["obj"]) == 0:
        yield "obj_pw", "obj is 0"
    asked = source.number("warmup_epochs", DEFAULTS["warmup_epochs"]) * context.batches
    if asked < WARMUP_FLOOR:
        yield "warmup_epochs", f"asks for {short(asked)} iterations, and {WARMUP_FLOOR} are the fewest"
    zeros = [name for name in source if name in DEFAULTS and source.number(name) == 0]
    if zeros:
        yield ", ".join(zeros), "0 switches it off, and stays 0 under --evolve (steps are factors)"
