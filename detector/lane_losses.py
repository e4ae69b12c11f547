"""The losses of T lanes from their batches: in one pass wherever batches allow it, and lane by lane where not.

Letters: T lanes, N images, M labels an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from detector.batches import Batch
from detector.hyperparameters import Hyperparameters
from detector.lane_values import LaneValues
from detector.loss import LossParts, detection_loss, in_slots
from detector.models.network import Network, lane_weights, raw_outputs

Weights = Mapping[str, Tensor]


class LaneLosses:
    """Raw outputs of networks for batches, and the losses that these cost the lanes.

    Args:
        anchors: For each scale the sizes (A, 2) as fractions of the image, of the networks' type and on their device.
        class_rarity: Weight of each class where classes are weighed, as `LabelStatistics` has it.
        precision: Number type of the forward pass, one of `detector.plan.PRECISIONS`.
        single: A network of one lane, whose weights are replaced wherever one is looked at by itself.
    """

    def __init__(
        self, *, anchors: Sequence[Tensor], class_rarity: Sequence[float], precision: str, single: Network
    ) -> None:
        self._anchors, self._class_rarity, self._precision, self._single = anchors, class_rarity, precision, single
        self._values: Sequence[Hyperparameters] = ()
        self._numbers: dict[tuple[int, ...], LaneValues] = {}

    def take(self, values: Sequence[Hyperparameters]) -> None:
        """Takes the hyperparameters of the lanes by slot, which hold from now on."""
        self._values = tuple(values)
        self._numbers.clear()

    def values_of(self, slots: tuple[int, ...]) -> LaneValues:
        """Hyperparameters of lanes in some slots, made once for as long as lanes stay."""
        if slots not in self._numbers:
            lanes = [self._values[slot] for slot in slots]
            self._numbers[slots] = LaneValues.of(lanes, like=self._anchors[0], class_rarity=self._class_rarity)
        return self._numbers[slots]

    def of_batches(
        self, network: Network, batches: Sequence[Batch], pulls: Sequence[float], weights: Weights | None = None
    ) -> LossParts:
        """The loss of every lane on its batch.

        Args:
            network: Network of all lanes.
            batches: Batch of each lane. Lanes that have the same batch share what is computed of it.
            pulls: For each lane the weight of what pulls its predictions without a label to their anchors.
            weights: Tensors by name that take the place of the network's parameters and buffers; None for its own.
        """
        slots_of: dict[int, list[int]] = {}
        for slot, batch in enumerate(batches):
            slots_of.setdefault(id(batch), []).append(slot)
        if len(slots_of) == 1:
            heads = self.heads(network, batches[0].images, weights)
            return self.of_heads(heads, batches[0].labels_NM5, tuple(range(len(batches))), pulls)
        groups = [tuple(slots) for slots in slots_of.values()]
        parts = [
            self.of_heads(heads, batches[slots[0]].labels_NM5, slots, [pulls[slot] for slot in slots])
            for heads, slots in zip(self._heads_of(network, batches, groups, weights), groups, strict=True)
        ]
        return in_slots(parts, groups)

    def of_heads(
        self, heads: Sequence[Tensor], labels_NM5: Tensor, slots: tuple[int, ...], pulls: Sequence[float] = ()
    ) -> LossParts:
        """The loss of raw outputs of lanes in some slots.

        It has the places of an evaluation where there are no pulls, which updates have.
        """
        labels_NM5 = labels_NM5.to(self._anchors[0], non_blocking=True)
        return detection_loss(heads, labels_NM5, self._anchors, self.values_of(slots), pulls, has_places=not pulls)

    def heads(self, network: Network, images: Tensor, weights: Weights | None = None) -> list[Tensor]:
        """Raw outputs of a network, as `raw_outputs` has them."""
        return raw_outputs(network, images, precision=self._precision, weights=weights)

    def _heads_of(
        self,
        network: Network,
        batches: Sequence[Batch],
        groups: Sequence[tuple[int, ...]],
        weights: Weights | None,
    ) -> list[list[Tensor]]:
        """Raw outputs of groups of lanes, each of which has one batch."""
        if len({batch.images.shape[-1] for batch in batches}) == 1:
            heads = self.heads(network, torch.cat([batch.images for batch in batches], 1), weights)
            return [[head[:, list(slots)] for head in heads] for slots in groups]
        return [self._lane_by_lane(network, batches[slots[0]].images, slots, weights) for slots in groups]

    def _lane_by_lane(
        self, network: Network, images: Tensor, slots: Sequence[int], weights: Weights | None
    ) -> list[Tensor]:
        """Raw outputs of lanes one after another, where batches differ in size and no pass can take them all."""
        self._single.train()
        outputs = [self.heads(self._single, images, lane_weights(network, slot, weights)) for slot in slots]
        return [torch.cat(heads, 1) for heads in zip(*outputs, strict=True)]
