"""The places that predict boxes, anchors of the cells of all scales, in one row.

What is computed at each place is then computed once for all scales. The row is that of the heads in memory: coarsest
scale first, row of cells by row of cells, the anchors of a cell last.
Letters: T lanes, N images, A anchors of a scale, S cells a side, B anchors of all scales, K places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

from detector.boxes import EPS
from detector.choices.codings import CODINGS, LEARNED_SIZES


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Places of a network at an image size.

    Attributes:
        sides: For each scale the number of cells a side, coarsest first.
        anchors: For each scale the sizes (A, 2) as fractions of the image.
        coding: How raw outputs become boxes; a key of `CODINGS`.
    """

    sides: tuple[int, ...]
    anchors: Sequence[Tensor]
    coding: str

    @classmethod
    def of(cls, heads: Sequence[Tensor], anchors: Sequence[Tensor], *, coding: str) -> Grid:
        """The places of raw outputs (N, T, A, S, S, O) of every scale."""
        return cls(sides=tuple(head.shape[3] for head in heads), anchors=anchors, coding=coding)

    @property
    def places(self) -> list[int]:
        """How many places each scale has."""
        return [side * side * len(anchors_A2) for side, anchors_A2 in zip(self.sides, self.anchors, strict=True)]

    def of_anchors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is to be known of each anchor, those of all scales in a row, on the device of a tensor.

        Returns:
            Cells a side of its scale, its first place, and how far apart its places in neighbouring columns are, each
            of shape (B,), whole numbers; its width and height, (B, 2).
        """
        counts = tuple(map(len, self.anchors))
        side_B, first_B, apart_B = _anchor_rows(self.sides, counts, like.device).unbind(1)
        return side_B, first_B, apart_B, torch.cat(list(self.anchors))

    def learned(self, raw_NTK4: Tensor, boxes_NLK4: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs and the boxes to predict, both in what a squared error of the coding compares.

        Args:
            raw_NTK4: Raw box outputs of every place.
            boxes_NLK4: Boxes to predict (cxcywh), fractions of the image.

        Returns:
            Centres in cells of the place's scale, and sizes as `LEARNED_SIZES` has them, (N, T, K, 4) and (N, L, K, 4).
        """
        scales = list(zip(self.sides, self.anchors, strict=True))
        side_K1 = torch.cat([raw_NTK4.new_full((side**2 * len(anchors_A2), 1), side) for side, anchors_A2 in scales])
        anchors_K2 = torch.cat([anchors_A2.to(raw_NTK4.dtype).repeat(side**2, 1) for side, anchors_A2 in scales])
        raw_xy, raw_wh = raw_NTK4.split(2, -1)
        centre, size = boxes_NLK4.to(raw_NTK4.dtype).split(2, -1)
        # Decoded without their size, whose exp would bring 0 * inf into the gradient.
        predicted = self.boxes(torch.cat((raw_xy, torch.zeros_like(raw_wh)), -1))[..., :2]
        raw_size, true_size = LEARNED_SIZES[self.coding](raw_wh, size.clamp(min=EPS) / anchors_K2)
        return torch.cat((predicted * side_K1, raw_size), -1), torch.cat((centre * side_K1, true_size), -1)

    def by_scale(self, values_NTKX: Tensor) -> list[Tensor]:
        """Views of values in a row as each head has them, (N, T, A, S, S, X)."""
        parts = values_NTKX.split(self.places, 2)
        return [
            part.unflatten(2, (side, side, -1)).permute(0, 1, 4, 2, 3, 5)
            for part, side in zip(parts, self.sides, strict=True)
        ]

    def boxes(self, raw_NTK4: Tensor) -> Tensor:
        """Boxes as centre and size (cxcywh), fractions of the image, of the same shape."""
        heads = zip(self.by_scale(raw_NTK4), self.anchors, strict=True)
        return torch.cat([in_row(CODINGS[self.coding](raw, anchors_A2)) for raw, anchors_A2 in heads], 2)


@lru_cache(maxsize=64)  # a size of images has one, which would else be copied to the device with every batch
def _anchor_rows(sides: tuple[int, ...], counts: tuple[int, ...], device: torch.device) -> Tensor:
    """For each anchor its cells a side, first place and distance of places, (B, 3), by cells and anchors of scales."""
    firsts = accumulate((side * side * count for side, count in zip(sides, counts, strict=True)), initial=0)
    rows = [
        (side, first + anchor, count)
        for side, count, first in zip(sides, counts, firsts, strict=False)
        for anchor in range(count)
    ]
    return torch.tensor(rows).to(device, non_blocking=True)


def in_row(head_NTASSX: Tensor) -> Tensor:
    """The places of a head in the order of its memory, (N, T, K, X)."""
    return head_NTASSX.permute(0, 1, 3, 4, 2, 5).flatten(2, 4)
