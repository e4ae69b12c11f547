"""A weights file as a detector: what it carries, and boxes in pixels of the picture they were found in."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from detector import checkpoint, load_detector
from detector.datasets import Sample, open_dataset
from detector.datasets.pictures import longest_kept, read_picture
from detector.letterbox import from_letterbox, letterbox
from detector.metrics import Detections
from detector.predict import Detector
from tests.places import ROOT
from tests.processes import environment
from tests.trained import VALUES


def test_importing_detector_loads_no_torch() -> None:
    code = "import detector, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0


def test_a_detector_knows_its_classes_size_anchors_and_where_it_comes_from(weights: Path) -> None:
    detector = load_detector(weights)

    assert (detector.names, detector.image_size) == (("digit",), 64)
    assert [len(sizes) for sizes in detector.anchors] == [3, 3]
    assert detector.source.values.lr0 == VALUES.lr0
    assert not detector.training
    assert not any(parameter.requires_grad for parameter in detector.parameters())


def test_a_detector_finds_digits_where_they_are(weights: Path) -> None:
    val = open_dataset("digits-1", image_size=64).val
    scenes = [val.sample(index, 0) for index in range(8)]

    all_found = load_detector(weights)([scene.image for scene in scenes], min_score=0.05)

    for found in all_found:
        assert found.size == (64, 64)
        assert bool((found.scores_K[:-1] >= found.scores_K[1:]).all())
    best = [float(box_iou(a.boxes_K4[:1], b.boxes_M4).max()) for a, b in zip(all_found, scenes, strict=True)]
    assert sum(best) / len(best) > 0.5


def test_a_batch_a_list_and_files_are_found_the_same_in(weights: Path, tmp_path: Path) -> None:
    val = open_dataset("digits-1", image_size=64).val
    images = [val.sample(index, 0).image for index in range(3)]
    for index, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
    detector = load_detector(str(weights))

    ways = [
        detector(torch.stack(images)),
        detector(images),
        detector([str(tmp_path / "0.png"), tmp_path / "1.png", images[2]]),
    ]

    for way in ways[1:]:
        for one, other in zip(ways[0], way, strict=True):
            assert torch.equal(one.boxes_K4, other.boxes_K4)
            assert torch.equal(one.scores_K, other.scores_K)


@pytest.mark.parametrize("size", [(64, 64), (200, 100), (37, 91), (1000, 3)])
def test_boxes_come_back_from_the_square_to_where_they_were(size: tuple[int, int]) -> None:
    width, height = size
    boxes = torch.tensor([[0.0, 0.0, width, height], [width / 4, height / 4, width / 2, height]])
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    square = letterbox(Sample(image=image, boxes_M4=boxes, labels_M=torch.zeros(2, dtype=torch.int64)), 64)

    back = from_letterbox(square.boxes_M4 / 64, size=size, image_size=64)

    torch.testing.assert_close(back, boxes, atol=1e-3 * max(size), rtol=0)


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (3000, 2000), (1000, 3), (37, 91)])
def test_a_box_around_all_of_a_file_comes_back_as_its_size(
    size: tuple[int, int], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", longest=longest_kept(64)).image
    whole = torch.tensor([[0.0, 0.0, picture.shape[2], picture.shape[1]]])
    square = letterbox(Sample(image=picture, boxes_M4=whole, labels_M=torch.zeros(1, dtype=torch.int64)), 64)
    around = Detections(
        image_K=torch.zeros(1, dtype=torch.int64),
        boxes_K4=square.boxes_M4 / 64,
        scores_K=torch.ones(1),
        classes_K=torch.zeros(1, dtype=torch.int64),
    )
    monkeypatch.setattr(Detector, "detect", lambda *_, **__: around)

    (found,) = load_detector(weights)([tmp_path / "a.png"])

    assert found.size == size
    torch.testing.assert_close(found.boxes_K4, torch.tensor([[0.0, 0.0, *size]]))


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (torch.zeros(3, 64, 64), r"float32 \(3, 64, 64\)"),
        (torch.zeros(64, 64, 3, dtype=torch.uint8), r"uint8 \(64, 64, 3\)"),
        (torch.zeros(3, 0, 64, dtype=torch.uint8), r"uint8 \(3, 0, 64\)"),
    ],
)
def test_a_tensor_that_is_no_image_is_refused(image: torch.Tensor, found: str, weights: Path) -> None:
    with pytest.raises(ValueError, match=rf"image: {found} is not RGB in uint8 \(3, height, width\)"):
        load_detector(weights)([image])


@pytest.mark.parametrize("images", ["a.png", Path("a.png"), b"a.png"], ids=["text", "path", "bytes"])
def test_what_is_no_list_is_refused_with_what_is_allowed(images: object, weights: Path) -> None:
    message = f"images: {images!r}; allowed: a batch (N, 3, height, width), or a list of images and image files"

    with pytest.raises(ValueError, match=re.escape(message)):
        load_detector(weights)(images)


def test_a_score_outside_0_to_1_is_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"min_score: 25 is outside 0..1"):
        load_detector(weights)([], min_score=25)


def test_weights_of_another_network_are_refused_by_name(weights: Path, tmp_path: Path) -> None:
    whole = checkpoint.load(weights)
    checkpoint.save(replace(whole, names=("a", "b")), tmp_path / "odd.pt")

    with pytest.raises(checkpoint.CheckpointError, match=r"odd.pt: weights: blocks.* has shape .* needs"):
        load_detector(tmp_path / "odd.pt")


def test_a_file_without_names_and_anchors_is_refused_with_what_it_lacks(weights: Path, tmp_path: Path) -> None:
    content = torch.load(weights, weights_only=True)
    del content["names"], content["checksum"]
    torch.save(content | {"checksum": checkpoint._checksum(content)}, tmp_path / "old.pt")

    with pytest.raises(checkpoint.CheckpointError, match=r"old.pt: .*'names'"):
        load_detector(tmp_path / "old.pt")


def test_averages_and_not_the_last_step_are_detected_with(weights: Path) -> None:
    whole = checkpoint.load(weights.with_name("lane.pt"))

    kept = load_detector(weights.with_name("lane.pt")).network.lane_state(0)

    assert all(torch.equal(kept[name], value) for name, value in whole.averaged_weights.items())
    assert not all(torch.equal(kept[name], value) for name, value in whole.weights.items())


def test_the_lines_of_the_readme_detect(weights: Path, tmp_path: Path) -> None:
    scene = open_dataset("digits-1", image_size=64).val.sample(0, 0).image
    Image.fromarray(scene.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    block = re.sub(r'"runs/.*?\.pt"', repr(str(weights)), block)

    scope: dict[str, object] = {}
    exec(re.sub(r'"photos/.*?"', repr(str(tmp_path / "a.png")), block), scope)

    assert scope["found"].boxes_K4.shape[1] == 4  # type: ignore[attr-defined]
