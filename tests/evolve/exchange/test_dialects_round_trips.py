"""Ours -> a trainer's dialect -> ours gives back the same bits wherever the dialect has a place for them."""

from dataclasses import replace
from fractions import Fraction

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.choices.schedules import Moment, steps
from detector.hyperparameters import Hyperparameters, allowed_choices, names, numeric_range, without_effect
from detector.plan import MODELS
from evolve.exchange.dialects import Context, RefusedError, detect, from_dialect, to_dialect
from evolve.exchange.dialects.exact import plain, scaled
from evolve.exchange.dialects.policies import updates
from evolve.exchange.dialects.yolov3 import DEFAULTS, TABLE

QUICK = settings(max_examples=60, deadline=None)


def numbers(name, **limits):
    low, high = numeric_range(name)
    return st.floats(**({"min_value": low, "max_value": high} | limits))


def hyperparameters(**fixed):
    """Any hyperparameters that a file of another trainer can be written for, but for what is fixed."""
    each = {
        name: st.sampled_from(allowed_choices(name)) if allowed_choices(name) else numbers(name) for name in names()
    }
    return st.builds(Hyperparameters, **(each | {"optimizer": st.just("sgd")} | fixed))


contexts = st.builds(
    Context,
    model=st.sampled_from(MODELS),
    classes=st.integers(1, 500),
    image_size=st.integers(1, 40).map(lambda each: 32 * each),
    batch_size=st.integers(1, 200),
    nominal_batch_size=st.integers(1, 256),
    images=st.integers(200, 200_000),
    epochs=st.integers(101, 300),
)


def back(dialect, values, context):
    export = to_dialect(dialect, values, context)
    return from_dialect(dialect, export.text(("a head",)), context, origin="hyp").values


def assert_same(found, values, kept):
    differing = {name: (getattr(found, name), getattr(values, name)) for name in kept}
    assert {name: pair for name, pair in differing.items() if pair[0] != pair[1]} == {}


@QUICK
@given(
    values=hyperparameters(
        schedule=st.sampled_from(["linear", "cosine"]),
        momentum=numbers("momentum", min_value=0.01),
        noobj=numbers("noobj", min_value=1e-6),
    ),
    context=contexts,
)
def test_yolov3_gives_back_every_bit_of_what_its_file_has_a_key_for(values, context):
    assert_same(back("yolov3", values, context), values, (*TABLE.same, "box", "obj", "noobj", "cls", "weight_decay"))


@QUICK
@given(
    values=hyperparameters(
        schedule=st.sampled_from(["linear", "cosine"]), momentum=numbers("momentum", min_value=0.01)
    ),
    context=contexts,
)
def test_ultralytics_gives_back_rates_decay_warmup_schedule_and_augmentation(values, context):
    assert_same(back("ultralytics", values, context), values, (*TABLE.same, "weight_decay", "schedule"))


@QUICK
@given(
    values=hyperparameters(schedule=st.just("linear"), lrf=st.floats(1e-12, 0.4999)),
    context=contexts,
)
def test_early_gives_back_every_bit_of_lrf_through_its_logarithm(values, context):
    found = back("yolov3-early", values, context)

    assert_same(found, values, ("lr0", "lrf", "momentum", "weight_decay"))
    assert found.schedule == "inverse_exponential"  # what that trainer makes of any


@QUICK
@given(
    values=hyperparameters(schedule=st.just("inverse_exponential"), lrf_exponent=st.floats(-1000, -1e-9)),
    context=contexts,
)
def test_early_gives_back_its_own_schedule_with_every_bit_of_the_exponent(values, context):
    assert_same(back("yolov3-early", values, context), values, ("lr0", "lrf_exponent", "schedule"))


@QUICK
@given(
    values=hyperparameters(schedule=st.just("steps"), hsv_s=st.floats(1e-12, 1.0), hsv_v=st.floats(1e-12, 1.0)),
    context=contexts,
)
def test_darknet_gives_back_schedule_momentum_decay_and_colours(values, context):
    found = back("darknet", values, context)

    assert_same(found, values, ("lr0", "lrf", "momentum", "weight_decay", "hsv_h", "hsv_s", "hsv_v"))
    assert found.schedule == ("linear" if values.lrf == 1 else "steps")  # a constant rate needs no steps


@QUICK
@given(
    values=hyperparameters(schedule=st.sampled_from(["exponential", "poly"]), warmup_epochs=st.just(0.0)),
    context=contexts,
)
def test_darknet_gives_back_an_even_fall_and_one_by_a_power(values: Hyperparameters, context: Context) -> None:
    values = replace(values, warmup_steps=0.0, lrf=0.0 if values.schedule == "poly" else values.lrf)
    found = back("darknet", values, context)

    assert found.lrf == values.lrf
    if values.schedule == "poly" and values.poly_power == 1:  # an even fall, which has no power of its own here
        assert found.schedule == "linear"
    elif values.schedule == "poly":
        assert (found.poly_power, found.schedule) == (values.poly_power, "poly")
    elif values.lrf < 1:
        assert found.schedule == "exponential"


