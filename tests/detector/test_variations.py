"""All that varies an image, one contract: boxes follow pixels, nothing is moved by what else is on, nothing fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from detector.augment import EpochImages, augment, images_in_one, in_epoch, without_augmentation
from detector.datasets import Sample
from detector.draws import NUM_DRAWS, drawn
from detector.families import AUGMENTATION
from detector.hyperparameters import Hyperparameters, names, numeric_range
from tests.samples import Several, bright_extent, painted

NONE = without_augmentation(Hyperparameters())
VARIATIONS = [name for name in names(AUGMENTATION) if name != "close_mosaic"]
# Strong, and yet such that what is in the middle of an image often stays in sight.
MOVING = {
    "fliplr": 0.5,
    "flipud": 0.5,
    "translate": 0.1,
    "scale": 0.3,
    "degrees": 180.0,
    "shear": 20.0,
    "perspective": 0.2,
    "crop": 0.2,
    "mosaic": 1.0,
}
RECOLOURING = {"hsv_h": 0.1, "hsv_s": 0.5, "hsv_v": 0.4, "contrast": 0.5}
GRADIENT = Sample(
    image=(torch.arange(3 * 60 * 80) % 251).reshape(3, 60, 80).to(torch.uint8),
    boxes_M4=torch.tensor([[20.0, 15.0, 60.0, 45.0]]),
    labels_M=torch.tensor([1]),
)
OTHERS = [painted(40 + 10 * place, 90 - 10 * place, [(5.0, 5.0, 25.0, 30.0)]) for place in range(4)]


def vary(sample: Sample, values: Hyperparameters, seed: int = 0, size: int = 96, others: list[Sample] | None = None):
    images = EpochImages(split=Several(sample, *(others or [])), seed=seed, epoch=0)
    return augment(images, 0, values, size)


def same(one: Sample, other: Sample) -> bool:
    return torch.equal(one.image, other.image) and torch.equal(one.boxes_M4, other.boxes_M4)


@pytest.mark.parametrize("name", MOVING)
@given(seed=st.integers(0, 10**6), height=st.integers(60, 200), width=st.integers(60, 200))
@settings(max_examples=15, deadline=None)
def test_a_box_follows_its_pixels(name: str, seed: int, height: int, width: int) -> None:
    box = (0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height)
    varied = vary(painted(height, width, [tuple(map(round, box))]), replace(NONE, **{name: MOVING[name]}), seed, 160)

    # A mosaic shows the one image there is up to four times, and not all of them whole.
    if name == "mosaic" or len(varied.boxes_M4) == 0:
        return
    (found,) = varied.boxes_M4.tolist()
    if min(found) > 1 and max(found) < 159:
        assert bright_extent(varied.image) == pytest.approx(found, abs=2)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_boxes_follow_their_pixels_through_all_that_moves_them_together(seed: int) -> None:
    values = replace(NONE, **MOVING | {"mosaic": 0.0, "degrees": 15.0, "shear": 5.0})
    varied = vary(painted(150, 210, [(85, 60, 125, 90)]), values, seed, 160)

    for found in varied.boxes_M4.tolist():
        if min(found) > 1 and max(found) < 159:
            assert bright_extent(varied.image) == pytest.approx(found, abs=2)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_mosaic_shows_each_box_where_its_pixels_are(seed: int) -> None:
    split = Several(painted(90, 120, [(30, 30, 90, 60)]), *(painted(100, 80, []) for _ in range(40)))
    images = EpochImages(split=split, seed=seed, epoch=0)
    assume(all(images.any_index(number) != 0 for number in images.draws(0, "mosaic")[3:6]))  # or it is seen twice
    varied = augment(images, 0, replace(NONE, mosaic=1.0), 160)

    for found in varied.boxes_M4.tolist():
        assert bright_extent(varied.image) == pytest.approx(found, abs=1.5)


@pytest.mark.parametrize("name", VARIATIONS)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    num_boxes=st.integers(0, 3),
    strength=st.floats(0.0, 1.0, exclude_min=True),
)
@settings(max_examples=12, deadline=None)
def test_boxes_stay_inside_whatever_the_image_and_the_strength(
    name: str, seed: int, size: tuple[int, int], num_boxes: int, strength: float
) -> None:
    height, width = size
    boxes = [(0.0, 0.0, float(width), float(height)), (0.0, 0.0, width / 2, height / 2), (width / 3, 0, width, height)]
    values = replace(NONE, mosaic=0.3, **{name: strength * numeric_range(name)[1]} if name != "mosaic" else {})
    varied = vary(painted(height, width, boxes[:num_boxes]), values, seed, 64, OTHERS)

    assert varied.image.shape == (3, 64, 64) and varied.image.dtype == torch.uint8
    assert torch.isfinite(varied.boxes_M4).all() and len(varied.boxes_M4) == len(varied.labels_M)
    assert ((varied.boxes_M4 >= 0) & (varied.boxes_M4 <= 64)).all()
    assert (varied.boxes_M4[:, 2:] > varied.boxes_M4[:, :2]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("name", VARIATIONS)
def test_images_of_a_pixel_are_varied_as_others_are(name: str, size: tuple[int, int]) -> None:
    values = Hyperparameters.from_mapping({name: numeric_range(name)[1]})
    for seed in range(10):
        for others in ([], [painted(1, 1, [])]):
            assert vary(painted(*size, [(0, 0, 1, 1)]), values, seed, 32, others).image.shape == (3, 32, 32)


@pytest.mark.parametrize("name", VARIATIONS)
def test_an_image_is_the_same_each_time_and_others_by_epoch_and_seed(name: str) -> None:
    values = replace(NONE, **{name: min(numeric_range(name)[1], 0.9)})
    split = Several(GRADIENT, *OTHERS)
    shown = [
        [augment(EpochImages(split=split, seed=seed, epoch=epoch), 0, values, 96) for _ in range(2)]
        for seed in range(3)
        for epoch in range(3)
    ]

    assert all(same(*pair) for pair in shown)
    assert not all(same(pair[0], shown[0][0]) for pair in shown)


@pytest.mark.parametrize("name", [*MOVING, *RECOLOURING, "mixup", "cutout"])
def test_what_is_drawn_for_one_is_not_moved_by_another(name: str) -> None:
    asked: dict[str, set[tuple[float, ...]]] = {}

    class Noting(EpochImages):
        def draws(self, index: int, of: str) -> tuple[float, ...]:
            asked.setdefault(of, set()).add((index, *super().draws(index, of)))
            return super().draws(index, of)

    images = Noting(split=Several(GRADIENT), seed=3, epoch=2)
    augment(images, 0, replace(NONE, **{name: 0.3}), 96)
    alone = dict(asked)
    augment(images, 0, replace(NONE, **dict.fromkeys(VARIATIONS, 0.3)), 96)

    assert set(alone) >= {name} and alone[name] == asked[name]
    assert all(len(drawn_for) == 1 for drawn_for in asked.values())
    assert set(asked) == set(VARIATIONS)


def test_a_colour_is_the_same_whatever_moves_the_image() -> None:
    grey = replace(painted(64, 64, []), image=torch.full((3, 64, 64), 130, dtype=torch.uint8))
    still = vary(grey, replace(NONE, hsv_v=0.4), 5, 64)
    moving = vary(grey, replace(NONE, hsv_v=0.4, fliplr=0.5, flipud=0.5), 5, 64)

    assert torch.equal(still.image, moving.image)


def test_a_rendered_data_set_has_all_of_it_off_and_mosaics_end_before_the_training_does() -> None:
    values = replace(NONE, mosaic=0.5, close_mosaic=0.2)

    assert without_augmentation(Hyperparameters.from_mapping(dict.fromkeys(VARIATIONS, 0.3))) == NONE
    assert [in_epoch(values, epoch, 10).mosaic for epoch in (0, 7, 8, 9)] == [0.5, 0.5, 0.0, 0.0]
    assert all(
        in_epoch(replace(values, close_mosaic=0.0), epoch, 10) == replace(values, close_mosaic=0.0) for epoch in (0, 9)
    )
    assert in_epoch(replace(values, close_mosaic=1.0), 0, 10).mosaic == 0


@pytest.mark.parametrize(
    ("values", "most"), [({}, 1), ({"mosaic": 0.1}, 4), ({"mixup": 0.1}, 2), ({"mosaic": 1.0, "mixup": 1.0}, 8)]
)
def test_an_image_has_no_more_boxes_than_the_images_that_may_be_in_it(values: dict[str, float], most: int) -> None:
    crowded = painted(80, 80, [(20.0 + place, 20.0, 60.0, 60.0) for place in range(5)])
    counts = [len(vary(crowded, replace(NONE, **values), seed).boxes_M4) for seed in range(40)]

    assert images_in_one(replace(NONE, **values)) == most
    assert max(counts) <= 5 * most and (most == 1) == (max(counts) == 5)


def test_contrast_is_torchvisions_at_the_factor_that_is_drawn() -> None:
    square = replace(GRADIENT, image=GRADIENT.image[:, :, :60])
    factors = [1 + 0.5 * drawn(seed, 0, 0, "contrast")[0] for seed in range(5)]

    for seed, factor in enumerate(factors):
        expected = functional.adjust_contrast(square.image, factor)
        assert torch.equal(vary(square, replace(NONE, contrast=0.5), seed, 60).image, expected)


def test_an_upside_down_image_is_torchvisions_with_its_boxes() -> None:
    square = replace(GRADIENT, image=GRADIENT.image[:, :, :60], boxes_M4=torch.tensor([[20.0, 10.0, 50.0, 45.0]]))
    varied = vary(square, replace(NONE, flipud=1.0), 0, 60)

    assert torch.equal(varied.image, functional.vertical_flip(square.image))
    assert varied.boxes_M4.tolist() == [[20.0, 15.0, 50.0, 50.0]]


def test_a_crop_moves_each_edge_of_what_is_seen_by_itself() -> None:
    sample = painted(100, 100, [(40.0, 40.0, 60.0, 60.0)])
    left, right, top, bottom = (0.3 * number for number in drawn(4, 0, 0, "crop")[:4])
    varied = vary(sample, replace(NONE, crop=0.3), 4, 200)

    expected = [
        (40 - 100 * left) / (1 - left - right) * 2,
        (40 - 100 * top) / (1 - top - bottom) * 2,
        (60 - 100 * left) / (1 - left - right) * 2,
        (60 - 100 * top) / (1 - top - bottom) * 2,
    ]
    assert varied.boxes_M4[0].tolist() == pytest.approx(expected, abs=1.5)


def test_numbers_drawn_are_uniform_and_differ_by_every_part_of_their_key() -> None:
    numbers = torch.tensor([drawn(seed, 0, index, "scale") for seed in range(10) for index in range(100)])

    assert numbers.shape == (1000, NUM_DRAWS)
    assert numbers.min() >= -1 and numbers.max() < 1
    assert numbers.mean().abs() < 0.03 and (numbers.var() - 1 / 3).abs() < 0.02
    assert torch.corrcoef(numbers.T).fill_diagonal_(0).abs().max() < 0.12
    assert len({drawn(0, 0, 0, "scale"), drawn(1, 0, 0, "scale"), drawn(0, 1, 0, "scale"), drawn(0, 0, 0, "crop")}) == 4
    # What a training has drawn must not change between versions: the key is hashed as text.
    assert drawn(0, 0, 0, "scale")[0] == pytest.approx(-0.538770181)
