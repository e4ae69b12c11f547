"""Declarations: what is declared once is what everything else says."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import yaml
from typer.testing import CliRunner

from detector.declaration import CLASSES, DATA_FACTS, OR, VARIED
from detector.families import AUGMENTATION
from detector.hyperparameters import (
    Hyperparameters,
    as_written,
    declarations,
    former_defaults,
    fuse_key,
    names,
    numeric_range,
    shared_names,
    without_effect,
)
from evolve.cli import app
from evolve.commands import hyp_text
from evolve.exchange.dialects import Context, explain
from tests.contracts.choices import CHOICES, TABLES
from tests.places import ROOT

PAGE = ROOT / "docs" / "hyperparameters.md"


def test_a_default_is_allowed_and_a_meaning_is_a_sentence() -> None:
    for name, declared in declarations().items():
        declared.check(declared.default)
        assert declared.name == name
        assert declared.meaning.endswith(".") and declared.meaning[0].isupper()
        assert bool(declared.choices) != (declared.low < declared.high)


def test_what_is_needed_exists_and_is_a_number_or_a_choice_that_is_allowed() -> None:
    for declared in declarations().values():
        for needed, *users in declared.needs:
            for name in needed.split(OR):
                assert name in DATA_FACTS or set(users) <= set(map(str, declarations()[name].choices))
            assert not users or needed not in DATA_FACTS


def test_everything_that_images_and_targets_are_made_of_is_shared_and_rates_are_not() -> None:
    assert {*names(AUGMENTATION), "assign_iou", "assignment"} <= set(shared_names())
    assert not {"lr0", "schedule", "momentum", "box", "optimizer"} & set(shared_names())


def test_lanes_may_be_fused_if_they_agree_on_what_is_shared_alone() -> None:
    values = Hyperparameters()

    assert fuse_key(values) == fuse_key(replace(values, lr0=0.5, optimizer="adamw", cls=3.0))
    for name in shared_names():
        declared = declarations()[name]
        other = next(each for each in (*declared.choices, declared.low, declared.high) if each != declared.default)
        assert fuse_key(Hyperparameters.from_mapping({name: other})) != fuse_key(values)


@pytest.mark.parametrize(
    ("values", "facts", "idle"),
    [
        ({"warmup_epochs": 0.0}, {}, {"warmup", "warmup_momentum", "warmup_bias_lr"}),
        ({"warmup_epochs": 0.0, "warmup_steps": 9.0}, {}, set()),
        ({"momentum": 0.0}, {}, {"nesterov"}),
        ({"optimizer": "adamw"}, {}, {"nesterov"}),
        ({"noobj": 0.0}, {}, {"ignore_iou", "negatives"}),
        ({"box": 0.0}, {}, {"box_loss", "anchor_warmup", "small_box_gain"}),
        ({"schedule": "constant"}, {}, {"lrf"}),
        ({"assignment": "best_anchor"}, {}, {"assign_ratio"}),
        ({"obj": 0.0}, {}, {"obj_iou"}),
        ({}, {CLASSES: False}, {"cls", "class_loss", "label_smoothing", "class_weights"}),
        ({}, {VARIED: False}, set(names(AUGMENTATION))),
        ({}, {VARIED: True, CLASSES: True}, set()),
    ],
)
def test_keys_without_effect_are_found_beside_those_that_another_choice_would_use(
    values: dict[str, object], facts: dict[str, bool], idle: set[str]
) -> None:
    found = without_effect(Hyperparameters.from_mapping(values), facts)

    of_other_choices = set(without_effect(Hyperparameters(), {}))  # that the defaults do not take
    assert set(found) == idle | of_other_choices
    assert "focal_gamma" not in without_effect(Hyperparameters.from_mapping(values | {"objectness": "focal"}), facts)


def test_reasons_name_the_value_that_is_in_the_way() -> None:
    found = without_effect(Hyperparameters(momentum=0.0, optimizer="adamw"), {CLASSES: False})

    assert found["nesterov"] == "momentum is 0 and optimizer is adamw"
    assert found["cls"] == DATA_FACTS[CLASSES]


def test_a_choice_has_no_numeric_range() -> None:
    with pytest.raises(KeyError):
        numeric_range("schedule")


def test_an_explanation_of_our_own_file_lists_what_does_nothing() -> None:
    text = yaml.safe_dump({"momentum": 0.0, "warmup_epochs": 0.0, "fliplr": 0.0, "scale": 0.0})

    idle = explain("native", text, Context(classes=1), origin="hyp.yaml").idle

    assert idle["nesterov"] == "momentum is 0"
    assert idle["warmup_momentum"] == "warmup_epochs is 0 and warmup_steps is 0"
    assert idle["fliplr, scale"] == "0 switches it off"
    assert "cls" in idle


def test_the_page_is_what_is_declared() -> None:
    assert PAGE.read_text(encoding="utf-8") == hyp_text.as_markdown(), "write it with `evolve hyp --markdown`"


def test_the_command_lists_every_hyperparameter_with_default_range_and_meaning() -> None:
    shown = CliRunner().invoke(app, ["hyp"]).stdout
    told = json.loads(CliRunner().invoke(app, ["hyp", "--json"]).stdout)

    assert list(told) == list(names())
    for name, declared in declarations().items():
        (line,) = [each for each in shown.splitlines() if each.startswith(f"{name} ")]
        assert declared.meaning in line and declared.allowed in line
        assert told[name]["default"] == declared.default
    assert f"{len(told)} hyperparameters; {len(CHOICES)} choices in {len(TABLES)} families" in shown


def test_a_file_with_everything_there_was_before_cells_means_the_former_defaults_of_what_came_later() -> None:
    whole = asdict(Hyperparameters.from_mapping(former_defaults(1)))
    before = {name: value for name, value in whole.items() if name not in ("cells", "obj_iou", "positives")}

    assert as_written(before) == {"cells": "centre", "obj_iou": 0.0, **before}
    assert as_written(whole) == whole and as_written({"coding": "exp"}) == {"coding": "exp"}
