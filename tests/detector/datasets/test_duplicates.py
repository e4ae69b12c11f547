"""Pictures that look almost the same are told from pictures that do not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance
from torch import Tensor

from detector.datasets.duplicates import look_of, pixel_digest, similar_pairs
from detector.datasets.pictures import read_picture
from tests.detector.datasets.damages import scene
from tests.places import RACCOON

SIZE = (192, 128)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def _pairs(*images: Image.Image) -> list[tuple[int, int]]:
    return [(one, other) for one, other, _ in similar_pairs([look_of(_tensor(image)) for image in images])]


def _again(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: _again(image, 30),
        lambda image: image.resize((96, 64)),
        lambda image: image.resize((160, 160)),
        lambda image: image.convert("L"),
        lambda image: ImageEnhance.Brightness(image).enhance(0.75),
        lambda image: ImageEnhance.Contrast(image).enhance(0.7),
        lambda image: image.crop((3, 2, 189, 126)),
    ],
    ids=["JPEG", "half", "square", "grey", "darker", "flat", "cropped"],
)
def test_a_picture_that_was_saved_again_is_known_again(changed: object) -> None:
    image = scene(5, SIZE)

    assert _pairs(scene(1, SIZE), image, changed(image)) == [(1, 2)]  # type: ignore[operator]


def test_pictures_with_plain_backgrounds_differ_by_what_stands_on_them() -> None:
    images = []
    for x, y in ((10, 10), (120, 20), (60, 80), (150, 90)):
        image = Image.new("RGB", SIZE, "white")
        ImageDraw.Draw(image).ellipse((x, y, x + 30, y + 24), fill="navy")
        images.append(image)

    assert _pairs(*images) == []


def test_pictures_of_one_colour_are_not_told_to_be_alike() -> None:
    assert _pairs(Image.new("RGB", SIZE, "white"), Image.new("RGB", SIZE, "black")) == []


def test_no_pictures_have_no_pairs() -> None:
    assert list(similar_pairs([])) == []


LOOKS = [look_of(_tensor(scene(number, (48, 32)))) for number in range(7)]


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_pairs_are_those_of_the_same_picture_whatever_the_order(numbers: list[int]) -> None:
    expected = [(a, b) for a in range(len(numbers)) for b in range(a + 1, len(numbers)) if numbers[a] == numbers[b]]

    assert [(one, other) for one, other, _ in similar_pairs([LOOKS[number] for number in numbers])] == expected


def test_a_digest_is_of_pixels_and_shape() -> None:
    image = _tensor(scene(1))

    assert pixel_digest(image) == pixel_digest(image.clone())
    assert pixel_digest(image) != pixel_digest(image.reshape(3, image.shape[2], image.shape[1]))
    assert pixel_digest(image) != pixel_digest(image + 1)


@pytest.mark.skipif(not RACCOON.is_dir(), reason="the raccoon photographs are not beside the repository")
def test_photographs_are_known_again_after_compression_and_taken_for_no_other() -> None:
    files = sorted((RACCOON / "images").iterdir())[:30]
    images = [read_picture(file, longest=200).image for file in files]
    again = [_tensor(_again(Image.fromarray(image.permute(1, 2, 0).numpy()), 40)) for image in images]
    pairs = {(one, other) for one, other, _ in similar_pairs([look_of(image) for image in images + again])}
    found = {pair for pair in pairs if pair[1] >= len(images)}

    assert {(index, index + len(images)) for index in range(len(images))} <= found
    assert len(found) <= len(images) + 4  # two of the thirty are duplicates