@QUICK
@given(values=hyperparameters(schedule=st.just("steps"), lrf=st.floats(1e-6, 0.9)), context=contexts)
def test_darknet_gives_back_the_same_drops_but_for_an_update_of_place(
    values: Hyperparameters, context: Context
) -> None:
    found = back("darknet", values, context)

    near, places = 2 / updates(context), (values.step_at_1, values.step_at_2)
    apart = [share / 50 for share in range(51) if all(abs(share / 50 - place) > near for place in places)]
    moments = [Moment(progress=progress) for progress in apart]
    assert [steps(each, found) for each in moments] == pytest.approx([steps(each, values) for each in moments])


@QUICK
@given(length=st.integers(0, 2000), context=contexts)
def test_darknet_gives_back_a_warmup_of_whole_updates(length, context):
    batch = context.batch_size * context.accumulation
    warmup_epochs = float(Fraction(length * batch, context.images))
    values = Hyperparameters(schedule="steps", warmup_epochs=warmup_epochs)

    assert back("darknet", values, context).warmup_epochs == warmup_epochs


def test_darknet_rounds_the_longest_warmup_down_so_that_it_can_be_read_back():
    context = Context(images=200, batch_size=1, nominal_batch_size=51, epochs=101)
    values = Hyperparameters(schedule="steps", warmup_epochs=10_000.0)

    assert 9_999 < back("darknet", values, context).warmup_epochs <= 10_000


@QUICK
@given(values=hyperparameters(optimizer=st.sampled_from(allowed_choices("optimizer"))), context=contexts)
def test_native_gives_back_everything(values, context):
    assert_same(back("native", values, context), values, names())


@given(value=st.floats(-1e300, 1e300), numerator=st.integers(1, 10**6), denominator=st.integers(1, 10**6))
def test_a_scaled_decimal_reads_back_to_the_same_float(value, numerator, denominator):
    factor = Fraction(numerator, denominator)

    assert float(Fraction(scaled(value, factor)) / factor) == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_plain_decimals_are_numbers_to_pyyaml(value):
    read = yaml.safe_load(plain(value))

    assert isinstance(read, float)
    assert read == value


def test_yolov3_exports_carry_every_key_that_train_py_reads():
    written = yaml.safe_load(to_dialect("yolov3", Hyperparameters(), Context()).text())

    assert list(written) == list(DEFAULTS)
    assert all(isinstance(value, float) for value in written.values())


@pytest.mark.parametrize("dialect", ["native", "yolov3", "yolov3-early", "ultralytics"])
def test_an_export_is_recognised(dialect):
    if dialect == "yolov3-early":
        text = "giou: 3.54\nlr0: 0.01\nlrf: -4.0\n"
    else:
        text = to_dialect(dialect, Hyperparameters(), Context()).text()

    assert detect(text, origin="x") == dialect


def test_a_darknet_export_is_recognised():
    assert detect(to_dialect("darknet", Hyperparameters(schedule="steps"), Context()).text(), origin="x") == "darknet"


def test_every_hyperparameter_is_either_in_the_yolov3_file_or_named_in_its_head():
    choices = {"box_loss": "giou", "objectness": "focal", "assignment": "best_anchor", "cells": "centre"}
    others = {"positives": "aligned", "coding": "exp", "obj_iou": 0.0, "nesterov": False, "prior_bias": False}
    others |= {"clip_norm": 1.0, "train_share": 0.5}
    unusual = Hyperparameters.from_mapping({**choices, **others, "schedule": "cosine"})
    export = to_dialect("yolov3", unusual, Context())

    text = export.text()
    idle = without_effect(unusual, {})
    missing = [name for name in names() if name not in text and name not in idle and getattr(unusual, name)]
    # Refused where it is another; what does nothing or is 0 needs no word.
    assert missing == ["optimizer"]


def test_a_choice_that_no_other_trainer_has_a_key_for_is_told() -> None:
    export = to_dialect("yolov3", Hyperparameters(box_loss="diou", objectness="focal", focal_gamma=2.0), Context())

    assert "box_loss diou: a box is learned by 1 - CIoU there" in "\n".join(export.notes)
    assert any("focal_gamma 2" in note and "as that trainer has them" in note for note in export.notes)


@pytest.mark.parametrize("dialect", ["yolov3", "ultralytics", "yolov3-early", "darknet"])
def test_rates_of_adamw_are_not_written_for_a_trainer_that_would_take_them_for_sgds(dialect: str) -> None:
    values = Hyperparameters(optimizer="adamw", schedule="steps" if dialect == "darknet" else "linear")

    with pytest.raises(RefusedError, match=r"optimizer 'adamw': .* for which its lr0 is none; allowed: sgd"):
        to_dialect(dialect, values, Context())


def test_darknet_writes_a_constant_schedule_as_its_policy() -> None:
    body = to_dialect("darknet", Hyperparameters(schedule="constant"), Context()).body

    assert "policy=constant" in body
