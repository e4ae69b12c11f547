"""The layer tables of YOLOv3, YOLOv3-SPP, YOLOv3-tiny and their compact kin, as darknet's cfg files list them.

A table is a tuple of rows; a row's place is its index, and shortcuts and routes name the rows they read.
Source: darknet cfg/yolov3.cfg, yolov3-spp.cfg, yolov3-tiny.cfg (Redmon & Farhadi 2018, figure of section 2.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ANCHORS_PER_SCALE = 3
DARKNET53_BLOCKS = (1, 2, 8, 8, 4)  # residual blocks at each size, table 1
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
        is_normalised: Whether a normalisation and leaky ReLU follow a convolution; in an output only a bias does.
        sources: Rows read, besides the row before: the other summand of add, all inputs of route.
        scale: Number of the head for a yolo row.
    """

    kind: str
    filters: int
    size: int = 1
    stride: int = 1
    is_normalised: bool = True
    sources: tuple[int, ...] = ()
    scale: int = 0


class _Table:
    """Rows under construction; every method returns the index of the row it added."""

    def __init__(self, width: float) -> None:
        self.rows: list[Row] = []
        self._width = width

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

    def head(self, filters: int, scale: int) -> int:
        self.add_row(Row(kind="conv", filters=filters, is_normalised=False))
        return self.add_row(Row(kind="yolo", filters=filters, scale=scale))

    def finer(self, source: int, filters: int, lateral: int) -> int:
        """Joins an upsampled branch from `source` with the backbone's row `lateral`."""
        self.route(source)
        self.conv(filters, 1)
        return self.route(self.upsample(), lateral)


def _yolov3(num_outputs: int, *, width: float, blocks: tuple[int, ...], has_spp: bool) -> tuple[Row, ...]:
    table = _Table(width)
    table.conv(32, 3)
    stages = []
    for stage, num_blocks in enumerate(blocks):
        filters = 64 * 2**stage
        last = table.conv(filters, 3, 2)
        for _ in range(num_blocks):
            last = table.residual(filters)
        stages.append(last)
    branch = _neck(table, 512, has_spp=has_spp)
    table.conv(1024, 3)
    table.head(num_outputs, 0)
    for scale, filters in ((1, 256), (2, 128)):
        table.finer(branch, filters, stages[-1 - scale])
        branch = _neck(table, filters, has_spp=False)
        table.conv(filters * 2, 3)
        table.head(num_outputs, scale)
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


def _tiny(num_outputs: int, *, width: float) -> tuple[Row, ...]:
    table = _Table(width)
    for filters in (16, 32, 64, 128):
        table.conv(filters, 3)
        table.pool(2, 2)
    lateral = table.conv(256, 3)
    table.pool(2, 2)
    table.conv(512, 3)
    table.pool(2, 1)
    table.conv(1024, 3)
    branch = table.conv(256, 1)
    table.conv(512, 3)
    table.head(num_outputs, 0)
    table.finer(branch, 128, lateral)
    table.conv(256, 3)
    table.head(num_outputs, 1)
    return tuple(table.rows)


_TABLES: dict[str, Callable[[int], tuple[Row, ...]]] = {
    "yolov3": lambda o: _yolov3(o, width=1, blocks=DARKNET53_BLOCKS, has_spp=False),
    "yolov3-spp": lambda o: _yolov3(o, width=1, blocks=DARKNET53_BLOCKS, has_spp=True),
    "yolov3-tiny": lambda o: _tiny(o, width=1),
    "yolov3-compact": lambda o: _yolov3(o, width=1 / 16, blocks=(1, 1, 2, 2, 1), has_spp=False),
    "yolov3-tiny-compact": lambda o: _tiny(o, width=1 / 8),
}


def rows_of(model: str, num_classes: int) -> tuple[Row, ...]:
    """The layer table of a network.

    Args:
        model: A name of `detector.plan.MODELS`.
        num_classes: Classes the heads tell apart, at least 1.

    Raises:
        ValueError: The model is not known.
    """
    if model not in _TABLES:
        raise ValueError(f"model: {model!r} is not one of {list(_TABLES)}")
    return _TABLES[model](ANCHORS_PER_SCALE * (5 + num_classes))


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
    """Width and height of the published anchors as fractions of the image, ordered as the heads are."""
    anchors = TINY_ANCHORS if "tiny" in model else ANCHORS
    return tuple((w / ANCHOR_IMAGE_SIZE, h / ANCHOR_IMAGE_SIZE) for w, h in anchors)
