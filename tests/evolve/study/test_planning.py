"""What a study leaves open is chosen from the data, with a reason, and can be overridden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.file import read_study
from evolve.study.planning import (
    LEAST_EPOCHS,
    DataFacts,
    advice,
    check_shares,
    endless_warmup,
    epochs_for,
    num_updates,
    remedies,
    settle,
    train_shares,
)
from evolve.study.space import Space

RACCOONS = DataFacts(num_train=160, box_sides={"raccoon": 0.59}, is_rendered=False)
CELLS = DataFacts(num_train=205, box_sides={"RBC": 0.16, "Platelets": 0.07}, is_rendered=False)
DIGITS = DataFacts(num_train=640, box_sides={"0": 0.4, "1": 0.4, "2": 0.4}, is_rendered=True)


def planned(facts: DataFacts, *, is_cuda: bool = False, **options: object) -> Study:
    return settle(read_study("my_data", {"data": "photos", **options}), facts, is_cuda=is_cuda)


def test_photographs_get_a_network_that_learns_them_at_a_size_their_boxes_can_be_seen_at() -> None:
    study = planned(RACCOONS)

    assert (study.model, study.image_size, study.batch_size, study.epochs) == ("yolov3-tiny", 160, 16, 30)
    assert study.decisions["image_size"] == "a typical raccoon is 59% of its image: 94 px of 160"
    assert study.decisions["epochs"] == "300 updates at 10 an epoch"


def test_small_boxes_want_larger_images_as_far_as_the_device_bears_them() -> None:
    assert planned(CELLS, is_cuda=True).image_size == 256
    assert planned(CELLS).image_size == 192
    assert "192 px is the most without a GPU" in planned(CELLS).decisions["image_size"]


def test_boxes_of_few_cells_get_a_third_head_and_large_ones_do_not() -> None:
    small = planned(CELLS)

    assert small.model == "yolov3-tiny-3l"
    assert small.decisions["model"] == (
        "a typical Platelets is 13 px of 192, cells of yolov3-tiny's finest grid are 16: a third head has cells of 8"
    )
    assert planned(CELLS, image_size=480).model == planned(RACCOONS).model == "yolov3-tiny"
    assert planned(CELLS, weights="yolov3-tiny.weights").model == "yolov3-tiny"


def test_weights_that_say_of_which_network_they_are_decide_it() -> None:
    file = read_study("my_data", {"data": "photos", "weights": "best.pt"})
    study = settle(file, RACCOONS, is_cuda=False, start="yolov3-tiny-3l")

    assert (study.model, study.decisions["model"]) == ("yolov3-tiny-3l", "the weights of best.pt are of it")
    named = read_study("my_data", {"data": "photos", "weights": "best.pt", "model": "yolov3"})
    assert settle(named, RACCOONS, is_cuda=False, start="yolov3-tiny-3l").model == "yolov3"


def test_a_network_with_cells_as_large_as_the_boxes_is_told_of_one_with_smaller_cells() -> None:
    (told,) = advice(planned(CELLS, model="yolov3-tiny"), CELLS)

    assert (told.option, told.value) == ("--model", "yolov3-tiny-3l")
    assert not advice(planned(CELLS), CELLS) and not advice(planned(RACCOONS, model="yolov3-tiny"), RACCOONS)


def test_a_few_images_are_trained_in_small_batches_so_that_an_epoch_has_several_updates() -> None:
    study = planned(DataFacts(num_train=16, box_sides={"a": 0.5}, is_rendered=False))

    assert (study.batch_size, study.epochs) == (4, 75)


def test_digits_are_trained_small() -> None:
    study = planned(DIGITS)

    assert (study.model, study.image_size) == ("yolov3-tiny-compact", 64)
    assert not {"fliplr", "scale", "hsv_s"} & set(study.space)


def test_the_class_gain_is_left_out_of_the_space_of_one_class_and_that_is_said() -> None:
    assert "cls" not in planned(RACCOONS).space
    assert "with one class" in planned(RACCOONS).decisions["space.cls"]
    assert "cls" in planned(CELLS).space


def test_what_a_person_names_is_not_chosen() -> None:
    study = planned(RACCOONS, model="yolov3", image_size=96, batch_size=8, epochs=5)

    assert (study.model, study.image_size, study.batch_size, study.epochs) == ("yolov3", 96, 8, 5)
    assert set(study.decisions) == {"space.cls"}


def test_updates_on_the_command_line_replace_the_epochs_of_a_file_and_the_other_way_round() -> None:
    assert read_study("lr_sweep", {"updates": 100}).open_keys == ("epochs",)
    assert read_study("my_data", {"data": "photos", "epochs": 3}).updates is None
    with pytest.raises(StudyError, match="--updates: is given beside --epochs"):
        read_study("lr_sweep", {"updates": 100, "epochs": 3})


@pytest.mark.parametrize("updates", ["many", 0, -1, True, 1.5])
def test_updates_that_are_no_count_are_refused(tmp_path: Path, updates: object) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"updates: {updates}\nspace: {{lr0: {{low: 0.1, high: 1}}}}\nbudget: {{trials: 2}}\n")

    with pytest.raises(StudyError, match=r"mine.yaml: updates: .* is not a whole number of at least 1"):
        read_study(str(file))


def test_the_same_command_goes_on_with_what_was_chosen_although_the_data_have_grown() -> None:
    stored = planned(CELLS, image_size=96)

    again = read_study("my_data", {"data": "photos", "image_size": 96}).settled_like(stored)

    assert not again.differences(stored)
    assert again.decisions == stored.decisions


def stored_with(facts: DataFacts, updates: int) -> Study:
    return settle(read_study("my_data", {"data": "photos", "updates": updates, "name": "mine"}), facts, is_cuda=False)


@pytest.mark.parametrize("facts", [RACCOONS, DIGITS], ids=["epochs for them", "the least epochs"])
def test_other_updates_than_the_stored_ones_are_refused_and_the_same_go_on(facts: DataFacts) -> None:
    stored = stored_with(facts, 200)
    same, more = (
        read_study("my_data", {"data": "photos", "updates": updates, "name": "mine"}) for updates in (200, 1000)
    )

    assert not same.settled_like(stored).differences(stored)
    with pytest.raises(
        StudyError, match=r"--updates: study mine is stored with other updates: \d+ epochs, .* not 1000"
    ):
        more.settled_like(stored)


def test_updates_are_not_those_of_a_stored_study_whose_epochs_were_given() -> None:
    stored = planned(RACCOONS, epochs=12, name="mine")

    with pytest.raises(StudyError, match="stored with other updates: 12 epochs, not 300 updates; give this one"):
        read_study("my_data", {"data": "photos", "name": "mine"}).settled_like(stored)


def test_too_few_updates_too_small_a_network_and_too_small_images_are_told_before_training() -> None:
    study = read_study("lr_sweep", {"data": "photos"}).preview()

    assert [(each.option, each.value) for each in advice(study, CELLS)] == [
        ("--model", "yolov3-tiny-3l"),
        ("--updates", 600),
        ("--image-size", 256),
    ]
    assert advice(study, CELLS)[1].reason == "130 updates; photographs want 300 or more"
    assert not advice(planned(RACCOONS), RACCOONS)
    assert not advice(read_study("lr_sweep").preview(), DIGITS)


def test_where_nothing_else_stands_in_the_way_more_updates_are_the_remedy() -> None:
    (remedy,) = remedies(planned(RACCOONS), RACCOONS)

    assert (remedy.option, remedy.value) == ("--updates", 600)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 64), st.one_of(st.none(), st.integers(1, 256)))
def test_epochs_hold_at_least_the_updates_asked_for_and_no_more_than_needed(
    updates: int, images: int, batch_size: int, nominal: int | None
) -> None:
    facts = DataFacts(num_train=images, box_sides={"a": 0.5}, is_rendered=False)

    epochs = epochs_for(updates, facts, batch_size, nominal).value

    each = facts.updates_an_epoch(batch_size, nominal)
    assert epochs * each >= updates
    assert epochs == LEAST_EPOCHS or (epochs - 1) * each < updates


def test_updates_are_counted_as_the_trainer_takes_them() -> None:
    study = read_study("lr_sweep", {"epochs": 3, "batch_size": 8, "nominal_batch_size": 16}).preview()

    assert num_updates(study, RACCOONS) == 3 * 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hyperparameters": {"warmup_steps": 399}}, ""),
        (
            {"hyperparameters": {"warmup_steps": 1000}},
            "hyperparameters.warmup_steps: a warm-up of 1,000 batches does not end within a training of 400",
        ),
        (
            {"space": {"warmup_steps": {"low": 0, "high": 400}}},
            "space.warmup_steps: a warm-up of 400 batches does not end within a training of 400",
        ),
        (
            {"hyperparameters": {"warmup_steps": 300, "train_share": 0.5}},
            "a warm-up of 300 batches does not end within",
        ),
        ({"hyperparameters": {"warmup_steps": 500}, "space": {"batch_size": {"choices": [32, 8]}}}, ""),
    ],
)
def test_a_warmup_of_more_batches_than_a_training_has_is_said_once_the_images_are_counted(
    changes: dict[str, Any], said: str
) -> None:
    usual: dict[str, Any] = {"name": "s", "epochs": 10, "space": {"lr0": {"low": 0.001, "high": 0.1}}}
    study = Study.from_mapping(usual | {"budget": {"trials": 2}} | changes, origin="test")

    found = endless_warmup(study, DIGITS)

    assert said in found and bool(said) == bool(found)


FILE = """
data: photos
batch_size: 16
updates: 300
hyperparameters: {train_share: 0.5}
space: {lr0: {low: 0.001, high: 0.1}}
budget: {trials: 2}
"""


def searching_shares() -> Study:
    space = Space.from_mapping({"train_share": {"choices": [0.1, 0.5]}})
    return read_study("lr_sweep", {"data": "photos"}).preview().model_copy(update={"space": space})


def test_updates_and_epochs_count_the_images_that_are_used(tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text(FILE)
    (tmp_path / "whole.yaml").write_text(FILE.replace("0.5", "1"))
    half, whole = (
        settle(read_study(str(tmp_path / f"{name}.yaml")), RACCOONS, is_cuda=False) for name in ("half", "whole")
    )
    searched = searching_shares()

    assert (half.epochs, whole.epochs) == (60, 30)
    assert num_updates(half, RACCOONS) == num_updates(whole, RACCOONS) == 300
    assert train_shares(half) == (0.5,) and train_shares(searched) == (0.1, 0.5)
    assert num_updates(searched, CELLS) == searched.epochs * 7  # batches of 16 of 102 images, the larger share


def test_a_share_of_less_than_a_batch_is_refused_before_anything_is_trained() -> None:
    check_shares(searching_shares(), 160)
    with pytest.raises(
        StudyError, match=r"space\.train_share: 0\.1 of 140 training images is 14, fewer than a batch of 16"
    ):
        check_shares(searching_shares(), 140)
