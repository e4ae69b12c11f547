"""What other trainers make of our exports and of their own files; figures worked out by hand from their formulas."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.choices.schedules import SCHEDULES, Moment
from detector.hyperparameters import Hyperparameters
from evolve.errors import EvolveError, StudyError
from evolve.exchange.dialects import (
    DIALECTS,
    Context,
    DialectError,
    Imported,
    RefusedError,
    detect,
    explain,
    from_dialect,
    to_dialect,
    yolov3,
)
from evolve.exchange.result_files import read_results
from evolve.study.hyp import read_hyp

OURS = Hyperparameters(box=0.05, obj=1.0, noobj=1.0, cls=0.5)
TINY = Context(
    model="yolov3-tiny", classes=4, image_size=320, batch_size=24, nominal_batch_size=64, images=2400, epochs=50
)
STEPS = replace(OURS, schedule="steps")


def used(explanation, name):
    return next(each.used for each in explanation.used if each.name == name)


def yolov3_file(**keys):
    text = to_dialect("yolov3", OURS, Context()).body
    return "".join(
        f"{line.partition(':')[0]}: {keys.get(line.partition(':')[0], line.partition(':')[2].strip())}\n"
        for line in text.splitlines()
    )


# yolov3


def test_gains_and_decay_are_divided_by_what_train_py_multiplies_them_with():
    values = replace(OURS, box=0.06, obj=3.0, noobj=1.5, cls=0.3, weight_decay=0.0009)

    keys = yaml.safe_load(to_dialect("yolov3", values, TINY).text())

    layers = 3 / 2
    assert keys["box"] * layers == pytest.approx(0.06)
    assert keys["cls"] * 4 / 80 * layers == pytest.approx(0.3)
    assert keys["obj"] * (320 / 640) ** 2 * layers == pytest.approx(1.5)
    assert keys["obj_pw"] == 2.0
    assert keys["weight_decay"] * 24 * 3 / 64 == pytest.approx(0.0009)  # round(64 / 24) = 3 batches an update


def test_explain_finds_the_effective_values_of_an_export_again():
    values = replace(OURS, box=0.06, obj=3.0, noobj=1.5, cls=0.3, weight_decay=0.0009)

    found = explain("yolov3", to_dialect("yolov3", values, TINY).text(), TINY, origin="hyp.yaml")

    assert [used(found, name) for name in ("box", "obj", "cls", "weight_decay")] == ["0.06", "1.5", "0.3", "0.0009"]
    assert used(found, "update") == "every 72 images"
    assert found.problems == ()


def test_a_warmup_below_the_floor_is_said_in_the_head():
    few = replace(TINY, images=240)  # 10 batches an epoch

    text = to_dialect("yolov3", replace(OURS, warmup_epochs=0.0), few).text()

    assert "is 0 iterations, but 100 are the fewest there (10 epochs); 0 does not switch it off" in text


def test_a_training_shorter_than_the_warmup_floor_is_refused_with_a_way_out():
    short = replace(TINY, images=24, epochs=100)  # 100 batches in all

    with pytest.raises(RefusedError, match=r"lr0 would never be reached.*--epochs 101 or more"):
        to_dialect("yolov3", OURS, short)
    to_dialect("yolov3", OURS, replace(short, epochs=101))


@pytest.mark.parametrize("dialect", ["yolov3", "ultralytics"])
def test_steps_and_momentum_zero_are_refused_by_the_ultralytics_family(dialect):
    with pytest.raises(RefusedError, match=r"schedule 'steps' does not exist there.*allowed: linear, cosine"):
        to_dialect(dialect, STEPS, TINY)
    with pytest.raises(RefusedError, match="momentum 0 stops that trainer"):
        to_dialect(dialect, replace(OURS, momentum=0.0), TINY)


def test_an_infinite_positive_weight_is_refused_and_no_objectness_at_all_is_not():
    with pytest.raises(RefusedError, match="noobj 0 with obj 1"):
        to_dialect("yolov3", replace(OURS, noobj=0.0), TINY)

    nothing = from_dialect(
        "yolov3", to_dialect("yolov3", replace(OURS, obj=0.0, noobj=0.0), TINY).text(), TINY, origin="h"
    )
    assert (nothing.values.obj, nothing.values.noobj) == (0.0, 0.0)


def test_a_cosine_is_said_to_be_an_option_of_the_command_line():
    assert "--epochs 50 --cos-lr" in to_dialect("yolov3", replace(OURS, schedule="cosine"), TINY).text()
    assert "--cos-lr" not in " ".join(to_dialect("yolov3", OURS, TINY).how)


def test_fewer_updates_in_an_epoch_are_said():
    ours = replace(TINY, batch_size=16, nominal_batch_size=16)

    (note,) = [each for each in to_dialect("yolov3", OURS, ours).notes if each.startswith("updates")]

    assert "every 16 images here, every 64 in yolov3" in note
    assert "0.25 times the updates" in note


def test_dead_keys_and_floors_are_explained():
    one_class = replace(TINY, classes=1, images=24, epochs=60)

    found = explain("yolov3", yolov3_file(mixup=0.0), one_class, origin="hyp.yaml")

    assert {"iou_t", "cls", "warmup_epochs"} <= set(found.idle)
    assert "longer than the training of 60" in found.problems[0]
    assert float(used(found, "highest lr")) < 0.01 * 0.6


def test_a_missing_key_is_a_key_error_there_and_an_unknown_one_breaks_evolve():
    found = explain("yolov3", "lr0: 0.01\nlrf: 0.01\nmyown: 1\n", Context(), origin="hyp.yaml")

    assert "anchor_t is missing: train.py stops with a KeyError" in found.problems
    assert any(each.startswith("myown:") for each in found.problems)


def test_a_number_that_yaml_takes_for_text_is_pointed_out():
    found = explain("yolov3", yolov3_file(weight_decay="5e-4"), Context(), origin="hyp.yaml")

    assert found.problems == ("weight_decay: 5e-4 is text to PyYAML; write it with a point",)


def test_their_own_defaults_become_our_effective_values():
    found = from_dialect(
        "yolov3", yolov3_file(box=0.05, obj=1.0, obj_pw=1.5, mosaic=1.0, copy_paste=0.5), TINY, origin="hyp.yaml"
    )

    assert found.values.box == pytest.approx(0.075)
    assert found.values.noobj == pytest.approx(0.375)
    assert found.values.obj == pytest.approx(0.5625)
    assert found.values.mosaic == 1.0
    assert any(note.startswith("copy_paste 0.5: is not done here") for note in found.notes)


def test_an_exponent_in_a_v9_file_is_taken_for_an_early_one():
    with pytest.raises(DialectError, match=r"hyp\.yaml:2:6: lrf: -4.0 is an exponent.*--from yolov3-early"):
        from_dialect("yolov3", yolov3_file(lrf=-4.0), TINY, origin="hyp.yaml")


# early


def test_the_early_lrf_is_an_exponent_of_ten():
    export = to_dialect("yolov3-early", replace(OURS, lrf=0.0001), TINY)

    assert yaml.safe_load(export.text())["lrf"] == -4.0
    assert from_dialect("yolov3-early", export.text(), TINY, origin="h").values.lrf == 0.0001
    assert any(note.startswith("box 0.05") and "no conversion" in note for note in export.notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lrf": 0.0}, "no power of ten is 0"),
        ({"lrf": 1.0}, "begins at 1 - 10"),
        ({"schedule": "cosine"}, "it is code there, not a key"),
        ({"schedule": "steps"}, "x0.1 at 80 %"),
    ],
)
def test_what_the_early_trainer_would_read_otherwise_is_refused(change, reason):
    with pytest.raises(RefusedError, match=reason):
        to_dialect("yolov3-early", replace(OURS, **change), TINY)


def test_a_fraction_in_an_early_file_is_refused_and_v8_is_known_to_ignore_it():
    with pytest.raises(DialectError, match=r"h:2:6: lrf: 0.01 is no exponent.*--from yolov3"):
        from_dialect("yolov3-early", "lr0: 0.01\nlrf: 0.01\n", TINY, origin="h")

    v8 = from_dialect("yolov3-early", "giou: 3.54\nobj: 64.3\nlr0: 0.01\nlrf: 0.0005\n", TINY, origin="h").values
    assert (v8.schedule, v8.lrf, v8.warmup_epochs) == ("cosine", 0.05, 5.0)  # 500 iterations of 100 an epoch


def test_early_explains_its_schedule_and_a_burn_in_that_epoch_0_cuts_short():
    found = explain("yolov3-early", "lr0: 0.01\nlrf: -1.0\n", replace(TINY, images=24, epochs=10), origin="h")

    assert float(used(found, "first lr")) == pytest.approx(0.009)
    assert float(used(found, "last lr")) == pytest.approx(0.01 * (1 - 10**-0.1), rel=1e-4)
    assert any("burn-in of 1 iterations is longer than epoch 0" in each for each in found.problems)


# ultralytics


def test_the_package_gets_an_optimizer_and_our_nominal_batch():
    keys = yaml.safe_load(to_dialect("ultralytics", OURS, replace(TINY, nominal_batch_size=24)).text())

    assert (keys["optimizer"], keys["nbs"], keys["batch"], keys["weight_decay"]) == ("SGD", 24, 24, 0.0005)
    assert not {"box", "cls", "dfl", "obj"} & set(keys)


def test_optimizer_auto_overrides_lr0_and_momentum():
    text = "optimizer: auto\nlr0: 0.5\nmomentum: 0.5\nimgsz: 640\n"

    found = explain("ultralytics", text, TINY, origin="args.yaml")
    read = from_dialect("ultralytics", text, TINY, origin="args.yaml")

    assert {"lr0", "momentum"} <= set(found.idle)
    assert used(found, "lr0") == "chosen by optimizer: auto"
    assert (read.values.lr0, read.values.momentum) == (OURS.lr0, OURS.momentum)
    assert any("auto overrode them" in note for note in read.notes)


def test_keys_the_package_does_not_have_are_problems():
    found = explain("ultralytics", "optimizer: SGD\nobj: 1.0\ncls_pw: 2.0\n", TINY, origin="args.yaml")

    assert any(each.startswith("obj:") for each in found.problems)
    assert any("class-imbalance power" in each for each in found.problems)


# darknet


def test_a_net_section_has_burn_in_steps_and_scales_in_updates():
    context = Context(batch_size=16, nominal_batch_size=64, images=6400, epochs=10)

    body = to_dialect("darknet", replace(STEPS, warmup_epochs=0.5, lrf=0.01), context).body

    keys = dict(line.split("=") for line in body.splitlines()[1:])
    assert (keys["batch"], keys["subdivisions"], keys["max_batches"]) == ("64", "4", "1000")
    assert (keys["burn_in"], keys["steps"], keys["scales"]) == ("50", "800,900", "0.1,0.1")


def test_yolov3_cfg_itself_is_read():
    cfg = """[net]
