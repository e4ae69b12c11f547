"""Boxes are drawn where they are in the picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from detector.drawing import marked


def test_a_box_on_a_thin_picture_is_drawn_at_its_height_there(tmp_path: Path) -> None:
    path = tmp_path / "thin.png"
    Image.new("RGB", (2000, 115)).save(path)

    image = marked(path, [(500, 20, 1000, 96)], (), longest=200)
    rows = image[:, :, 75].any(0).nonzero().flatten().tolist()

    assert image.shape == (3, 12, 200)
    assert rows == [2, 10]  # of 12 for 115, where the width has 200 for 2000
