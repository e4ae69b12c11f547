"""The networks against darknet's published layer tables, and lanes against separate networks."""

import re

import pytest
import torch

from detector.choices.class_losses import CLASS_PROBABILITIES
from detector.models import build_network, rows_of
from detector.models.darknet import Row
from detector.models.network import HeadPrior, initialise_lane, strides_of
from detector.plan import MODELS, NUM_HEADS
from tests.places import DATA

TABLES = DATA / "darknet_architectures.txt"
PRIOR = HeadPrior(boxes_per_image=2.0, class_share=(0.5, 0.5))


def num_stored_values(rows: tuple[Row, ...]) -> int:
    """Values a darknet weight file holds: 4 per normalised filter or 1 bias, and the kernels (parser.c)."""
    channels, total = 3, 0
    for row in rows:
        if row.kind == "conv":
            total += row.filters * (channels * row.size**2 + (4 if row.is_normalised else 1))
        channels = row.filters
    return total


def published_tables() -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for line in TABLES.read_text().splitlines():
        if heading := re.match(r"## (\S+):", line):
            rows = tables.setdefault(heading[1], [])
        elif line.strip():
            rows.append(line.strip())
    return tables


def as_published(rows: tuple[Row, ...], anchors_of_scale: dict[int, str]) -> list[str]:
    """Our table in the notation of the published one, with output channels and total stride worked out anew."""
    lines, strides = [], []
    stride = 1
    for index, row in enumerate(rows):
        if row.kind == "route":
            stride = strides[row.sources[0]]
        elif row.kind == "upsample":
            stride //= row.stride
        elif row.kind in ("conv", "maxpool"):
            stride *= row.stride
        strides.append(stride)
        sources = ",".join(str(source) for source in row.sources)
        words = {
            "conv": f"conv {row.filters} {row.size}/{row.stride}{'n' if row.is_normalised else 'l'}",
            "maxpool": f"maxpool {row.size}/{row.stride}",
            "upsample": "upsample x2",
            "add": f"add {sources}",
            "route": f"route {sources}",
            "yolo": f"yolo anchors {anchors_of_scale.get(row.scale)} (s{stride}; ",
        }[row.kind]
        lines.append(f"{index} {words}" + ("" if row.kind == "yolo" else f" -> {row.filters} s{stride}"))
    return lines


