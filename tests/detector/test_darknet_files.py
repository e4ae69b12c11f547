"""Darknet's weight files: the published sizes, back to the same bits, and errors that name the layer."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detector.choices.codings import CODINGS
from detector.models import build_network, rows_of
from detector.models.darknet_files import (
    WeightsError,
    cfg_text,
    read_cfg_heads,
    read_weights,
    stored_layers,
    weights_bytes,
)
from detector.models.network import HeadPrior, Network, initialise_lane

MODEL = "yolov3-tiny-compact"
HEADER = 20  # bytes


def a_network(model: str = MODEL, num_classes: int = 2) -> Network:
    network = build_network(model, num_classes=num_classes)
    prior = HeadPrior(boxes_per_image=2.0, class_share=(1 / num_classes,) * num_classes)
    initialise_lane(network, 0, seed=3, prior=prior, image_size=64)
    for name, value in network.lane_state(0).items():
        if "norm" in name:
            drawn = torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name)))
            value.copy_(drawn.abs() if name.endswith("var") else drawn)
    return network


def write(path: Path, network: Network, *, seen: int = 0) -> Path:
    path.write_bytes(b"".join(weights_bytes(network.rows, network.lane_state(0), images_seen=seen)))
    return path


def ends_of(model: str, num_classes: int) -> dict[int, int]:
    """Bytes of a file that ends after each convolution, by its row."""
    ends, total = {}, HEADER
    for layer in stored_layers(rows_of(model, num_classes)):
        total += 4 * layer.num_values
        ends[layer.index] = total
    return ends


def test_files_have_the_published_number_of_bytes() -> None:
    whole = {model: max(ends_of(model, 80).values()) for model in ("yolov3", "yolov3-spp", "yolov3-tiny")}

    assert whole == {"yolov3": 248_007_048, "yolov3-spp": 252_209_544, "yolov3-tiny": 35_434_956}
    assert ends_of("yolov3", 80)[73] == 162_482_580  # darknet53.conv.74


@pytest.mark.parametrize(("model", "size"), [("yolov3-tiny", 35_434_956), ("yolov3-compact", None)])
def test_what_is_written_is_read_back_to_the_last_bit(model: str, size: int | None, tmp_path: Path) -> None:
    network = a_network(model, 80).to(memory_format=torch.channels_last)
    path = write(tmp_path / "a.weights", network, seen=32_013_312)

    read = read_weights(path, model, num_classes=80)

    assert size is None or path.stat().st_size == size
    assert path.read_bytes()[:HEADER] == struct.pack("<iiiq", 0, 2, 0, 32_013_312)
    own = network.lane_state(0)
    assert read.state.keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in read.state.items())
    again = b"".join(weights_bytes(network.rows, read.state, images_seen=32_013_312))
    assert again == path.read_bytes()


def test_the_first_values_are_those_of_the_first_layer_in_darknets_order(tmp_path: Path) -> None:
    network = a_network()
    values = struct.iter_unpack("<f", write(tmp_path / "a.weights", network).read_bytes()[HEADER:])

    block = network.blocks["0"]
    first = [block.norm.bias, block.norm.weight, block.norm.running_mean, block.norm.running_var, block.conv.weight]
    expected: Tensor = torch.cat([part.detach().flatten() for part in first])
    assert [next(values)[0] for _ in expected] == expected.tolist()


def test_a_file_of_other_classes_is_read_with_the_heads_it_has(tmp_path: Path) -> None:
    network = a_network(num_classes=80)

    read = read_weights(write(tmp_path / "a.weights", network), MODEL, num_classes=2)

    assert read.num_classes == 80
    own = network.lane_state(0)
    assert all(torch.equal(value, own[name]) for name, value in read.state.items())


def test_an_older_header_is_four_bytes_shorter(tmp_path: Path) -> None:
    network = a_network()
    path = write(tmp_path / "a.weights", network)
    path.write_bytes(struct.pack("<iiii", 0, 1, 0, 7) + path.read_bytes()[HEADER:])

    read = read_weights(path, MODEL, num_classes=2)

    assert torch.equal(read.state["blocks.0.conv.weight"], network.lane_state(0)["blocks.0.conv.weight"])


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_part_is_read_where_it_ends_after_a_layer_and_refused_by_name_elsewhere(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "parts"
    folder.mkdir(exist_ok=True)
    network, ends = a_network(), ends_of(MODEL, 2)
    whole = write(folder / "whole.weights", network).read_bytes()
    size = data.draw(st.one_of(st.sampled_from(sorted(ends.values())), st.integers(HEADER, len(whole))))
    part = folder / "part.weights"
    part.write_bytes(whole[:size])

    if size in ends.values():
        read = read_weights(part, MODEL, num_classes=2)
        assert ends[read.num_rows - 1] == size
        assert all(torch.equal(value, network.lane_state(0)[name]) for name, value in read.state.items())
    else:
        broken = next(index for index, end in ends.items() if size < end)
        with pytest.raises(WeightsError, match=rf"part.weights: ends inside a layer .* of layer {broken} \("):
            read_weights(part, MODEL, num_classes=2)


def test_a_file_that_cannot_be_used_says_what_was_found_and_what_is_allowed(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.weights", a_network()).read_bytes()
    cases = {
        "too_long": (whole + b"\0" * 4, r"is too long for .*; a whole file of .* with 2 classes holds"),
        "short": (b"\0" * 12, "12 bytes are less than the header"),
        "text": (b"name: value, and so on and on", "is no darknet file: its header says version"),
        "shifted": (whole[:HEADER] + b"\xbf" * 4 + whole[HEADER:-4], r"layer \d+ .* has variances down to -"),
        "nan": (whole[:HEADER] + b"\xff" * 4 + whole[HEADER + 4 :], r"layer 0 \(.*not finite"),
    }

    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=f"{name}: .*{message}"):
            read_weights(tmp_path / name, MODEL, num_classes=2)
    with pytest.raises(WeightsError, match=r"none.weights: cannot be read: No such file"):
        read_weights(tmp_path / "none.weights", MODEL, num_classes=2)


def test_the_cfg_lists_every_layer_with_anchors_in_pixels_finest_first() -> None:
    rows = rows_of("yolov3-tiny", 80)
    anchors = (((0.5, 0.25),) * 3, ((0.125, 0.0625),) * 3)

    sections = cfg_text(rows, anchors, image_size=416, coding="exp").split("\n\n")

    assert len(sections) == len(rows) + 1
    assert sections[0].startswith("[net]\n") and "width=416\nheight=416\n" in sections[0]
    assert sections[1] == ("[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\nstride=1\npad=1\nactivation=leaky")
    assert sections[17].splitlines() == [
        "[yolo]",
        "mask=3,4,5",
        "anchors=52,26,  52,26,  52,26,  208,104,  208,104,  208,104",
        "num=6",
        "classes=80",
    ]
    assert "mask=0,1,2" in sections[-1]


@pytest.mark.parametrize(
    "section",
    [
        "mask=0,1\n",
        "anchors=1,2\n",
        "mask=1\nanchors=1,2\n",
        "mask=-1\nanchors=1,2\n",
        "mask=0\nanchors=1,0\n",
        "mask=0\nanchors=1,1e999\n",
        "mask=0\nanchors=1,2,3\n",
        "mask=a\nanchors=1,2\n",
    ],
)
def test_a_head_that_does_not_name_its_anchors_is_refused(section: str, tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(f"[yolo]\n{section}")

    with pytest.raises(WeightsError, match=r"a.cfg: has no \[yolo\] sections that name anchors"):
        read_cfg_heads(tmp_path / "a.cfg")


@pytest.mark.parametrize("keys", ["scale_x_y=1.5", "new_coords=1", "scale_x_y=2\nnew_coords=0"])
def test_a_cfg_may_code_boxes_as_nothing_here_does(keys: str, tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(f"[yolo]\nmask=0\nanchors=1,2\n{keys}\n")

    assert read_cfg_heads(tmp_path / "a.cfg").coding == ""


def test_a_cfg_of_bounded_boxes_takes_sigmoids_before_the_head() -> None:
    text = cfg_text(rows_of("yolov3-tiny", 80), (((0.5, 0.25),) * 3,) * 2, image_size=416, coding="bounded")

    assert text.count("activation=logistic\n\n[yolo]") == text.count("scale_x_y=2\nnew_coords=1") == 2
    assert "activation=linear\n\n[yolo]" not in text


@given(
    sizes=st.lists(st.tuples(*[st.floats(1e-3, 2.0)] * 2), min_size=9, max_size=9),
    coding=st.sampled_from([*CODINGS]),
)
@settings(deadline=None)
def test_anchors_and_coding_of_a_cfg_are_read_back(
    sizes: list[tuple[float, float]], coding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.cfg"
    anchors = [tuple(sizes[first : first + 3]) for first in (0, 3, 6)]
    path.write_text(cfg_text(rows_of("yolov3-compact", 2), anchors, image_size=416, coding=coding))

    read = read_cfg_heads(path)

    assert read.coding == coding
    for mine, theirs in zip(anchors, read.anchors, strict=True):
        assert [side * 416 for size in mine for side in size] == pytest.approx(
            [side for size in theirs for side in size]
        )