# Testing
# batch=1
batch=64
subdivisions=16
momentum=0.9
decay=0.0005
learning_rate=0.001
burn_in=1000
max_batches = 500200
policy=steps
steps=400000,450000
scales=.1,.1

[yolo]
ignore_thresh = .7
"""
    found = from_dialect("darknet", cfg, Context(images=117_264), origin="yolov3.cfg")

    values = found.values
    assert (values.schedule, values.lr0, values.momentum, values.ignore_iou) == ("steps", 0.001, 0.9, 0.7)
    assert (values.lrf, values.nesterov) == (0.01, False)
    assert values.warmup_epochs == pytest.approx(1000 * 64 / 117_264)
    assert values.warmup == "quartic"
    assert not any(note.startswith("steps") or "power" in note for note in found.notes)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("policy=sig", r"c:2:8: policy: 'sig' has no counterpart"),
        ("policy=exp\ngamma=1.1", r"c:3:7: gamma: 1\.1 lets the rate rise without end; allowed: 0 to 1"),
        ("momentum=fast", r"c:2:10: momentum: 'fast' is not a finite number"),
        ("momentum=2", r"c:2:10: momentum: 2\.0 is outside"),
        ("decay=-1", r"c:2:7: decay: as our weight_decay"),
        ("just words", r"c:2:1: 'just words' is neither"),
        ("policy=steps\nsteps=5\nscales=.1,.1", r"c:4:8: scales: 2 scales for 1 steps"),
    ],
)
def test_a_cfg_that_does_not_fit_has_its_place(line, place):
    with pytest.raises(DialectError, match=place):
        from_dialect("darknet", f"[net]\n{line}\n", Context(), origin="c")


def test_a_schedule_without_a_policy_is_refused_and_the_exact_ones_are_not():
    for values in (OURS, replace(OURS, schedule="cosine")):
        with pytest.raises(RefusedError, match="allowed: schedule steps"):
            to_dialect("darknet", values, TINY)

    poly = to_dialect("darknet", replace(OURS, lrf=0.0), TINY)
    assert "policy=poly" in poly.body
    found = from_dialect("darknet", poly.text(), TINY, origin="c").values
    assert (found.schedule, found.lrf) == ("linear", 0.0)


def read_policy(lines: str) -> Imported:
    return from_dialect("darknet", f"[net]\nbatch=64\nmax_batches=1000\n{lines}\n", TINY, origin="c")


def rates(values: Hyperparameters, num_updates: int) -> list[float]:
    """Learning rates as a training of that many updates has them, without a warm-up."""
    rule = SCHEDULES[values.schedule]
    return [values.lr0 * rule(Moment(progress=step / (num_updates - 1)), values) for step in range(num_updates)]


@pytest.mark.parametrize(
    ("policy", "darknet"),
    [
        ("policy=steps\nsteps=333,777\nscales=.5,.1", lambda step: 0.5 ** (step >= 333) * 0.1 ** (step >= 777)),
        ("policy=steps\nsteps=250\nscales=.3", lambda step: 0.3 ** (step >= 250)),
        ("policy=exp\ngamma=0.99", lambda step: 0.99**step),
        ("policy=constant", lambda step: 1.0),
    ],
)
def test_a_policy_of_darknet_gives_its_rate_at_every_update(policy: str, darknet: Callable[[int], float]) -> None:
    found = read_policy(f"learning_rate=0.01\n{policy}")

    assert rates(found.values, 1000) == pytest.approx([0.01 * darknet(step) for step in range(1000)], rel=1e-9)
    assert not [note for note in found.notes if note.startswith("steps=")]


def test_polys_power_is_carried_over_and_is_that_of_the_burn_in_too() -> None:
    values = read_policy("policy=poly\nburn_in=10").values

    assert (values.schedule, values.poly_power, values.lrf, values.warmup) == ("poly", 4.0, 0.0, "quartic")


def test_three_drops_are_read_as_two_and_that_is_said() -> None:
    found = read_policy("policy=steps\nsteps=100,200,300\nscales=.1,.1,.1")

    assert found.values.lrf == pytest.approx(0.001)
    assert any(note.startswith("steps=100,200,300: here one drop or two") for note in found.notes)


def test_a_schedule_and_a_warmup_of_two_powers_are_refused_as_darknet_has_one_key_for_both() -> None:
    torn = replace(OURS, schedule="poly", lrf=0.0, poly_power=2.0, warmup="quartic", warmup_epochs=1.0)

    with pytest.raises(RefusedError, match="schedule poly is of power 2 and the warm-up of 4"):
        to_dialect("darknet", torn, TINY)
    assert "power=2\n" in to_dialect("darknet", replace(torn, warmup_epochs=0.0), TINY).body


def test_drops_are_written_in_the_order_of_their_updates() -> None:
    crossed = replace(STEPS, step_at_1=0.9, step_at_2=0.5, step_share=0.25, lrf=1e-4)

    body = to_dialect("darknet", crossed, Context(batch_size=16, nominal_batch_size=64, images=6400, epochs=10)).body

    assert "steps=500,900\nscales=0.001,0.1\n" in body


def test_a_burn_in_longer_than_the_training_is_explained():
    found = explain("darknet", "[net]\nbatch=64\nburn_in=1000\nmax_batches=500\n", TINY, origin="c")

    assert found.problems == ("burn-in of 1000 updates is not over in a training of 500",)


# native, and between


def test_a_native_export_is_what_train_reads(tmp_path):
    path = tmp_path / "hyp.yaml"
    path.write_text(to_dialect("native", OURS, TINY).text(("head",)))

    found = read_hyp(path)

    assert found.values == OURS
    assert found.training["nominal_batch_size"] == 64


def test_native_explains_the_class_gain_of_one_class():
    text = to_dialect("native", replace(OURS, warmup_epochs=60.0), TINY).text()

    found = explain("native", text, replace(TINY, classes=1), origin="h")

    assert "cls" in found.idle
    assert "is not over" in found.problems[0]


def test_from_one_dialect_to_another_the_effective_values_stay():
    cfg = "[net]\nbatch=24\nlearning_rate=0.01\nmomentum=0.9\ndecay=0.0004\npolicy=constant\n"

    read = from_dialect("darknet", cfg, TINY, origin="c")
    keys = yaml.safe_load(to_dialect("ultralytics", read.values, TINY).text())

    assert keys["weight_decay"] * 24 * 3 / 64 == pytest.approx(0.0004)
    assert math.isclose(keys["momentum"], 0.9)
    assert any("learning_rate" in note for note in read.notes)


def test_a_file_of_keys_that_all_dialects_have_must_be_named():
    with pytest.raises(StudyError, match="say which with --from: native, yolov3"):
        detect("lr0: 0.01\n", origin="hyp.yaml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("lr0: 0.01\nlr0: 0.02\n", r"h:2:1: key 'lr0' is given twice"),
        ("lr0: [\n", r"h:2:1: is not YAML"),
        ("- 1\n", r"h:1:1: holds no hyperparameters"),
        ("lr0: .nan\n", r"h:1:6: lr0: '.nan' is not a finite number"),
        ("lr0: 1e99999\n", r"h:1:6: lr0: '1e99999' is not a finite number"),
        ("box: 1e9\n", r"h:1:6: box: 1000000000.0 is outside"),
        ("obj: 1e9\n", r"h:1:6: obj: "),
    ],
)
def test_a_hyp_file_that_does_not_fit_has_line_and_column(text, place):
    with pytest.raises(DialectError, match=place):
        from_dialect("yolov3", text, Context(), origin="h")


words = st.one_of(
    st.sampled_from(
        [*yolov3.DEFAULTS, "giou", "nbs", "batch", "optimizer", "cos_lr", "schedule", "nesterov", "training"]
    ),
    st.sampled_from(
        ["policy", "steps", "scales", "burn_in", "max_batches", "power", "subdivisions", "fitness", "epoch"]
    ),
)
values = st.one_of(
    st.floats().map(str),
    st.integers(-5, 10**40).map(str),
    st.sampled_from(["steps", "poly", "1e-4", "-4.", "true", "nan", "", "[1]", "{a: 1}", ".1,.2", "\u00b2", "1e400"]),
)


@settings(max_examples=150, deadline=None)
@given(
    pairs=st.lists(st.tuples(words, values), max_size=6), dialect=st.sampled_from(DIALECTS), noise=st.text(max_size=8)
)
def test_no_file_ends_in_anything_but_a_result_or_an_error_for_people(pairs, dialect, noise):
    cfg = "[net]\n" + "\n".join(f"{name}={value}" for name, value in pairs) + noise
    text = "\n".join(f"{name}: {value}" for name, value in pairs) + noise
    table = ",".join(name for name, _ in pairs) + "\n" + ",".join(value for _, value in pairs) + noise
    readers = [
        lambda: from_dialect(dialect, cfg if dialect == "darknet" else text, TINY, origin="f"),
        lambda: explain(dialect, cfg if dialect == "darknet" else text, TINY, origin="f"),
        lambda: detect(text, origin="f"),
        *(lambda end=end: read_results(table, origin=f"f.{end}") for end in ("csv", "txt", "ndjson")),
    ]

    for read in readers:
        with contextlib.suppress(EvolveError):
            assert read() is not None
