"""Rendered digits: reproducible, without leaks between parts, boxes tight, cheap."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from detector.datasets import DataError, Dataset, Sample, open_dataset
from detector.datasets.digits import MAX_DIGITS, DigitScenes, DigitSettings, digit_images, make_stamps


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset("digits-10", image_size=64, seed=3)


def _is_equal(one: Sample, other: Sample) -> bool:
    return (
        torch.equal(one.image, other.image)
        and torch.equal(one.boxes_M4, other.boxes_M4)
        and torch.equal(one.labels_M, other.labels_M)
    )


def test_no_digit_image_appears_in_two_parts() -> None:
    parts = [digit_images(part) for part in ("train", "val", "test")]
    sources = np.concatenate([part.source for part in parts])
    looks = [{pixels.tobytes() for pixels in part.pixels} for part in parts]

    assert sorted(sources.tolist()) == list(range(1797))
    assert not looks[0] & looks[1] and not looks[0] & looks[2] and not looks[1] & looks[2]


def test_every_part_has_its_share_of_every_class() -> None:
    counts = {part: np.bincount(digit_images(part).digits, minlength=10) for part in ("train", "val", "test")}
    whole = sum(counts.values())

    for part, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert np.all(np.abs(counts[part] / whole - share) < 0.01)


def test_scenes_are_the_same_each_time_and_in_any_order(digits: Dataset) -> None:
    again = open_dataset("digits-10", image_size=64, seed=3)

    for index in (639, 0, 17):
        assert _is_equal(digits.train.sample(index, 5), again.train.sample(index, 5))


def test_training_scenes_are_new_in_every_epoch_and_for_every_seed(digits: Dataset) -> None:
    other_seed = open_dataset("digits-10", image_size=64, seed=4)
    scene = digits.train.sample(0, 0)

    assert not torch.equal(scene.image, digits.train.sample(0, 1).image)
    assert not torch.equal(scene.image, digits.train.sample(1, 0).image)
    assert not torch.equal(scene.image, other_seed.train.sample(0, 0).image)


def test_val_and_test_scenes_are_fixed_whatever_epoch_and_seed(digits: Dataset) -> None:
    other_seed = open_dataset("digits-10", image_size=64, seed=4)
    assert digits.test is not None and other_seed.test is not None

    for split, other in ((digits.val, other_seed.val), (digits.test, other_seed.test)):
        assert _is_equal(split.sample(7, 0), split.sample(7, 9))
        assert _is_equal(split.sample(7, 0), other.sample(7, 0))
    assert not torch.equal(digits.val.sample(7, 0).image, digits.test.sample(7, 0).image)


@pytest.mark.parametrize("image_size", [32, 64, 160])
def test_boxes_lie_inside_the_scene_and_hardly_overlap(image_size: int) -> None:
    dataset = open_dataset("digits", image_size=image_size)
    for index in range(60):
        scene = dataset.train.sample(index, 0)
        boxes_M4 = scene.boxes_M4

        assert scene.image.shape == (3, image_size, image_size) and scene.image.dtype == torch.uint8
        assert 1 <= len(boxes_M4) <= MAX_DIGITS
        assert bool((boxes_M4 >= 0).all()) and bool((boxes_M4 <= image_size).all())
        for first in range(len(boxes_M4)):
            for other in range(first):
                low = torch.maximum(boxes_M4[first, :2], boxes_M4[other, :2])
                high = torch.minimum(boxes_M4[first, 2:], boxes_M4[other, 2:])
                assert float((high - low).min()) <= image_size / 32


def test_stamps_touch_all_four_sides_of_their_box() -> None:
    for ink in make_stamps(digit_images("val").pixels[:40], 30):
        edges = (ink[0], ink[-1], ink[:, 0], ink[:, -1])

        assert all(edge.max() > 64 for edge in edges)


def test_ink_changes_the_background_inside_its_box_only() -> None:
    settings = DigitSettings(split="train", names=("digit",), image_size=64, seed=0, num_scenes=40)
    scenes = DigitScenes(settings)
    for index in range(40):
        scene = scenes.sample(index, 0)
        image = scene.image.numpy()
        x0, y0, x1, y1 = (int(edge) for edge in scene.boxes_M4[0])
        background, _ = scenes._background(scenes._draws(0)[index])
        is_changed = (image != background).any(axis=0)
        inside = np.zeros((64, 64), dtype=bool)
        for box in scene.boxes_M4.long().tolist():
            inside[box[1] : box[3], box[0] : box[2]] = True

        assert not is_changed[~inside].any()
        assert is_changed[y0:y1, x0:x1].mean() > 0.15


def test_classes_are_what_the_name_says() -> None:
    seen = {}
    for source in ("digits", "digits-1", "digits-3", "digits-10"):
        dataset = open_dataset(source, image_size=64)
        seen[source] = {label for index in range(100) for label in dataset.train.sample(index, 0).labels_M.tolist()}

    assert seen == {"digits": {0}, "digits-1": {0}, "digits-3": {0, 1, 2}, "digits-10": set(range(10))}


def test_labels_belong_to_the_digit_that_is_drawn(digits: Dataset) -> None:
    assert isinstance(digits.train, DigitScenes)
    pool = digit_images("train")

    assert digits.train._labels == pool.digits.tolist()
    assert np.array_equal(digits.train._pixels, pool.pixels)


def test_a_digits_data_set_is_not_augmented_and_counts_itself(digits: Dataset) -> None:
    summary = digits.summary()

    assert not digits.augments and digits.findings == () and digits.max_boxes == MAX_DIGITS
    assert [summary["splits"][part]["images"] for part in ("train", "val", "test")] == [640, 128, 256]
    assert summary["splits"]["val"]["boxes"] == sum(len(digits.val.sample(index, 0).labels_M) for index in range(128))


def test_stamps_kept_in_memory_or_drawn_one_by_one_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DigitSettings(split="val", names=("digit",), image_size=64, seed=0, num_scenes=5)
    together = DigitScenes(settings)
    monkeypatch.setattr("detector.datasets.digits._STAMP_BYTES", 100_000)
    one_by_one = DigitScenes(settings)

    assert together._block > 1 and one_by_one._block == 1
    for index in range(5):
        assert _is_equal(together.sample(index, 0), one_by_one.sample(index, 0))


def test_unknown_digits_and_settings_are_refused_with_what_is_allowed(digits: Dataset) -> None:
    with pytest.raises(DataError, match=r"digits-4.*digits-10"):
        open_dataset("digits-4", image_size=64)
    with pytest.raises(ValueError, match="image_size 16"):
        open_dataset("digits", image_size=16)
    with pytest.raises(ValueError, match=r"split: 'all' is not one of"):
        DigitSettings(split="all", names=("digit",), image_size=64, seed=0, num_scenes=1)
    with pytest.raises(ValueError, match="names"):
        DigitSettings(split="val", names=("cat",), image_size=64, seed=0, num_scenes=1)
    with pytest.raises(IndexError, match="scene 640 of 640"):
        digits.train.sample(640, 0)


def test_a_scene_is_rendered_in_a_fraction_of_a_millisecond(digits: Dataset) -> None:
    for index in range(200):
        digits.train.sample(index, 0)
    times = []
    for index in range(200):
        started = time.perf_counter()
        digits.train.sample(index, 1)
        times.append(time.perf_counter() - started)

    assert float(np.median(times)) < 1e-3  # about 0.04 ms on a quiet core; this machine may be busy
