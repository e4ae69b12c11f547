"""Warps are torchvision's, and on other squares than the image's own as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from detector.letterbox import View, onto_square
from detector.warping import Bend, warped
from tests.samples import bright_extent, painted

SIDE = 80
NOISE = replace(
    painted(SIDE, SIDE, [(20.0, 30.0, 50.0, 60.0)]),
    image=torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
)
PLAIN = View(scale=(1.0, 1.0))


def assert_as_torchvision(view: View, bend: Bend, expected: torch.Tensor) -> None:
    """Up to rounding, but for the image's border: torchvision darkens it before it lays it on grey."""
    found = warped(NOISE, view, bend, SIDE).image
    inked = warped(replace(NOISE, image=torch.full_like(NOISE.image, 255)), view, bend, SIDE).image
    is_border = (inked != 255) & (inked != 114)

    assert (found.int() - expected.int())[~is_border].abs().max() <= 1
    assert is_border.float().mean() < 0.08 and (inked == 255).float().mean() > 0.4


@pytest.mark.parametrize(("angle", "zoom", "shift"), [(0.0, 1.0, (3, -5)), (30.0, 1.0, (0, 0)), (-71.0, 1.4, (6, 2))])
def test_rotation_zoom_and_shift_are_those_of_torchvision(angle: float, zoom: float, shift: tuple[int, int]) -> None:
    view = View(scale=(zoom, zoom), shift=(float(shift[0]), float(shift[1])))
    expected = functional.affine(
        NOISE.image, angle, list(shift), zoom, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR, fill=[114.0]
    )

    assert_as_torchvision(view, Bend(angle=angle), expected)


def test_perspective_is_that_of_torchvision() -> None:
    half, away = SIDE / 2, (0.15, -0.3)

    def there(x: float, y: float) -> list[float]:
        depth = 1 + away[0] * x + away[1] * y
        return [half + half * x / depth, half + half * y / depth]

    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    before = [[int(half + half * x), int(half + half * y)] for x, y in corners]
    # torchvision wants whole pixels for the points, so it is given its own solution for ours.
    rows, right = [], []
    for (x, y), (u, v) in zip(before, [there(*corner) for corner in corners], strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        right += [x, y]
    back = torch.linalg.solve(torch.tensor(rows, dtype=torch.float64), torch.tensor(right, dtype=torch.float64))
    expected = functional.perspective(
        NOISE.image,
        None,
        None,
        interpolation=InterpolationMode.BILINEAR,
        fill=[114.0],
        coefficients=back.tolist(),
    )

    assert_as_torchvision(PLAIN, Bend(perspective=away), expected)


def test_shear_leans_lines_by_its_angle() -> None:
    found = warped(painted(SIDE, SIDE, [(30.0, 20.0, 50.0, 60.0)]), PLAIN, Bend(shear=(45.0, 0.0)), SIDE)

    # Rows 20 above and below the middle move by as much.
    assert found.boxes_M4.tolist() == [pytest.approx([10.0, 20.0, 70.0, 60.0], abs=1e-4)]
    assert bright_extent(found.image) == pytest.approx([10.0, 20.0, 70.0, 60.0], abs=2)


@pytest.mark.parametrize("view", [View(scale=(0.4, 0.4)), View(scale=(0.7, 0.3), middle=(9.0, -4.0), shift=(3.0, 2.0))])
def test_a_warp_that_bends_nothing_places_as_a_resize_does(view: View) -> None:
    sample = painted(120, 160, [(40.0, 30.0, 120.0, 90.0)])

    bent, straight = warped(sample, view, Bend(), 64), onto_square(sample, view, 64)

    assert bent.boxes_M4.tolist()[0] == pytest.approx(straight.boxes_M4.tolist()[0], abs=1)
    assert (bent.image.float() - straight.image.float()).abs().mean() < 6
