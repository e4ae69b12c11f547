"""The layer tables of YOLOv3, YOLOv3-SPP, YOLOv3-tiny and their kin with a third head or few filters, as cfg files do.

With another head than darknet's the rows of a scale's head are others, and those before the first head the same.
A table is a tuple of rows; a row's place is its index, and shortcuts and routes name the rows they read.
Source: darknet cfg/yolov3.cfg, yolov3-spp.cfg, yolov3-tiny.cfg (Redmon & Farhadi 2018, figure of section 2.4);
AlexeyAB/darknet cfg/yolov3-tiny_3l.cfg.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from detector.choices.heads import HEADS, OUTPUTS
from detector.plan import NUM_HEADS

ANCHORS_PER_SCALE = 3
DARKNET53_BLOCKS = (1, 2, 8, 8, 4)  # residual blocks at each size, table 1
PUBLISHED_DEPTH = 2  # 3x3 convolutions of a branch where heads have branches; the tiny networks have one
# In pixels of a 416 pixel image (section 2.3), largest first, as the heads are ordered.
ANCHORS = ((116, 90), (156, 198), (373, 326), (30, 61), (62, 45), (59, 119), (10, 13), (16, 30), (33, 23))
TINY_ANCHORS = ((81, 82), (135, 169), (344, 319), (10, 14), (23, 27), (37, 58))  # yolov3-tiny.cfg
ANCHOR_IMAGE_SIZE = 416


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer.

    Attributes:
        kind: conv, maxpool, upsample, add, route or yolo.
        filters: Output channels of one lane.
        size, stride: Side and stride of the kernel in pixels; an upsampling's factor is its stride.
        outputs: Which of a head's outputs a convolution gives, a key of `OUTPUTS`; empty for any other convolution.
        sources: Rows read, besides the row before: the other summand of add, all inputs of route. Of yolo the parts of
            its outputs, where it has several, and then not the row before.
        scale: Number of the head for a yolo row.
    """

    kind: str
    filters: int
    size: int = 1
    stride: int = 1
    outputs: str = ""
    sources: tuple[int, ...] = ()
    scale: int = 0

    @property
    def is_normalised(self) -> bool:
        """Whether a normalisation and leaky ReLU follow a convolution; an output has only a bias."""
        return not self.outputs


