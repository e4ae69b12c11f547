"""The `[net]` section of a darknet cfg (pjreddie/darknet, yolov3.cfg).

Momentum (heavy-ball), decay, schedule and burn-in are carried; darknet has no gains, and its learning rate is of a
loss summed in another way. Defaults are what it takes for a missing key (src/parser.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import floor

from detector.hyperparameters import numeric_range
from evolve.exchange.dialects.cfg import YOLO, numbers_of, read_cfg
from evolve.exchange.dialects.context import is_image_size, short
from evolve.exchange.dialects.exact import as_fraction, plain, shortest
from evolve.exchange.dialects.policies import (
    POLICIES,
    falls_otherwise,
    has_policy,
    images_an_update,
    powers,
    read_lrf,
    read_policy,
    read_poly_power,
    read_share,
    read_step,
    updates,
    write_gamma,
    write_policy,
    write_power,
    write_scales,
    write_steps,
)
from evolve.exchange.dialects.source import Source
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
    unlike,
    written,
)

NAME = "darknet"
# A change of colours below this is none; 1 + 1e-300 would take 300 digits.
_LEAST_CHANGE = 1e-12


# Ours -> theirs


def _exact_burn_in(case: Case) -> Fraction:
    """The warm-up in updates, the longer of the two that are asked for."""
    batches = as_fraction(case.values.warmup_steps) / case.context.accumulation
    return max(as_fraction(case.values.warmup_epochs) * case.context.images / images_an_update(case.context), batches)


def _write_burn_in(_key: Key, case: Case) -> str:
    """The warm-up in whole updates, rounded, but never longer than a warm-up may be when it is read back."""
    longest = as_fraction(numeric_range("warmup_epochs")[1]) * case.context.images / images_an_update(case.context)
    return str(min(round(_exact_burn_in(case)), floor(longest)))


def _write_plus_one(key: Key, case: Case) -> str:
    value = getattr(case.values, key.ours)
    exact = 1 + as_fraction(value)
    if value < _LEAST_CHANGE:
        return plain(float(exact))
    return shortest(exact, lambda read: float(read - 1) == value)


# Theirs -> ours


def _read_minus_one(key: Key, case: Case) -> float:
    return float(case.number(key.name) - 1)


def _burn_in_epochs(case: Case) -> Fraction:
    return case.number("burn_in") * case.number("batch") / case.context.images


def _errors(case: Case) -> Iterator[tuple[str, str]]:
    policy, source = case.text("policy"), case.source
    for name in ("batch", "subdivisions"):
        if case.number(name) < 1:
            yield name, f"{case.text(name)} is not at least 1"
    if policy not in POLICIES:
        yield "policy", f"{policy!r} has no counterpart here; allowed: {', '.join(POLICIES)}"
    if policy == "exp" and not 0 <= case.number("gamma") <= 1:
        yield "gamma", f"{case.text('gamma')} lets the rate rise without end; allowed: 0 to 1"
    if policy == "steps":
        steps, scales = (numbers_of(source, name) for name in ("steps", "scales"))
        if len(steps) != len(scales) or not steps:
            yield "scales", f"{len(scales)} scales for {len(steps)} steps; allowed: one for each"


def _training(source: Source) -> dict[str, int]:
    """What a `[net]` section says of batch and image size: fields of `Context`."""
    batch, parts = source.count("batch"), source.count("subdivisions") or 1
    found = {} if batch is None else {"nominal_batch_size": batch, "batch_size": max(batch // parts, 1)}
    width = source.count("width")
    if width is not None and is_image_size(width) and source.count("height") in (None, width):
        found["image_size"] = width
    return found


def _late(case: Case) -> str | None:
    """Steps that the training does not reach."""
    if case.text("policy") != "steps":
        return None
    late = [step for step in numbers_of(case.source, "steps") if step >= case.number("max_batches")]
    return ", ".join(map(short, late)) or None


def _is_torn(case: Case) -> bool:
    """Whether schedule and warm-up want two powers."""
    wanted = set(powers(case)) - {None}
    return len(wanted) == 2


def _is_unrounded(case: Case) -> bool:
    return _exact_burn_in(case) != case.number("burn_in")


def _is_steep(case: Case) -> bool:
    return case.number("burn_in") > 0 and case.number("power") not in (1, 4)


def _is_cut(case: Case) -> bool:
    return 0 != case.number("max_batches") <= case.number("burn_in")


_FACTS: dict[str, Fact] = {
    "no_policy": silent_unless(lambda case: not has_policy(case), lambda case: case.values.schedule),
    "power_of_warmup": silent_unless(_is_torn, lambda case: powers(case)[1]),
    "poly_power": lambda case: powers(case)[0],
    "unrounded": silent_unless(_is_unrounded, _exact_burn_in),
    "ramp": silent_unless(lambda case: _exact_burn_in(case) > 0, lambda _case: "ramps"),
    "ignore_thresh": lambda case: plain(case.values.ignore_iou),
    "epochs_there": lambda case: case.number("max_batches") * case.number("batch") / case.context.images,
    "burn_in_epochs": _burn_in_epochs,
    "lr_summed": lambda case: case.number("learning_rate") / case.number("batch"),
    "other_steps": silent_unless(falls_otherwise, lambda case: case.text("steps")),
    "steep": silent_unless(_is_steep, lambda case: case.text("power")),
    "other_policy": silent_unless(lambda case: case.text("policy") != "steps", lambda case: case.text("policy")),
    "no_exp": silent_unless(lambda case: case.text("policy") not in ("exp", "sig"), lambda case: case.text("policy")),
    "late": _late,
    "cut_at": silent_unless(_is_cut, lambda case: case.text("max_batches")),
    "no_end": silent_unless(lambda case: case.number("max_batches") <= 0, lambda _case: "0"),
}
_COLOURS = "saturation, exposure: drawn from 1..x or 1/x..1 there, from 1-x..1+x here."

TABLE = Table(
    name=NAME,
    head="[net]\n",
    between="=",
    read=read_cfg,
    keys=(
        written("batch", lambda case: images_an_update(case.context), "1"),
        written("subdivisions", lambda case: case.context.accumulation, "1"),
        written("width", lambda case: case.context.image_size),
        written("height", lambda case: case.context.image_size),
        written("channels", lambda _case: 3),
        renamed("momentum", "momentum", "0.9", why="heavy-ball"),
        renamed("decay", "weight_decay", "0.0001", why="not rescaled"),
        *unlike("0", angle="0"),
        Key("saturation", "1", "hsv_s", _write_plus_one, _read_minus_one),
        Key("exposure", "1", "hsv_v", _write_plus_one, _read_minus_one),
        renamed("hue", "hsv_h", "0"),
        renamed("learning_rate", "lr0", "0.001"),
        Key("burn_in", "0", "warmup_epochs", _write_burn_in, lambda _key, case: float(_burn_in_epochs(case))),
        written("power", write_power, "4"),
        written("max_batches", lambda case: updates(case.context), "0"),
        Key("policy", "constant", "schedule", write_policy, read_policy),
        Key("steps", write=write_steps),
        Key("scales", None, "lrf", write_scales, read_lrf),
        Key("gamma", "1", write=write_gamma),
        Key(YOLO, None, "ignore_iou", read=read_same),
    ),
    fixed=(
        SGD,
        Fixed("nesterov", False, "momentum is heavy-ball there."),
        Fixed("clip_norm", 0.0, "gradients are not clipped there."),
        Fixed("fliplr", 0.5, "half of the images are flipped there, always."),
        Fixed("warmup_momentum", lambda case: float(case.number("momentum"))),
        Fixed("warmup", lambda case: "quartic" if case.number("power") == 4 else "linear"),
        Fixed("warmup_bias_lr", 0.0),
        Fixed("step_at_1", lambda case: read_step(case, 0)),
        Fixed("step_at_2", lambda case: read_step(case, 1)),
        Fixed("step_share", read_share),
        Fixed("poly_power", read_poly_power),
        Fixed("coding", "exp", "boxes are coded by exp there, unless the cfg says new_coords."),
        Fixed("cells", "centre", "a label is learned in the cell of its centre there."),
        Fixed(
            "assignment", "best_anchor", "the best anchor alone learns a label there, unless the cfg has iou_thresh."
        ),
        Fixed("small_box_gain", 1.0, "errors of boxes are scaled by 2 - w h there."),
        Fixed("positives", "every", "every place that may learn a label does there."),
        Fixed("objectness", "bce", "objectness is learned by logistic regression there."),
        Fixed("obj_iou", 0.0, "objectness is asked for 1 there."),
    ),
    absent={
        ("box", "obj", "noobj", "cls"): "there are no gains; boxes have squared errors.",
        ("ema_decay",): "weights are not averaged there.",
        ("translate", "scale"): "no keys in [net]; see jitter of [yolo].",
    },
    facts=_FACTS,
    refusals=(
        "schedule {no_policy} to lrf {lrf}: no policy there does that (poly falls to 0, steps falls in steps, exp "
        "evenly); allowed: schedule steps, exponential or constant, linear or poly with lrf 0, or lrf 1 (--schedule "
        "steps exports as if it had been that)",
        "schedule {schedule} is of power {poly_power} and the warm-up of {power_of_warmup}: there both read the one "
        "key power; allowed: a warm-up of the same power (linear is 1, quartic 4), or none",
    ),
    errors=_errors,
    training=_training,
    how=(
        "Put this in place of the [net] section of a cfg file.",
        "Set ignore_thresh={ignore_thresh} in each [yolo] section.",
        "power=1 makes burn-in linear, power=4 is our quartic.",
    ),
    export_notes=(
        "learning_rate {lr0}: is a place to start, not a translation: there gradients are sums over the objects, "
        "divided by batch; here they are means over the objects, times the images.",
        "warmup_epochs {warmup_epochs}: is {unrounded} updates, {burn_in} in whole ones.",
        "warmup_momentum, warmup_bias_lr: burn-in {ramp} the learning rate alone there, of biases from 0 too.",
        _COLOURS,
    ),
    import_notes=(
        "learning_rate: is a place to start, not a translation; its losses are summed in another way.",
        "gains, assign_iou, ema_decay: have our defaults; the warm-up has darknet's: no clipping, no Nesterov.",
        "steps={other_steps}: here one drop or two, none of them upwards; what is read falls by their product in two.",
        "burn_in: rises with the power {steep} there, linearly here.",
        _COLOURS,
    ),
    used=(
        Quantity("update", "batch", "every {batch} images", "subdivisions only save memory"),
        Quantity("length", "max_batches", "{epochs_there} epochs", "max_batches x batch / images"),
        Quantity("warm-up", "burn_in", "{burn_in} updates", "{burn_in_epochs} epochs, power {power}"),
        Quantity("lr of a summed loss", "learning_rate", "{lr_summed}", "learning_rate / batch"),
    ),
    idle={
        "steps": "policy is {other_policy}",
        "scales": "policy is {other_policy}",
        "gamma": "policy is {no_exp}",
        "steps {late}": "the training ends at {max_batches}",
    },
    problems=(
        "burn-in of {burn_in} updates is not over in a training of {cut_at}",
        "max_batches is missing or {no_end}: the training ends at once",
    ),
    preset={
        **{"batch": "64", "subdivisions": "16", "momentum": "0.9", "decay": "0.0005", "learning_rate": "0.001"},
        **{"saturation": "1.5", "exposure": "1.5", "hue": "0.1", "burn_in": "1000", "max_batches": "500200"},
        **{"policy": "steps", "steps": "400000,450000", "scales": "0.1,0.1", YOLO: "0.7"},
    },
    preset_of="yolov3.cfg",
)
