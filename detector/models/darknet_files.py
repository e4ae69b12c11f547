"""Darknet's files of a network: `.weights` with every convolution's values, and `.cfg` that lists its layers.

A `.weights` file of version 0.2 is a header (major, minor and revision as int32, images seen as int64) and then, in the
order of the layer table, for each convolution its bias, where it is normalised also scale, mean and variance, and its
kernels (filters, channels, height, width), all float32, little-endian. A file may end after any layer.
Source: darknet src/parser.c (load_weights_upto, load_convolutional_weights); darknet cfg/yolov3.cfg.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detector.models.darknet import ANCHORS_PER_SCALE, Row, rows_of
from detector.text_files import TextFileError, read_bytes, read_text

_VERSION, _SEEN, _SEEN_BEFORE = struct.Struct("<iii"), struct.Struct("<q"), struct.Struct("<i")
_BYTES = 4  # of a float32
MAX_BYTES = 2**30  # four times the largest network with 80 classes
# What a cfg says of our box codings. The sigmoid of `exp` is the [yolo] layer's own; with new_coords that layer expects
# it of the convolution before, and squares sides (AlexeyAB/darknet src/yolo_layer.c, get_yolo_box; yolov4-csp.cfg).
CFG_CODINGS: Mapping[str, Mapping[str, int]] = {
    "exp": {},
    "bounded": {"scale_x_y": 2, "new_coords": 1},
    "wide": {"scale_x_y": 3, "new_coords": 1},
}
_NORMALISED = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var")


class WeightsError(ValueError):
    """A file of weights cannot be used; the text names the file, what was found in it and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A convolution as a file stores it.

    Attributes:
        index: Index of its row in the layer table.
        text: The layer in words, for messages.
        shapes: Shape of each tensor by its name in a one-lane network, in the file's order.
    """

    index: int
    text: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def num_values(self) -> int:
        """Number of values in the file."""
        return sum(math.prod(shape) for shape in self.shapes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class DarknetWeights:
    """What a `.weights` file holds.

    Attributes:
        state: Tensors by their names in a one-lane network.
        num_rows: Rows of the layer table up to and with the last convolution that is there.
        num_classes: Number of classes that its heads tell apart; that of the network asked for where the file ends
            before its heads.
    """

    state: Mapping[str, Tensor]
    num_rows: int
    num_classes: int


def stored_layers(rows: Sequence[Row]) -> tuple[StoredLayer, ...]:
    """The convolutions of a layer table in the order that a file stores them."""
    return tuple(_stored_layers(rows))


def _stored_layers(rows: Sequence[Row]) -> Iterator[StoredLayer]:
    channels = 3
    for index, row in enumerate(rows):
        if row.kind == "conv":
            names = _NORMALISED if row.is_normalised else ("bias",)
            shapes: dict[str, tuple[int, ...]] = {f"blocks.{index}.{name}": (row.filters,) for name in names}
            shapes[f"blocks.{index}.conv.weight"] = (row.filters, channels, row.size, row.size)
            text = f"layer {index} (convolution of {row.filters} filters, {row.size}x{row.size})"
            yield StoredLayer(index=index, text=text, shapes=shapes)
        channels = row.filters


def weights_bytes(rows: Sequence[Row], state: Mapping[str, Tensor], *, images_seen: int) -> Iterator[bytes]:
    """The pieces of a `.weights` file of version 0.2.

    Args:
        rows: The layer table.
        state: A one-lane network's tensors by name; other types than float32 are rounded to it.
        images_seen: Number of images it was trained on, repeats counted.
    """
    yield _VERSION.pack(0, 2, 0) + _SEEN.pack(images_seen)
    for layer in stored_layers(rows):
        for name in layer.shapes:
            yield state[name].cpu().numpy().astype("<f4").tobytes()  # in C's order, whatever the tensor's


def read_weights(path: Path, model: str, *, num_classes: int) -> DarknetWeights:
    """Reads a `.weights` file, whole or ended after a layer.

    Args:
        path: Path of the `.weights` file.
        model: The network that it is of, a name of `detector.plan.MODELS`.
        num_classes: Classes of the network that is to start from it; the file may be of another number.

    Raises:
        WeightsError: It is missing, of another network or damaged.
    """
    try:
        content = read_bytes(path, max_bytes=MAX_BYTES)
    except TextFileError as error:
        raise WeightsError(f"{path}: {error}") from None
    start = _header_size(path, content)
    layers, classes = _layers_there(path, len(content) - start, model, num_classes)
    values = np.frombuffer(content, dtype="<f4", offset=start)
    state: dict[str, Tensor] = {}
    place = 0
    for layer in layers:
        for name, shape in layer.shapes.items():
            size = math.prod(shape)
            state[name] = torch.from_numpy(values[place : place + size].astype(np.float32)).view(shape)
            place += size
        _check_plausible(path, layer, state)
    return DarknetWeights(state=state, num_rows=layers[-1].index + 1, num_classes=classes)


def _header_size(path: Path, content: bytes) -> int:
    needed = _VERSION.size + _SEEN.size
    if len(content) < needed:
        raise WeightsError(f"{path}: {len(content)} bytes are less than the header of a darknet file, {needed}")
    major, minor, revision = _VERSION.unpack_from(content)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        found = f"version {major}.{minor}.{revision}"
        raise WeightsError(f"{path}: is no darknet file: its header says {found}; allowed: such as 0.2.0")
    return _VERSION.size + (_SEEN if major * 10 + minor >= 2 else _SEEN_BEFORE).size


def _layers_there(path: Path, num_bytes: int, model: str, num_classes: int) -> tuple[tuple[StoredLayer, ...], int]:
    """The layers that a file of this many bytes after its header holds, and the number of classes it is of."""
    own = stored_layers(rows_of(model, num_classes))
    ends = list(accumulate(layer.num_values for layer in own))
    num_values, rest = divmod(num_bytes, _BYTES)
    if not rest and num_values in ends:
        return own[: ends.index(num_values) + 1], num_classes
    per_class = _whole(model, 2) - _whole(model, 1)
    classes, left = divmod(num_values - _whole(model, 1), per_class)
    if not rest and not left and classes >= 0:
        return stored_layers(rows_of(model, classes + 1)), classes + 1
    before = 0
    whole = f"a whole file of {model} with {num_classes} classes holds {ends[-1] * _BYTES:,}"
    for layer, end in zip(own, ends, strict=True):
        if num_bytes < end * _BYTES:
            found = f"{num_bytes - before * _BYTES:,} of the {layer.num_values * _BYTES:,} bytes of {layer.text}"
            raise WeightsError(
                f"{path}: ends inside a layer of {model}: it has {found}; {whole} after its header, and a part of one "
                f"ends after a layer"
            )
        before = end
    raise WeightsError(f"{path}: is too long for {model}: {num_bytes:,} bytes after its header; {whole}")


def _whole(model: str, num_classes: int) -> int:
    return sum(layer.num_values for layer in stored_layers(rows_of(model, num_classes)))


def _check_plausible(path: Path, layer: StoredLayer, state: Mapping[str, Tensor]) -> None:
    """What is read at the wrong places of a file of fitting length shows as variances below zero."""
    for name in layer.shapes:
        low = float(state[name].min())
        if not bool(torch.isfinite(state[name]).all()) or (name.endswith("running_var") and low < 0):
            what = "variances down to" if name.endswith("running_var") else "values that are not finite, such as"
            raise WeightsError(f"{path}: {layer.text} has {what} {low:g}: it is damaged or of another network")


def cfg_text(
    rows: Sequence[Row], anchors: Sequence[Sequence[tuple[float, float]]], *, image_size: int, coding: str
) -> str:
    """The `.cfg` of a network, to detect with.

    Args:
        rows: The layer table.
        anchors: Width and height of each scale's anchors as fractions of the image, coarsest scale first.
        image_size: Side of the square images in pixels; anchors are written in pixels of it.
        coding: How raw outputs become boxes; a key of `CFG_CODINGS`.
    """
    net = {"batch": 1, "subdivisions": 1, "width": image_size, "height": image_size, "channels": 3}
    flat = [size for scale in reversed(anchors) for size in scale]  # finest first, as darknet lists them
    sizes = ",  ".join(f"{w * image_size:.9g},{h * image_size:.9g}" for w, h in flat)
    sections = [_section("net", net)]
    for index, row in enumerate(rows):
        first = (len(anchors) - 1 - row.scale) * ANCHORS_PER_SCALE
        mask = ",".join(str(first + number) for number in range(ANCHORS_PER_SCALE))
        head = {"mask": mask, "anchors": sizes, "num": len(flat), **CFG_CODINGS[coding]}
        sections.append(_row_section(index, row, head))
    return "\n".join(sections)


@dataclass(frozen=True, slots=True, kw_only=True)
class CfgHeads:
    """What a `.cfg` says of its heads.

    Attributes:
        anchors: Width and height in pixels of the anchors of each head, in the file's order.
        coding: How raw outputs become boxes, a key of `CFG_CODINGS`; empty for another way.
    """

    anchors: tuple[tuple[tuple[float, float], ...], ...]
    coding: str


def read_cfg_heads(path: Path) -> CfgHeads:
    """The heads of a `.cfg`.

    Raises:
        WeightsError: It cannot be read, or a head does not name its anchors.
    """
    try:
        text = read_text(path)
    except TextFileError as error:
        raise WeightsError(f"{path}: {error}") from None
    sections = [section for section in text.split("[") if section.startswith("yolo]")]
    heads = [dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", section, re.M)) for section in sections]
    try:
        anchors, codings = tuple(map(_anchors_of, heads)), {_coding_of(head) for head in heads}
    except (KeyError, ValueError, IndexError):
        anchors, codings = (), set()
    if not anchors:
        raise WeightsError(f"{path}: has no [yolo] sections that name anchors, and of them by mask those of a head")
    return CfgHeads(anchors=anchors, coding=codings.pop() if len(codings) == 1 else "")


def _coding_of(head: Mapping[str, str]) -> str:
    said = {key: float(head.get(key, usual)) for key, usual in (("scale_x_y", "1"), ("new_coords", "0"))}
    for coding, keys in CFG_CODINGS.items():
        if said == {"scale_x_y": 1.0, "new_coords": 0.0, **keys}:
            return coding
    return ""


def _anchors_of(head: Mapping[str, str]) -> tuple[tuple[float, float], ...]:
    numbers = [float(word) for word in head["anchors"].split(",")]
    places = [int(word) for word in head["mask"].split(",")]
    if not all(0 < number < math.inf for number in numbers) or min(places) < 0:
        raise ValueError(numbers)
    sizes = list(zip(numbers[::2], numbers[1::2], strict=True))
    return tuple(sizes[place] for place in places)


def _row_section(index: int, row: Row, head: Mapping[str, object]) -> str:
    if row.kind == "conv":
        normalised = {"batch_normalize": 1} if row.is_normalised else {}
        shape = {"filters": row.filters, "size": row.size, "stride": row.stride, "pad": 1}
        of_head = "logistic" if "new_coords" in head else "linear"
        activation = "leaky" if row.is_normalised else of_head
        return _section("convolutional", {**normalised, **shape, "activation": activation})
    if row.kind == "add":
        return _section("shortcut", {"from": row.sources[0] - index, "activation": "linear"})
    if row.kind == "route":
        return _section("route", {"layers": ",".join(map(str, row.sources))})
    if row.kind == "maxpool":
        return _section("maxpool", {"size": row.size, "stride": row.stride})
    if row.kind == "upsample":
        return _section("upsample", {"stride": row.stride})
    return _section("yolo", {**head, "classes": row.filters // ANCHORS_PER_SCALE - 5})


def _section(name: str, values: Mapping[str, object]) -> str:
    return "".join([f"[{name}]\n", *(f"{key}={value}\n" for key, value in values.items())])
