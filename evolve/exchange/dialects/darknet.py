"""The `[net]` section of a darknet cfg (pjreddie/darknet, yolov3.cfg).

Momentum (heavy-ball), decay, schedule and burn-in are carried; darknet has no gains, and its learning rate is of a
loss summed in another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, prod

from detector.choices.schedules import STEPS_AT
from detector.hyperparameters import Hyperparameters, numeric_range
from evolve.exchange.dialects.context import (
    STRIDE,
    Context,
    DialectError,
    Explanation,
    Export,
    Imported,
    RefusedError,
    Used,
    short,
)
from evolve.exchange.dialects.exact import as_fraction, plain, shortest
from evolve.exchange.dialects.source import Entry, Source

NAME = "darknet"
# What darknet takes for a missing key (src/parser.c).
_DEFAULTS: Mapping[str, str] = {
    "batch": "1",
    "subdivisions": "1",
    "learning_rate": "0.001",
    "momentum": "0.9",
    "decay": "0.0001",
    "burn_in": "0",
    "power": "4",
    "max_batches": "0",
    "saturation": "1",
    "exposure": "1",
    "hue": "0",
}
_YOLO = "[yolo].ignore_thresh"
_KEYS = {
    "lr0": "learning_rate",
    "lrf": "scales",
    "weight_decay": "decay",
    "warmup_epochs": "burn_in",
    "hsv_h": "hue",
    "hsv_s": "saturation",
    "hsv_v": "exposure",
    "ignore_iou": _YOLO,
}
_PRECISE = DecimalContext(prec=60)
# A change of colours below this is none; 1 + 1e-300 would take 300 digits.
_LEAST_CHANGE = 1e-12
# Part of max_batches by which steps may miss 80 % and 90 %; yolov3.cfg itself misses them by 0.0005.
_STEP_TOLERANCE = 0.005


def to_dialect(values: Hyperparameters, context: Context) -> Export:
    """The `[net]` section with our schedule, momentum and decay.

    Raises:
        RefusedError: A value would be read there with another meaning.
    """
    _refuse(values)
    images = context.batch_size * context.accumulation
    total = round(Fraction(context.epochs * context.images, images)) or 1
    keys = {
        "batch": str(images),
        "subdivisions": str(context.accumulation),
        "width": str(context.image_size),
        "height": str(context.image_size),
        "channels": "3",
        "momentum": plain(values.momentum),
        "decay": plain(values.weight_decay),
        "angle": "0",
        "saturation": _plus_one(values.hsv_s),
        "exposure": _plus_one(values.hsv_v),
        "hue": plain(values.hsv_h),
        "learning_rate": plain(values.lr0),
        "burn_in": str(_burn_in(values, Fraction(context.images, images))),
        "power": "1",
        "max_batches": str(total),
        **_policy(values, total),
    }
    body = "[net]\n" + "".join(f"{name}={text}\n" for name, text in keys.items())
    how = (
        "Put this in place of the [net] section of a cfg file.",
        f"Set ignore_thresh={plain(values.ignore_iou)} in each [yolo] section.",
        "power=1 makes burn-in linear, as here.",
    )
    return Export(dialect=NAME, body=body, how=how, notes=tuple(_lost(values, context, int(keys["burn_in"]))))


def _burn_in(values: Hyperparameters, updates_per_epoch: Fraction) -> int:
    """The warm-up in whole updates, rounded, but never longer than a warm-up may be when it is read back."""
    longest = as_fraction(numeric_range("warmup_epochs")[1]) * updates_per_epoch
    return min(round(as_fraction(values.warmup_epochs) * updates_per_epoch), floor(longest))


def _refuse(values: Hyperparameters) -> None:
    if values.lrf == 1 or values.schedule in ("steps", "constant") or (values.schedule == "linear" and values.lrf == 0):
        return
    raise RefusedError(
        f"{NAME}: schedule {values.schedule} to lrf {values.lrf:g}: no policy there does that (poly falls to 0, steps "
        "falls in steps); allowed: schedule steps or constant, linear with lrf 0, or lrf 1 (--schedule steps exports "
        "as if it had been that)"
    )


def _policy(values: Hyperparameters, total: int) -> dict[str, str]:
    if values.lrf == 1 or values.schedule == "constant":
        return {"policy": "constant"}
    if values.schedule == "linear":
        return {"policy": "poly"}
    at = ",".join(str(ceil(part * (total - 1))) for part in STEPS_AT)
    root = Fraction(_PRECISE.sqrt(Decimal(repr(values.lrf))))
    scale = shortest(root, lambda read: float(read * read) == values.lrf) if root else "0.0"
    return {"policy": "steps", "steps": at, "scales": f"{scale},{scale}"}


def _plus_one(value: float) -> str:
    exact = 1 + as_fraction(value)
    if value < _LEAST_CHANGE:
        return plain(float(exact))
    return shortest(exact, lambda read: float(read - 1) == value)


def _lost(values: Hyperparameters, context: Context, burn_in: int) -> Iterator[str]:
    yield (
        f"learning_rate {short(values.lr0)}: is a place to start, not a translation: there gradients are sums over "
        "the objects, divided by batch; here they are means over the objects, times the images."
    )
    gains = ", ".join(f"{name} {short(getattr(values, name))}" for name in ("box", "obj", "noobj", "cls"))
    yield f"{gains}: there are no gains; box deltas are squared errors, scaled by 2 - w h as here."
    if values.nesterov and values.momentum > 0:
        yield "nesterov: momentum is heavy-ball there."
    if values.warmup_epochs > 0:
        exact = as_fraction(values.warmup_epochs) * context.images / (context.batch_size * context.accumulation)
        if exact != burn_in:
            yield f"warmup_epochs {short(values.warmup_epochs)}: is {short(exact)} updates, {burn_in} in whole ones."
        yield "warmup_momentum, warmup_bias_lr: burn-in ramps the learning rate alone there, of biases from 0 too."
    if values.fliplr != 0.5:
        yield f"fliplr {short(values.fliplr)}: half of the images are flipped there, always."
    yield "saturation, exposure: drawn from 1..x or 1/x..1 there, from 1-x..1+x here; translate, scale: see jitter."
    yield f"clip_norm {short(values.clip_norm)}, ema_decay {short(values.ema_decay)}: not there."
    yield f"assign_iou {short(values.assign_iou)}: no key in [net]."


# cfg files


def read_cfg(text: str, origin: str) -> Source:
    """Keys of `[net]`, and ignore_thresh of the first `[yolo]`.

    Raises:
        DialectError: The text is not a cfg with a [net] section.
    """
    section, entries = "", {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].partition(";")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = line.lower()
            continue
        name, equals, value = line.partition("=")
        if not equals or not section:
            column = raw.index(line[0]) + 1
            raise DialectError(f"{origin}:{number}:{column}: {line!r} is neither [section] nor key=value in one")
        entry = Entry(text=value.strip(), line=number, column=raw.index("=") + 2)
        if section in ("[net]", "[network]"):
            if name.strip() in entries:
                raise DialectError(f"{origin}:{number}:1: key {name.strip()!r} is given twice")
            entries[name.strip()] = entry
        elif section == "[yolo]" and name.strip() == "ignore_thresh":
            entries.setdefault(_YOLO, entry)
    if not any(name != _YOLO for name in entries):
        raise DialectError(f"{origin}:1:1: has no [net] section with keys")
    return Source(origin=origin, entries=entries)


def from_source(source: Source, context: Context) -> Imported:
    """Our values of a `[net]` section; gains and what it has no keys for have our defaults.

    Raises:
        DialectError: A value is not allowed, or the policy has no counterpart.
    """
    read = {name: source.number(name, text) for name, text in _DEFAULTS.items()}
    for name in ("batch", "subdivisions"):
        if read[name] < 1:
            raise source.error(name, f"{source.text(name)} is not at least 1")
    schedule, lrf, notes = _schedule(source)
    values: dict[str, object] = {
        "schedule": schedule,
        "lrf": float(lrf),
        "lr0": float(read["learning_rate"]),
        "momentum": float(read["momentum"]),
        "weight_decay": float(read["decay"]),
        "warmup_epochs": float(read["burn_in"] * read["batch"] / context.images),
        "warmup_momentum": float(read["momentum"]),
        "warmup_bias_lr": 0.0,
        "nesterov": False,
        "clip_norm": 0.0,
        "hsv_h": float(read["hue"]),
        "hsv_s": float(read["saturation"] - 1),
        "hsv_v": float(read["exposure"] - 1),
        "fliplr": 0.5,
    }
    if _YOLO in source:
        values["ignore_iou"] = float(source.number(_YOLO))
    return Imported(values=source.hyperparameters(values, _KEYS), notes=(*notes, *_lost_in_import(source)))


def training_in(source: Source) -> dict[str, int]:
    """What the `[net]` section says of batch and image size: fields of `Context`."""
    batch, parts = source.count("batch"), source.count("subdivisions") or 1
    found = {} if batch is None else {"nominal_batch_size": batch, "batch_size": max(batch // parts, 1)}
    width = source.count("width")
    if width is not None and width % STRIDE == 0 and source.count("height") in (None, width):
        found["image_size"] = width
    return found


def _schedule(source: Source) -> tuple[str, Fraction, list[str]]:
    """Schedule, lrf and notes."""
    policy = source.text("policy", "constant")
    if policy == "constant":
        return "linear", Fraction(1), []
    if policy == "poly":
        if source.number("power", _DEFAULTS["power"]) != 1:
            power = source.text("power", "4 (by default)")
            raise source.error("power" if "power" in source else "policy", f"poly with power {power}: allowed: power=1")
        return "linear", Fraction(0), []
    if policy != "steps":
        raise source.error("policy", f"{policy!r} has no counterpart here; allowed: steps, constant, poly with power=1")
    steps, scales = (_numbers(source, name) for name in ("steps", "scales"))
    if len(steps) != len(scales) or not steps:
        raise source.error("scales", f"{len(scales)} scales for {len(steps)} steps; allowed: one for each")
    total = source.number("max_batches")
    notes = []
    is_ours = len(steps) == 2 and scales[0] == scales[1] and total > 0
    if not is_ours or any(
        abs(step / total - Fraction(str(at))) > Fraction(str(_STEP_TOLERANCE)) and abs(step - at * (total - 1)) >= 1
        for step, at in zip(steps, STEPS_AT, strict=True)
    ):
        notes.append(f"steps={source.text('steps')}: here two equal drops, at 80 % and 90 % of the training.")
    return "steps", prod(scales, start=Fraction(1)), notes


def _numbers(source: Source, name: str) -> list[Fraction]:
    texts = source.text(name).split(",")
    parts = {
        str(place): Entry(text=text, line=source.entries[name].line, column=source.entries[name].column)
        for place, text in enumerate(texts)
        if name in source
    }
    listed = Source(origin=source.origin, entries=parts)
    return [listed.number(each) for each in parts]


def _lost_in_import(source: Source) -> Iterator[str]:
    yield "learning_rate: is a place to start, not a translation; its losses are summed in another way."
    yield "gains, assign_iou, ema_decay: have our defaults; the warm-up has darknet's: no clipping, no Nesterov."
    if source.number("burn_in", "0") > 0 and source.number("power", _DEFAULTS["power"]) != 1:
        power = source.text("power", _DEFAULTS["power"])
        yield f"burn_in: rises with the power {power} there, linearly here."
    if source.number("angle", "0") != 0:
        yield f"angle {source.text('angle')}: images are not turned here."
    yield "saturation, exposure: drawn from 1..x or 1/x..1 there, from 1-x..1+x here."


def explain(source: Source, context: Context) -> Explanation:
    """What darknet uses, and which keys do nothing."""
    read = {name: source.number(name, text) for name, text in _DEFAULTS.items()}
    batch, total, burn_in = read["batch"], read["max_batches"], read["burn_in"]
    epochs = total * batch / context.images
    epoch_text = f"{short(burn_in * batch / context.images)} epochs, power {short(read['power'])}"
    used = [
        Used(
            name="update", given=source.text("batch"), used=f"every {batch} images", why="subdivisions only save memory"
        ),
        Used(
            name="length",
            given=source.text("max_batches"),
            used=f"{short(epochs)} epochs",
            why="max_batches x batch / images",
        ),
        Used(name="warm-up", given=source.text("burn_in"), used=f"{burn_in} updates", why=epoch_text),
        Used(
            name="lr of a summed loss",
            given=source.text("learning_rate"),
            used=short(read["learning_rate"] / batch),
            why="learning_rate / batch",
        ),
        Used(name="momentum", given=source.text("momentum"), used=short(read["momentum"]), why="heavy-ball"),
        Used(name="weight decay", given=source.text("decay"), used=short(read["decay"]), why="not rescaled"),
    ]
    problems = []
    if total and burn_in >= total:
        problems.append(f"burn-in of {burn_in} updates is not over in a training of {total}")
    if total <= 0:
        problems.append("max_batches is missing or 0: the training ends at once")
    idle = dict(_idle(source, total))
    return Explanation(dialect=NAME, used=tuple(used), idle=idle, problems=tuple(problems))


def _idle(source: Source, total: Fraction) -> Iterator[tuple[str, str]]:
    policy = source.text("policy", "constant")
    if policy != "steps":
        for name in ("steps", "scales"):
            if name in source:
                yield name, f"policy is {policy}"
        return
    late = [short(step) for step in _numbers(source, "steps") if step >= total]
    if late:
        yield f"steps {', '.join(late)}", f"the training ends at {total}"
