"""T lanes on a device: one forward and backward pass for all, an update for each, and evaluation one by one.

Letters: T lanes, N images, M labels an image, S scales (in `terms_TS4`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from math import nan

import torch
from torch import Tensor

from detector.batches import Batch
from detector.critical import critical_ratios
from detector.hyperparameters import Hyperparameters, fuse_key, shared_names
from detector.inspection import activations_of, kernel_values
from detector.lane_losses import LaneLosses
from detector.metrics import Evaluator, detect
from detector.models import Network, build_network
from detector.models.darknet import num_frozen_rows
from detector.models.network import HeadPrior, all_weights, initialise_lane, lane_slice, lane_weights
from detector.objectness import ObjectnessTally
from detector.observations import LayerValues, Objectness
from detector.optimizer import LaneOptimizers
from detector.plan import TrainingPlan
from detector.scores import AllScores
from detector.spikes import SpikeGuard, State, guards_of
from detector.telemetry import TERMS, LossTerms, Measurement, Rates, values_of
from detector.tracing import Trace, tracing

FIRST_LOSS_SCALE = 2.0**14
SCALE_GROWTH_STEPS = 200
# Keys of what a lane remembers beside its optimizer's: of spikes, and of overflows.
_SPIKES, _GOOD_STEPS = "spikes", "good_steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured of one lane on a split.

    Attributes:
        scores: Scores over all classes, by class, and by size of the objects.
        losses: Loss terms summed over scales, in units of the training loss.
        objectness: Objectness by scale, of the predictions that own a label and of the others.
        evaluator: Labels and detections of the split, which tell what was found in each image.
    """

    scores: AllScores
    losses: dict[str, float]
    objectness: tuple[Objectness, ...]
    evaluator: Evaluator


