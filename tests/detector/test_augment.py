"""Augmentation: boxes go where pixels go, sizes are exact, nothing is done where nothing is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.augment import EpochImages, augment, augments, flipped, without_augmentation
from detector.datasets import Sample
from detector.families import AUGMENTATION
from detector.hyperparameters import Hyperparameters, names
from detector.letterbox import letterbox
from tests.samples import Several, bright_extent, painted

NONE = without_augmentation(Hyperparameters())
VARIATIONS = [name for name in names(AUGMENTATION) if name != "close_mosaic"]  # which is nothing by itself
STRONG = Hyperparameters(fliplr=0.5, hsv_h=0.1, hsv_s=0.7, hsv_v=0.4, translate=0.2, scale=0.5)


def _augmented(sample: Sample, values: Hyperparameters, seed: int, image_size: int) -> Sample:
    return augment(EpochImages(split=Several(sample), seed=seed, epoch=0), 0, values, image_size)


sizes = st.integers(24, 200)


@given(height=sizes, width=sizes, data=st.data())
@settings(max_examples=40, deadline=None)
def test_letterbox_moves_boxes_so_that_the_way_back_restores_them(height: int, width: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 4)), data.draw(st.integers(0, height - 4))
    x1, y1 = data.draw(st.integers(x0 + 2, width)), data.draw(st.integers(y0 + 2, height))
    boxed = letterbox(painted(height, width, [(x0, y0, x1, y1)]), 96)

    across, down = round(width * 96 / max(height, width)), round(height * 96 / max(height, width))
    left, top = round((96 - width * 96 / max(height, width)) / 2), round((96 - height * 96 / max(height, width)) / 2)
    back = (boxed.boxes_M4[0] - torch.tensor([left, top, left, top])) / torch.tensor([across, down] * 2)
    restored = back * torch.tensor([width, height] * 2)
    # The image lands on whole pixels: one of them at the most is added or lost on a side.
    pixel = max(width / across, height / down)  # of the square, in those of the image
    tolerance = 1.01 * max(pixel, pixel * max(height, width) / 96)
    assert torch.allclose(restored, torch.tensor([x0, y0, x1, y1], dtype=torch.float32), atol=tolerance)
    assert boxed.image.shape == (3, 96, 96)


@given(height=sizes, width=sizes, seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_varied_image_has_the_size_asked_for_and_its_boxes_inside(height: int, width: int, seed: int) -> None:
    boxes = [(1.0, 2.0, width / 2, height / 2), (width / 3, height / 4, float(width), float(height))]
    varied = _augmented(painted(height, width, boxes), STRONG, seed, 64)

    assert varied.image.shape == (3, 64, 64) and varied.image.dtype == torch.uint8
    assert bool((varied.boxes_M4 >= 0).all()) and bool((varied.boxes_M4 <= 64).all())
    assert bool((varied.boxes_M4[:, 2:] - varied.boxes_M4[:, :2] >= 2).all())
    assert len(varied.boxes_M4) == len(varied.labels_M) <= 2


@given(height=sizes, width=sizes, x=st.floats(0, 0.5), y=st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_flipping_twice_restores_image_and_boxes(height: int, width: int, x: float, y: float) -> None:
    sample = painted(height, width, [(x * width, y * height, (x + 0.4) * width, (y + 0.4) * height)])
    twice = flipped(flipped(sample))

    assert torch.equal(twice.image, sample.image)
    assert torch.allclose(twice.boxes_M4, sample.boxes_M4, atol=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_follow_the_pixels_through_scale_shift_and_flip(seed: int) -> None:
    moving = Hyperparameters(fliplr=0.5, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0, translate=0.2, scale=0.4)
    varied = _augmented(painted(150, 210, [(60.0, 40.0, 150.0, 110.0)]), moving, seed, 160)

    assert varied.boxes_M4[0].tolist() == pytest.approx(bright_extent(varied.image), abs=1.5)


@pytest.mark.parametrize(("height", "width"), [(100, 200), (200, 100), (31, 47), (64, 64), (500, 7)])
def test_letterbox_centres_the_image_on_grey(height: int, width: int) -> None:
    white = replace(painted(height, width, []), image=torch.full((3, height, width), 255, dtype=torch.uint8))
    image = letterbox(white, 64).image
    x0, y0, x1, y1 = bright_extent(image)

    assert set(image.unique().tolist()) <= {114, 255}
    assert abs(x0 - (64 - x1)) <= 1 and abs(y0 - (64 - y1)) <= 1
    assert max(x1 - x0, y1 - y0) == 64
    assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height, rel=0.03, abs=0.02)


def test_nothing_is_copied_where_nothing_is_to_be_done() -> None:
    sample = painted(64, 64, [(10.0, 10.0, 30.0, 30.0)])

    assert letterbox(sample, 64) is sample
    assert _augmented(sample, NONE, 0, 64) is sample


def test_the_sample_itself_is_left_as_it_was() -> None:
    sample = painted(64, 64, [(10.0, 10.0, 30.0, 30.0)])
    image, boxes_M4 = sample.image.clone(), sample.boxes_M4.clone()
    for seed in range(5):
        _augmented(sample, STRONG, seed, 64)

    assert torch.equal(sample.image, image) and torch.equal(sample.boxes_M4, boxes_M4)


def test_the_same_seed_gives_the_same_image_and_another_another() -> None:
    sample = painted(120, 90, [(10.0, 10.0, 70.0, 80.0)])
    one, same, other = (_augmented(sample, STRONG, seed, 64) for seed in (1, 1, 2))

    assert torch.equal(one.image, same.image) and torch.equal(one.boxes_M4, same.boxes_M4)
    assert not torch.equal(one.image, other.image)


def test_the_global_generators_are_not_touched() -> None:
    before = torch.get_rng_state()
    state = np.random.get_state()[1].tolist()  # noqa: NPY002  the global state is what must not move
    _augmented(painted(120, 90, [(10.0, 10.0, 70.0, 80.0)]), STRONG, 0, 64)

    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_a_box_that_loses_most_of_its_area_is_left_out() -> None:
    shifted = replace(NONE, translate=0.9)
    corner_box = painted(64, 64, [(0.0, 0.0, 20.0, 20.0), (22.0, 22.0, 42.0, 42.0)])
    results = [_augmented(corner_box, shifted, seed, 64) for seed in range(60)]
    kept = [len(each.labels_M) for each in results]

    assert {0, 1, 2} == set(kept)
    for each in results:
        sides_M2 = each.boxes_M4[:, 2:] - each.boxes_M4[:, :2]
        assert bool((sides_M2.prod(1) > 0.1 * 400).all()) and bool((sides_M2 >= 2).all())


def test_an_image_shifted_out_of_sight_leaves_grey_and_no_boxes() -> None:
    thin = painted(8, 400, [(0.0, 0.0, 400.0, 8.0)])
    results = [_augmented(thin, replace(NONE, translate=0.9), seed, 64) for seed in range(40)]
    grey = [each for each in results if bool((each.image == 114).all())]

    assert grey
    assert all(len(each.boxes_M4) == 0 for each in grey)


def test_flips_come_with_the_probability_asked_for() -> None:
    sample = painted(32, 32, [(0.0, 0.0, 8.0, 8.0)])
    half = replace(NONE, fliplr=0.25)
    flips = [float(_augmented(sample, half, seed, 32).boxes_M4[0, 0]) == 24.0 for seed in range(400)]

    assert 0.18 < np.mean(flips) < 0.32


def test_grey_stays_grey_when_only_hue_and_saturation_vary() -> None:
    grey = replace(painted(32, 32, []), image=torch.full((3, 32, 32), 130, dtype=torch.uint8))
    colourful = Hyperparameters(fliplr=0.0, hsv_h=0.5, hsv_s=0.9, hsv_v=0.0, translate=0.0, scale=0.0)
    varied = _augmented(grey, colourful, 0, 32)

    assert bool(((varied.image.int() - 130).abs() <= 1).all())


def test_half_a_turn_of_hue_makes_red_bluish_and_brightness_scales() -> None:
    red = replace(
        painted(8, 8, []), image=torch.tensor([200, 60, 60], dtype=torch.uint8)[:, None, None].repeat(1, 8, 8)
    )
    hues = [_augmented(red, replace(NONE, hsv_h=0.5), seed, 8).image[:, 0, 0].tolist() for seed in range(30)]
    values = [float(_augmented(red, replace(NONE, hsv_v=0.4), seed, 8).image[0, 0, 0]) for seed in range(30)]

    assert any(colour[2] > colour[0] for colour in hues) and any(colour[1] > colour[0] for colour in hues)
    assert min(values) < 150 and max(values) > 240
    assert all(200 * 0.6 - 1 <= value <= 255 for value in values)


def test_augmentation_is_on_by_default_and_all_of_it_is_switched_off_together() -> None:
    values = Hyperparameters(lr0=0.5)

    off = without_augmentation(values)

    assert augments(values) and not augments(off)
    assert off.lr0 == 0.5
    for name in VARIATIONS:
        assert augments(replace(off, **{name: 0.1}))
    assert not augments(replace(off, close_mosaic=0.1))