class _Table:
    """Rows under construction; every method returns the index of the row it added."""

    def __init__(self, num_classes: int, head: str, width: float) -> None:
        self.rows: list[Row] = []
        self._num_outputs, self._head, self._width = 5 + num_classes, HEADS[head], width

    def channels(self, filters: int) -> int:
        return filters if self._width == 1 else max(round(filters * self._width), 8)

    def add_row(self, row: Row) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def conv(self, filters: int, size: int, stride: int = 1) -> int:
        return self.add_row(Row(kind="conv", filters=self.channels(filters), size=size, stride=stride))

    def pool(self, size: int, stride: int) -> int:
        return self.add_row(Row(kind="maxpool", filters=self.rows[-1].filters, size=size, stride=stride))

    def route(self, *sources: int) -> int:
        filters = sum(self.rows[source].filters for source in sources)
        return self.add_row(Row(kind="route", filters=filters, sources=sources))

    def upsample(self) -> int:
        return self.add_row(Row(kind="upsample", filters=self.rows[-1].filters, stride=2))

    def residual(self, filters: int) -> int:
        start = len(self.rows) - 1
        self.conv(filters // 2, 1)
        last = self.conv(filters, 3)
        return self.add_row(Row(kind="add", filters=self.rows[last].filters, sources=(start,)))

    def output(self, part: str) -> int:
        filters = ANCHORS_PER_SCALE * len(range(self._num_outputs)[OUTPUTS[part]])
        return self.add_row(Row(kind="conv", filters=filters, outputs=part))

    def head(self, filters: int, scale: int, *, depth: int) -> int:
        """From the features of a scale to its outputs; `filters` and `depth` are what the functions of `HEADS` take."""
        parts = self._head(self, filters, depth)
        sources = parts if len(parts) > 1 else ()
        return self.add_row(
            Row(kind="yolo", filters=ANCHORS_PER_SCALE * self._num_outputs, sources=sources, scale=scale)
        )

    def finer(self, source: int, filters: int, lateral: int) -> int:
        """Joins an upsampled branch from `source` with the backbone's row `lateral`."""
        self.route(source)
        self.conv(filters, 1)
        return self.route(self.upsample(), lateral)


def _yolov3(table: _Table, *, blocks: tuple[int, ...], has_spp: bool) -> tuple[Row, ...]:
    table.conv(32, 3)
    stages = []
    for stage, num_blocks in enumerate(blocks):
        filters = 64 * 2**stage
        last = table.conv(filters, 3, 2)
        for _ in range(num_blocks):
            last = table.residual(filters)
        stages.append(last)
    branch = _neck(table, 512, has_spp=has_spp)
    table.head(512, 0, depth=PUBLISHED_DEPTH)
    for scale, filters in ((1, 256), (2, 128)):
        table.finer(branch, filters, stages[-1 - scale])
        branch = _neck(table, filters, has_spp=False)
        table.head(filters, scale, depth=PUBLISHED_DEPTH)
    return tuple(table.rows)


def _neck(table: _Table, filters: int, *, has_spp: bool) -> int:
    table.conv(filters, 1)
    table.conv(filters * 2, 3)
    branch = table.conv(filters, 1)
    if has_spp:
        pools = [table.pool(5, 1)]
        for size in (9, 13):
            table.route(branch)
            pools.append(table.pool(size, 1))
        table.route(*reversed(pools), branch)
        table.conv(filters, 1)
    table.conv(filters * 2, 3)
    return table.conv(filters, 1)


def _tiny(table: _Table, *, scales: int) -> tuple[Row, ...]:
    laterals = []
    for filters in (16, 32, 64, 128, 256):
        laterals.append(table.conv(filters, 3))
        table.pool(2, 2)
    table.conv(512, 3)
    table.pool(2, 1)
    table.conv(1024, 3)
    branch = table.conv(256, 1)
    table.head(256, 0, depth=1)
    for scale in range(1, scales):
        table.finer(branch, 128, laterals[-scale])
        filters = 128 // scale
        branch = len(table.rows)  # what the head begins with, of the coupled one its 3x3 convolution
        table.head(filters, scale, depth=1)
    return tuple(table.rows)


# By name the width of all layers, and what lists them.
_TABLES: dict[str, tuple[float, Callable[[_Table], tuple[Row, ...]]]] = {
    "yolov3": (1, partial(_yolov3, blocks=DARKNET53_BLOCKS, has_spp=False)),
    "yolov3-spp": (1, partial(_yolov3, blocks=DARKNET53_BLOCKS, has_spp=True)),
    "yolov3-tiny": (1, partial(_tiny, scales=2)),
    "yolov3-tiny-3l": (1, partial(_tiny, scales=3)),
    "yolov3-compact": (1 / 16, partial(_yolov3, blocks=(1, 1, 2, 2, 1), has_spp=False)),
    "yolov3-tiny-compact": (1 / 8, partial(_tiny, scales=2)),
}


def rows_of(model: str, num_classes: int, head: str = "coupled") -> tuple[Row, ...]:
    """The layer table of a network.

    Args:
        model: A name of `detector.plan.MODELS`.
        num_classes: Classes the heads tell apart, at least 1.
        head: What the heads are made of, a key of `HEADS`; darknet's is coupled.

    Raises:
        ValueError: The model is not known.
    """
    if model not in _TABLES:
        raise ValueError(f"model: {model!r} is not one of {list(_TABLES)}")
    width, listed = _TABLES[model]
    return listed(_Table(num_classes, head, width))


def num_frozen_rows(freeze: int | str, rows: Sequence[Row]) -> int:
    """Number of leading rows that are not trained.

    Args:
        freeze: none, backbone (all before the first head's neck), or the number itself.
        rows: The layer table.

    Raises:
        ValueError: The number reaches a head.
    """
    if isinstance(freeze, int):
        most = next(index for index, row in enumerate(rows) if not row.is_normalised)
        if freeze > most:
            raise ValueError(f"freeze: {freeze} layers reach a head; allowed: up to {most}")
        return freeze
    if freeze == "none":
        return 0
    adds = [index for index, row in enumerate(rows) if row.kind == "add"]
    # The backbone ends with its last shortcut; that of the tiny networks, which have none, before the first 1x1.
    return adds[-1] + 1 if adds else next(i for i, row in enumerate(rows) if row.kind == "conv" and row.size == 1)


def published_anchors(model: str) -> tuple[tuple[float, float], ...]:
    """Width and height of the published anchors as fractions of the image, ordered as the heads are.

    Those of yolov3-tiny-3l are YOLOv3's, which are of COCO: its own file has those of a data set that is not published.
    """
    anchors = {2: TINY_ANCHORS, 3: ANCHORS}[NUM_HEADS[model]]
    return tuple((w / ANCHOR_IMAGE_SIZE, h / ANCHOR_IMAGE_SIZE) for w, h in anchors)
