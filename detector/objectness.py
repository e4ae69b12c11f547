"""How objectness is spread over the predictions that own a label, and over all others, by scale.

Letters: S scales, G groups (others, then matched), K predictions; heads are (N, 1, A, cells, cells, O).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

import torch
from torch import Tensor

from detector.observations import Objectness

BINS = 20  # of objectness
COARSE_BINS = 10  # of objectness and of overlap where both are shown


class ObjectnessTally:
    """Counts the predictions of one lane over batches, on their device, which waits for nothing until `read`."""

    def __init__(self, num_scales: int, device: torch.device) -> None:
        self._counts_SB = torch.zeros(num_scales, 2 * BINS * COARSE_BINS, dtype=torch.int64, device=device)
        self._sums_SG4 = torch.zeros(num_scales, 2, 4, dtype=torch.float64, device=device)

    def add(self, heads: Sequence[Tensor], overlaps: Sequence[Tensor], is_object: Sequence[Tensor]) -> None:
        """Adds a batch.

        Args:
            heads: Raw outputs of the lane, coarsest scale first.
            overlaps: Largest IoU of every prediction with any label of its image, of each head.
            is_object: Whether a prediction owns a label, of each head.
        """
        for scale, (raw, overlap, owns) in enumerate(zip(heads, overlaps, is_object, strict=True)):
            self._add(scale, raw[..., 4].flatten(), overlap.flatten(), owns.flatten())

    def _add(self, scale: int, logit_K: Tensor, overlap_K: Tensor, is_matched_K: Tensor) -> None:
        both_2K = torch.stack((logit_K.double().sigmoid(), overlap_K.double()))
        objectness_K, overlap_K = both_2K.unbind()
        place = is_matched_K * BINS + _bin(objectness_K, BINS)
        place = place * COARSE_BINS + _bin(overlap_K, COARSE_BINS)
        self._counts_SB[scale].scatter_add_(0, place, torch.ones_like(place))
        groups_GK = torch.stack((~is_matched_K, is_matched_K))
        values_4K = torch.cat((both_2K, both_2K.square()))
        # Not a product: a number that is not finite stays in its group.
        self._sums_SG4[scale] += torch.where(groups_GK[:, None], values_4K, 0.0).sum(-1)

    def read(self) -> tuple[Objectness, ...]:
        """What was counted: for each scale the matched predictions, then the others."""
        counts = self._counts_SB.view(-1, 2, BINS, COARSE_BINS).tolist()  # sync point: once an evaluation
        sums = self._sums_SG4.tolist()
        return tuple(
            _objectness(scale, is_matched, counts[scale][is_matched], sums[scale][is_matched])
            for scale in range(len(counts))
            for is_matched in (True, False)
        )


def _bin(values_K: Tensor, bins: int) -> Tensor:
    return (values_K.nan_to_num(0.0) * bins).long().clamp(0, bins - 1)


def _objectness(scale: int, is_matched: bool, counts: list[list[int]], sums: list[float]) -> Objectness:
    histogram = tuple(map(sum, counts))
    places = sum(histogram)
    pairs = [
        [sum(pair) for pair in zip(low, high, strict=True)] for low, high in zip(counts[::2], counts[1::2], strict=True)
    ]
    means = [value / places if places else nan for value in sums]
    return Objectness(
        scale=scale,
        is_matched=is_matched,
        places=places,
        objectness_mean=means[0],
        objectness_spread=_spread(means[0], means[2]),
        iou_mean=means[1],
        iou_spread=_spread(means[1], means[3]),
        histogram=histogram,
        density=tuple(map(tuple, pairs)) if is_matched else (),
    )


def _spread(mean: float, mean_square: float) -> float:
    variance = mean_square - mean * mean
    return sqrt(max(variance, 0.0)) if variance == variance else nan