class Population:
    """Networks of one shape with weights, optimizers and averages of their own; lanes are named by their slot.

    Args:
        plan: What the lanes share.
        prior: Outputs that the heads should have at first.
        class_rarity: Weight of each class where classes are weighed, as `LabelStatistics` has it.
        anchors: For each scale the sizes (A, 2) as fractions of the image.
        start: Weights that all lanes begin with instead of random ones, by the names of a one-lane network.
        values: Hyperparameters of any lane, which say what all share.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        prior: HeadPrior,
        class_rarity: Sequence[float],
        anchors: Sequence[Tensor],
        start: Mapping[str, Tensor],
        values: Hyperparameters,
    ) -> None:
        self._plan, self._prior, self._start = plan, prior, start
        self._device = torch.device(plan.device)
        self._dtype = torch.float64 if plan.precision == "float64" else torch.float32
        self._num_classes = len(prior.class_share)
        self._anchors = [anchors_A2.to(self._device, self._dtype) for anchors_A2 in anchors]
        self._shared = values
        self._network = self._single = self._build(1)
        self._losses = LaneLosses(
            anchors=self._anchors, class_rarity=class_rarity, precision=plan.precision, single=self._single
        )
        self._values: list[Hyperparameters] = []
        self._optimizers: LaneOptimizers  # of the network, from its first lanes on
        self._good_steps: list[int] = []  # updates since the last overflow of the loss scale
        self._guards: list[SpikeGuard | None] = []
        self._norms: list[float] = []  # of the gradients of the last `measure`

    @property
    def num_lanes(self) -> int:
        """Lanes still in the population."""
        return len(self._values)

    @torch.no_grad()
    def add(self, values: Sequence[Hyperparameters], seeds: Sequence[int]) -> None:
        """Takes lanes in, after those that are there, which keep their weights, momentum and gradient bit by bit.

        Args:
            values: Hyperparameters of each new lane.
            seeds: Seed of the first weights of each new lane.

        Raises:
            ValueError: The lanes disagree on something they share.
        """
        check_lanes_agree([self._shared, *values])
        present, num_before = list(range(self.num_lanes)), self.num_lanes
        self._rebuild(present, num_new=len(values))
        for slot, (seed, lane_values) in enumerate(zip(seeds, values, strict=True), start=num_before):
            self._initialise(slot, lane_values, seed)
        self._values += values
        self._losses.take(self._values)
        self._good_steps += [0] * len(values)
        self._guards += guards_of(values)
        self._renew_optimizers(present)
        for slot in range(num_before, self.num_lanes):
            self._optimizers.set_loss_scale(slot, FIRST_LOSS_SCALE if self._plan.precision == "float16" else 1.0)

    def change_values(self, slot: int, values: Hyperparameters) -> None:
        """Gives a lane other hyperparameters; it goes on as from a checkpoint that is read under them.

        Raises:
            ValueError: They differ in something that lanes share.
        """
        check_lanes_agree([self._shared, values])
        weights, optimizer = self.lane_state(slot)
        self._values[slot] = values
        self._guards[slot] = guards_of([values])[0]
        self._losses.take(self._values)
        self._renew_optimizers(range(self.num_lanes))
        self.load_lane(slot, weights, optimizer)

    def _renew_optimizers(self, kept: Sequence[int]) -> None:
        """Optimizers of the network as it is, of which the first lanes go on from slots of the ones before."""
        optimizers = LaneOptimizers(self._network, self._values)
        if kept:
            optimizers.take(self._optimizers, kept)
        self._optimizers = optimizers

    def _initialise(self, slot: int, values: Hyperparameters, seed: int) -> None:
        network = self._network
        prior = replace(self._prior, class_loss=values.class_loss)
        initialise_lane(network, slot, seed=seed, prior=prior, image_size=self._plan.image_size, values=values)
        network.load_lane(slot, {**network.lane_state(slot), **self._start})

    def measure(
        self,
        batches: Sequence[Batch],
        rates: Sequence[Rates],
        pulls: Sequence[float],
        critical: Collection[int] = (),
        *,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> list[Measurement]:
        """Measurements of all lanes from a forward and a backward pass; gradients add up until `update`.

        Args:
            batches: Images and labels of each lane. Lanes that have the same batch share what is computed of it.
            rates: Learning rates and momentum that each lane's update is going to apply.
            pulls: For each lane the weight of what pulls its predictions without a label to their anchors in this step.
            critical: Slots whose critical ratio is measured, which takes a few forward passes of all lanes.
            meanwhile: Function called before the backward pass, beside which what it starts on a thread can run.
        """
        if not self._network.training:  # telling every layer takes longer than a step's update
            self._network.train()
        parts = self._losses.of_batches(self._network, batches, pulls)
        loss_T = parts.terms_TS4.sum((1, 2))
        meanwhile()
        (loss_T * self._optimizers.loss_scale_T).sum().backward()
        proposed = self._optimizers.propose(rates)
        scalars_T = {
            "loss": loss_T.detach(),
            "grad_norm": proposed.grad_norm_T,
            "update_ratio": proposed.update_ratio_T,
            "max_box_logit": parts.max_box_logit_T,
        }
        if critical:
            scalars_T["critical_ratio"] = self._critical_ratios(batches, pulls, loss_T.detach(), critical)
        packed = torch.cat((torch.stack([*scalars_T.values()], 1), parts.terms_TS4.detach().flatten(1)), 1)
        rows = packed.tolist()  # sync point: the only one of a step
        measured = [_measurement(rate, [*scalars_T], row) for rate, row in zip(rates, rows, strict=True)]
        self._norms = [measurement.grad_norm for measurement in measured]
        return measured

    def traced(self) -> AbstractContextManager[Trace]:
        """A trace of what passes through the network in the next `measure`; its one lane is all there is."""
        return tracing(self._network)

    @torch.no_grad()
    def _critical_ratios(
        self, batches: Sequence[Batch], pulls: Sequence[float], loss_T: Tensor, slots: Collection[int]
    ) -> Tensor:
        """Critical ratios of the updates proposed for some slots, NaN of the others; nothing of a lane is changed."""
        buffers = dict(self._network.named_buffers())

        def loss_at(factor_T: Tensor) -> Tensor:
            # Norms take statistics of the batch where their weights are trained; what they keep of them is dropped.
            moved = {name: value.requires_grad_() for name, value in self._optimizers.moved(factor_T).items()}
            kept = {name: value.clone() for name, value in buffers.items()}
            weights = all_weights(self._network) | moved | kept
            return self._losses.of_batches(self._network, batches, pulls, weights).terms_TS4.sum((1, 2))

        is_asked_T = torch.tensor([slot in slots for slot in range(self.num_lanes)]).to(loss_T.device)
        return torch.where(is_asked_T, critical_ratios(loss_at, loss_T), nan)

    def skip(self, slot: int) -> bool:
        """Drops the gradient of a lane whose loss is finite and whose gradient is not.

        Returns:
            Whether that was an overflow of the loss scale, now halved, and not the lane's own doing.
        """
        self._optimizers.clear_gradient([slot])
        self._good_steps[slot] = 0
        scale = self._optimizers.loss_scale(slot)
        self._optimizers.set_loss_scale(slot, max(scale / 2, 1.0))
        return scale > 1

    def update(self, slots: Sequence[int]) -> None:
        """Takes the step of lanes that `measure` found finite and that are to make one now, unless it is a spike."""
        slots = [slot for slot in slots if self._makes_update(slot)]
        if not slots:
            return
        self._optimizers.accept(slots)
        for slot in slots:
            self._good_steps[slot] += 1
            if self._plan.precision == "float16" and self._good_steps[slot] % SCALE_GROWTH_STEPS == 0:
                self._optimizers.set_loss_scale(slot, self._optimizers.loss_scale(slot) * 2)

    def _makes_update(self, slot: int) -> bool:
        """Whether a lane makes its update, by what it does with spikes; if it goes back, it does so here."""
        guard = self._guards[slot]
        if guard is None:
            return True
        is_made = guard.makes_update(self._norms[slot], partial(self._state, slot), partial(self._load, slot))
        if not is_made:
            self._optimizers.clear_gradient([slot])
        return is_made

    @torch.no_grad()
    def drop(self, slots: Collection[int]) -> None:
        """Takes lanes out; the others keep their weights, momentum and gradient bit by bit."""
        kept = [slot for slot in range(self.num_lanes) if slot not in slots]
        self._values = [self._values[slot] for slot in kept]
        self._losses.take(self._values)
        self._good_steps = [self._good_steps[slot] for slot in kept]
        self._guards = [self._guards[slot] for slot in kept]
        if kept:
            self._rebuild(kept, num_new=0)
            self._renew_optimizers(kept)

    def _rebuild(self, kept: Sequence[int], *, num_new: int) -> None:
        """A network of the lanes in some slots of the present one, in this order, and of new ones not yet set."""
        old = self._network
        self._network = self._build(len(kept) + num_new)
        for new_slot, old_slot in enumerate(kept):
            self._network.load_lane(new_slot, old.lane_state(old_slot))
        if kept:
            for parameter, before in zip(self._network.parameters(), old.parameters(), strict=True):
                if before.grad is None:  # frozen, or empty in all lanes
                    continue
                parameter.grad = torch.zeros_like(parameter)
                for new_slot, old_slot in enumerate(kept):
                    mine = lane_slice(parameter.grad, new_slot, self._network.lanes)
                    mine.copy_(lane_slice(before.grad, old_slot, old.lanes))

    @torch.no_grad()
    def evaluate(self, slot: int, batches: Iterable[Batch]) -> Evaluation:
        """Scores, losses and objectness of a lane's averaged weights on the images of some batches."""
        self._single.eval()
        self._single.load_lane(0, self._optimizers.average(slot))
        shared = self._values[slot]
        evaluator = Evaluator(num_classes=self._num_classes, image_size=self._plan.image_size)
        tally = ObjectnessTally(len(self._anchors), self._device)
        total, num_images = torch.zeros(len(TERMS), dtype=torch.float64), 0
        for batch in batches:
            heads = self._losses.heads(self._single, batch.images)
            parts = self._losses.of_heads(heads, batch.labels_NM5, (slot,))
            # Terms count images; a mean over images times the batch size compares with training whatever the batch.
            total += parts.terms_TS4.sum((0, 1)).double().cpu() * self._plan.batch_size
            num_images += len(batch.images)
            tally.add(heads, parts.overlaps, parts.is_object)
            found = detect(
                heads,
                self._anchors,
                nms_iou=self._plan.nms_iou,
                coding=shared.coding,
                class_loss=shared.class_loss,
            )
            evaluator.add(batch.labels_NM5, found)
        return Evaluation(
            scores=evaluator.all_scores(),
            losses=dict(zip(TERMS, (total / max(num_images, 1)).tolist(), strict=True)),
            objectness=tally.read(),
            evaluator=evaluator,
        )

    def inspect(self, slot: int, batch: Batch) -> tuple[LayerValues, ...]:
        """What the layers of a lane hold, and do on a batch in training form; nothing of the lane is changed.

        Gradients are those of the loss without what `measure` calls a pull.
        """
        own = lane_weights(self._network, slot)
        copies = {name: value.detach().clone().requires_grad_(value.requires_grad) for name, value in own.items()}
        self._single.train()
        with activations_of(self._single) as activations:
            heads = self._losses.heads(self._single, batch.images, copies)
        parts = self._losses.of_heads(heads, batch.labels_NM5, (slot,))
        scale = self._optimizers.loss_scale(slot)
        return (*activations, *kernel_values(copies, parts.terms_TS4.sum() * scale, loss_scale=scale))

    def lane_state(self, slot: int) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Copies on the CPU of a lane's weights and of its optimizer's state."""
        weights, optimizer = self._state(slot)
        optimizer[_GOOD_STEPS] = self._good_steps[slot]
        guard = self._guards[slot]
        return weights, optimizer if guard is None else optimizer | {_SPIKES: guard.state()}

    def load_lane(self, slot: int, weights: dict[str, Tensor], optimizer: dict[str, object]) -> None:
        """Takes back what `lane_state` gave."""
        self._load(slot, (weights, optimizer))
        self._good_steps[slot] = int(str(optimizer.get(_GOOD_STEPS, 0)))  # which older files have not
        guard, state = self._guards[slot], optimizer.get(_SPIKES)
        if guard is not None and isinstance(state, Mapping):
            guard.load_state(state)

    def _state(self, slot: int) -> State:
        weights = {name: value.cpu().clone() for name, value in self._network.lane_state(slot).items()}
        return weights, dict(self._optimizers.state(slot))

    @torch.no_grad()
    def _load(self, slot: int, state: State) -> None:
        weights, optimizer = state
        self._network.load_lane(slot, weights)
        self._optimizers.load_state(slot, optimizer)

    def _build(self, lanes: int) -> Network:
        network = build_network(self._plan.model, num_classes=self._num_classes, lanes=lanes, values=self._shared)
        network.freeze(num_frozen_rows(self._plan.freeze, network.rows))
        return network.to(self._device, self._dtype).to(memory_format=torch.channels_last)


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
