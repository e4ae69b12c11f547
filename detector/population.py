"""T lanes on a device: one forward and backward pass for all, an update for each, and evaluation one by one.

Letters: T lanes, N images, M labels an image, S scales (in `terms_TS4`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from detector.batches import Batch
from detector.choices.initialisers import INITIALISERS
from detector.hyperparameters import Hyperparameters, fuse_key, shared_names
from detector.loss import LaneValues, LossParts, detection_loss
from detector.metrics import Evaluator, detect
from detector.models import Network, build_network
from detector.models.darknet import num_frozen_rows
from detector.models.network import HeadPrior, initialise_lane, lane_slice, raw_outputs
from detector.optimizer import LaneOptimizer
from detector.plan import TrainingPlan
from detector.targets import assign
from detector.telemetry import TERMS, LossTerms, Measurement, Rates, Scores, values_of

FIRST_LOSS_SCALE = 2.0**14
SCALE_GROWTH_STEPS = 200


class Population:
    """Networks of one shape with weights, optimizers and averages of their own; lanes are named by their slot.

    Each starts from its seed, but for what `start` holds, by the names of a one-lane network.

    Raises:
        ValueError: The lanes disagree on something they share.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        values: Sequence[Hyperparameters],
        seeds: Sequence[int],
        *,
        prior: HeadPrior,
        anchors: Sequence[Tensor],
        start: Mapping[str, Tensor],
    ) -> None:
        check_lanes_agree(values)
        self._plan, self._values = plan, list(values)
        self._device = torch.device(plan.device)
        self._dtype = torch.float64 if plan.precision == "float64" else torch.float32
        self._num_classes = len(prior.class_share)
        self._anchors = [anchors_A2.to(self._device, self._dtype) for anchors_A2 in anchors]
        self._network = self._build(len(values))
        for slot, (seed, lane_values) in enumerate(zip(seeds, values, strict=True)):
            kernels = INITIALISERS[lane_values.initialiser]
            initialise_lane(self._network, slot, seed=seed, prior=prior, image_size=plan.image_size, kernels=kernels)
            self._network.load_lane(slot, {**self._network.lane_state(slot), **start})
        self._single = self._build(1).eval()
        self._optimizers = [LaneOptimizer(self._network, slot, lane_values) for slot, lane_values in enumerate(values)]
        if plan.precision == "float16":
            for optimizer in self._optimizers:
                optimizer.loss_scale = FIRST_LOSS_SCALE
        self._good_steps = [0] * len(values)
        self._set_lane_values()

    @property
    def num_lanes(self) -> int:
        """Lanes still in the population."""
        return len(self._optimizers)

    def measure(self, batch: Batch, rates: Sequence[Rates]) -> list[Measurement]:
        """Forward and backward pass of all lanes; gradients add up until `update`.

        Args:
            batch: Images and labels, the same for all lanes.
            rates: What each lane's update is going to apply.
        """
        self._network.train()
        parts = self._loss(self._network, batch)
        scale_T = torch.tensor([optimizer.loss_scale for optimizer in self._optimizers], dtype=self._dtype)
        loss_T = parts.terms_TS4.sum((1, 2))
        (loss_T * scale_T.to(self._device, non_blocking=True)).sum().backward()
        norms = [optimizer.propose(rate) for optimizer, rate in zip(self._optimizers, rates, strict=True)]
        scalars_T = {
            "loss": loss_T.detach(),
            "grad_norm": torch.stack(norms),
            "update_ratio": torch.stack([optimizer.update_ratio() for optimizer in self._optimizers]),
            "max_box_logit": parts.max_box_logit_T,
        }
        packed = torch.cat((torch.stack([*scalars_T.values()], 1), parts.terms_TS4.detach().flatten(1)), 1)
        rows = packed.tolist()  # sync point: the only one of a step
        return [_measurement(rate, [*scalars_T], row) for rate, row in zip(rates, rows, strict=True)]

    def skip(self, slot: int) -> bool:
        """Drops the gradient of a lane whose measurement is not finite.

        Returns:
            Whether that was an overflow of the loss scale, now halved, and not the lane's own doing.
        """
        optimizer = self._optimizers[slot]
        optimizer.clear_gradient()
        self._good_steps[slot] = 0
        was_overflow = optimizer.loss_scale > 1
        optimizer.loss_scale = max(optimizer.loss_scale / 2, 1.0)
        return was_overflow

    def update(self, slot: int) -> None:
        """Takes the step of one lane that `measure` found finite."""
        optimizer = self._optimizers[slot]
        optimizer.accept()
        self._good_steps[slot] += 1
        if self._plan.precision == "float16" and self._good_steps[slot] % SCALE_GROWTH_STEPS == 0:
            optimizer.loss_scale *= 2

    @torch.no_grad()
    def drop(self, slot: int) -> None:
        """Takes a lane out; the others keep their weights, momentum and gradient bit by bit."""
        old = self._network
        kept = [old_slot for old_slot in range(self.num_lanes) if old_slot != slot]
        del self._optimizers[slot], self._values[slot], self._good_steps[slot]
        if not kept:
            return
        self._network = self._build(len(kept))
        for new_slot, old_slot in enumerate(kept):
            self._network.load_lane(new_slot, old.lane_state(old_slot))
        for parameter, before in zip(self._network.parameters(), old.parameters(), strict=True):
            if before.grad is None:  # frozen
                continue
            parameter.grad = torch.cat([lane_slice(before.grad, old_slot, old.lanes) for old_slot in kept])
        for new_slot, optimizer in enumerate(self._optimizers):
            optimizer.bind(self._network, new_slot)
        self._set_lane_values()

    @torch.no_grad()
    def evaluate(self, slot: int, batches: Iterable[Batch]) -> tuple[Scores, dict[str, float]]:
        """Scores of a lane's averaged weights, and its loss terms summed over scales in units of the training loss."""
        self._single.load_lane(0, self._optimizers[slot].average)
        values = LaneValues.of([self._values[slot]], like=self._anchors[0])
        evaluator = Evaluator(num_classes=self._num_classes, image_size=self._plan.image_size)
        total, num_images = torch.zeros(len(TERMS), dtype=torch.float64), 0
        for batch in batches:
            heads = self._forward(self._single, batch.images)
            terms = self._heads_loss(heads, batch.labels_NM5, values).terms_TS4
            # Terms count images; a mean over images times the batch size compares with training whatever the batch.
            total += terms.sum((0, 1)).double().cpu() * self._plan.batch_size
            num_images += len(batch.images)
            found = detect(heads, self._anchors, nms_iou=self._plan.nms_iou, coding=values.shared.coding)
            evaluator.add(batch.labels_NM5, found)
        return evaluator.scores(), dict(zip(TERMS, (total / max(num_images, 1)).tolist(), strict=True))

    def lane_state(self, slot: int) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Copies on the CPU of a lane's weights and of its optimizer's state."""
        weights = {name: value.cpu().clone() for name, value in self._network.lane_state(slot).items()}
        return weights, dict(self._optimizers[slot].state())

    @torch.no_grad()
    def load_lane(self, slot: int, weights: dict[str, Tensor], optimizer: dict[str, object]) -> None:
        """Takes back what `lane_state` gave."""
        self._network.load_lane(slot, weights)
        self._optimizers[slot].load_state(optimizer)

    def _build(self, lanes: int) -> Network:
        network = build_network(self._plan.model, num_classes=self._num_classes, lanes=lanes)
        network.freeze(num_frozen_rows(self._plan.freeze, network.rows))
        return network.to(self._device, self._dtype).to(memory_format=torch.channels_last)

    def _set_lane_values(self) -> None:
        self._lane_values = LaneValues.of(self._values, like=self._anchors[0])

    def _loss(self, network: Network, batch: Batch) -> LossParts:
        return self._heads_loss(self._forward(network, batch.images), batch.labels_NM5, self._lane_values)

    def _forward(self, network: Network, images: Tensor) -> list[Tensor]:
        return raw_outputs(network, images, precision=self._plan.precision)

    def _heads_loss(self, heads: Sequence[Tensor], labels_NM5: Tensor, values: LaneValues) -> LossParts:
        labels_NM5 = labels_NM5.to(self._device, self._dtype, non_blocking=True)
        cells = [head.shape[3] for head in heads]
        shared = values.shared
        targets = assign(labels_NM5, self._anchors, cells, assign_iou=shared.assign_iou, assignment=shared.assignment)
        return detection_loss(heads, targets, labels_NM5, self._anchors, values)


def check_lanes_agree(values: Sequence[Hyperparameters]) -> None:
    """Makes sure that lanes have the same value of everything made or computed once for all of them.

    Raises:
        ValueError: They do not.
    """
    for name, *found in zip(shared_names(), *map(fuse_key, values), strict=True):
        if len(set(found)) > 1:
            raise ValueError(f"{name}: lanes of one population share it, but have {sorted(set(found))}")


def _measurement(rates: Rates, scalars: Sequence[str], row: Sequence[float]) -> Measurement:
    """A row of numbers as a record: the scalars, then the terms of each scale."""
    flat = row[len(scalars) :]
    terms = LossTerms(**{term: tuple(flat[place :: len(TERMS)]) for place, term in enumerate(TERMS)})
    values = values_of(rates) | dict(zip(scalars, row, strict=False))
    return Measurement(terms=terms, **values)