@pytest.mark.parametrize("model", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_every_layer_is_the_one_darknet_publishes(model: str) -> None:
    from detector.models.darknet import ANCHORS, TINY_ANCHORS

    flat = TINY_ANCHORS if "tiny" in model else ANCHORS
    anchors = {scale: " ".join(f"{w},{h}" for w, h in flat[3 * scale : 3 * scale + 3]) for scale in range(3)}
    published = published_tables()[model]

    ours = as_published(rows_of(model, 80), anchors)

    assert len(ours) == len(published)
    for mine, theirs in zip(ours, published, strict=True):
        assert theirs.startswith(mine)


def test_the_tiny_network_of_three_heads_goes_on_as_its_file_does() -> None:
    """AlexeyAB/darknet cfg/yolov3-tiny_3l.cfg, with its 33 outputs of 6 classes; its rows before are yolov3-tiny's."""
    rows = rows_of("yolov3-tiny-3l", 6)
    anchors = {0: "coarsest", 1: "middle", 2: "finest"}

    assert rows[:24] == rows_of("yolov3-tiny", 6)
    assert as_published(rows, anchors)[21:] == [
        "21 conv 256 3/1n -> 256 s16",
        "22 conv 33 1/1l -> 33 s16",
        "23 yolo anchors middle (s16; ",
        "24 route 21 -> 256 s16",
        "25 conv 128 1/1n -> 128 s16",
        "26 upsample x2 -> 128 s8",
        "27 route 26,6 -> 256 s8",
        "28 conv 128 3/1n -> 128 s8",
        "29 conv 33 1/1l -> 33 s8",
        "30 yolo anchors finest (s8; ",
    ]


@pytest.mark.parametrize(
    ("model", "stored"),
    [
        ("yolov3", 62_001_757),
        ("yolov3-spp", 63_052_381),
        ("yolov3-tiny", 8_858_734),
        ("yolov3-tiny-3l", 9_220_333),  # counted from its cfg with 80 classes
    ],
)
def test_weights_are_as_many_as_darknet_stores(model: str, stored: int) -> None:
    network = build_network(model, num_classes=80)

    assert num_stored_values(rows_of(model, 80)) == stored
    assert sum(value.numel() for value in network.state_dict().values()) == stored


@pytest.mark.parametrize("model", MODELS)
def test_heads_have_the_shape_their_stride_says(model: str) -> None:
    network = build_network(model, num_classes=2).eval()
    strides = strides_of(network.rows)

    with torch.no_grad():
        heads = network(torch.zeros(1, 3, 64, 64))

    assert strides == (32, 16, 8)[: NUM_HEADS[model]]
    assert [tuple(head.shape) for head in heads] == [(1, 1, 3, 64 // s, 64 // s, 7) for s in strides]


@pytest.mark.parametrize("model", ["yolov3-compact", "yolov3-tiny-compact"])
def test_compact_networks_have_about_a_tenth_to_a_third_of_a_million_values(model: str) -> None:
    assert 80_000 < num_stored_values(rows_of(model, 1)) < 400_000


@pytest.mark.parametrize("model", ["yolov3-compact", "yolov3-tiny-compact"])
def test_lanes_answer_as_separate_networks_do(model: str) -> None:
    fused = build_network(model, num_classes=2, lanes=3).double().to(memory_format=torch.channels_last)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64).to(memory_format=torch.channels_last)
    for lane in range(3):
        initialise_lane(fused, lane, seed=lane, prior=PRIOR, image_size=64)

    heads = fused(images)

    for lane in range(3):
        single = build_network(model, num_classes=2).double()
        initialise_lane(single, 0, seed=lane, prior=PRIOR, image_size=64)
        for mine, alone in zip(heads, single(images), strict=True):
            torch.testing.assert_close(mine[:, lane : lane + 1], alone, rtol=1e-9, atol=1e-9)


def test_a_fresh_network_expects_as_many_objects_as_the_labels_have() -> None:
    network = build_network("yolov3-tiny-compact", num_classes=2)
    initialise_lane(network, 0, seed=0, prior=PRIOR, image_size=64)
    for block in network.blocks.values():
        block.conv.weight.data.zero_()

    heads = network(torch.rand(1, 3, 64, 64))

    expected_objects = sum(float(head[..., 4].sigmoid().sum()) for head in heads)
    assert expected_objects == pytest.approx(2.0, rel=1e-4)
    assert torch.allclose(heads[0][..., 5:].sigmoid(), torch.tensor(0.5))


@pytest.mark.parametrize(("class_loss", "expected"), [("bce", [0.5, 0.3, 0.1]), ("softmax", [0.6, 0.3, 0.1])])
def test_a_fresh_network_gives_each_class_its_share_as_the_loss_understands_it(
    class_loss: str, expected: list[float]
) -> None:
    network = build_network("yolov3-tiny-compact", num_classes=3)
    prior = HeadPrior(boxes_per_image=2.0, class_share=(0.6, 0.3, 0.1), class_loss=class_loss)
    initialise_lane(network, 0, seed=0, prior=prior, image_size=64)
    for block in network.blocks.values():
        block.conv.weight.data.zero_()

    logits = network(torch.rand(1, 3, 64, 64))[0][0, 0, 0, 0, 0, 5:]

    assert CLASS_PROBABILITIES[class_loss](logits).tolist() == pytest.approx(expected, abs=1e-5)


def test_weights_of_another_network_are_refused() -> None:
    network = build_network("yolov3-tiny-compact", num_classes=2)
    other = build_network("yolov3-tiny-compact", num_classes=3)

    with pytest.raises(ValueError, match="has shape"):
        network.load_lane(0, other.lane_state(0))
    with pytest.raises(ValueError, match="do not fit"):
        network.load_lane(0, build_network("yolov3-compact", num_classes=2).lane_state(0))


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'yolov4' is not one of \['yolov3'"):
        rows_of("yolov4", 80)
