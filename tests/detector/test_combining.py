"""Mosaics, mixtures and holes: what is seen where, and whose boxes stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from detector.combining import cut_out, mixture, mosaic
from detector.datasets import Sample
from tests.samples import painted


def plain(value: int, height: int, width: int, label: int = 0) -> Sample:
    image = torch.full((3, height, width), value, dtype=torch.uint8)
    whole = torch.tensor([[0.0, 0.0, width, height]])
    return Sample(image=image, boxes_M4=whole, labels_M=torch.tensor([label]))


def test_a_mosaic_has_an_image_in_each_corner_and_grey_where_none_reaches() -> None:
    tiles = [plain(10, 40, 40, 0), plain(20, 40, 40, 1), plain(30, 80, 80, 2), plain(40, 20, 40, 3)]

    found = mosaic(tiles, (30.0, 50.0), 40)

    assert found.image.shape == (3, 80, 80)
    corners = {(49, 29): 10, (49, 30): 20, (50, 29): 30, (50, 30): 40, (49, 69): 20, (49, 70): 114, (70, 40): 114}
    assert {place: int(found.image[0, place[0], place[1]]) for place in corners} == corners
    # The first would begin 10 px to the left of the square, the third end 10 px below it.
    assert found.boxes_M4.tolist() == [[0, 10, 30, 50], [30, 10, 70, 50], [0, 50, 30, 80], [30, 50, 70, 70]]
    assert found.labels_M.tolist() == [0, 1, 2, 3]


def test_a_mosaic_leaves_out_boxes_that_lie_beyond_the_square() -> None:
    corner = replace(plain(10, 40, 40), boxes_M4=torch.tensor([[0.0, 0.0, 15.0, 15.0]]))

    assert mosaic([corner, plain(2, 4, 4), plain(3, 4, 4), plain(4, 4, 4)], (20.0, 20.0), 40).labels_M.shape == (3,)


def test_a_mixture_is_a_weighted_mean_with_the_boxes_of_both() -> None:
    found = mixture(plain(200, 8, 8, 1), plain(100, 8, 8, 2), 0.25)

    assert found.image.unique().tolist() == [125]
    assert found.labels_M.tolist() == [1, 2] and found.boxes_M4.shape == (2, 4)


@pytest.mark.parametrize(("centre", "kept"), [((40.0, 40.0), [1]), ((44.0, 40.0), [0, 1]), ((0.0, 0.0), [0, 1])])
def test_a_hole_takes_the_boxes_that_it_hides(centre: tuple[float, float], kept: list[int]) -> None:
    sample = painted(80, 80, [(30.0, 30.0, 50.0, 50.0), (10.0, 10.0, 70.0, 70.0)])

    found = cut_out(sample, centre, 22.0)

    assert found.labels_M.tolist() == kept
    assert int((found.image[0] == 114).sum()) == (121 if centre == (0.0, 0.0) else 22 * 22)
    assert not (sample.image == 114).any()
