"""Updates of all lanes of a network at once, with clipping, averaging and loss scale of each lane's own.

An update is proposed on copies of the weights by the rule that the hyperparameters choose, measured, and then taken
or left by each lane. All of it happens on matrices with a row for each lane (`detector.lane_rows`): rows never meet,
so a lane can be stepped or skipped without its neighbours noticing, be its values numbers or not.

Letters: T lanes, P trained values of a lane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detector.choices.clippings import CLIPPINGS, FOLLOWING, Norms
from detector.choices.optimizers import OF_MATRICES, OPTIMIZERS, REMEMBERED, STEPS, Update
from detector.choices.warmups import OF_OUTPUTS
from detector.hyperparameters import Hyperparameters
from detector.lane_rows import LaneRows, row_norms
from detector.models.network import Network, lane_slice
from detector.telemetry import Rates

# Kinds of parameters: kernels, scales of norms, their biases, and those of the outputs.
_DECAYED, _NORMS, _BIASES, _OUTPUTS = "decayed", "norms", "biases", "outputs"
_LIMITS = ("clip_norm", "clip_value")  # 0 for none


@dataclass(slots=True, kw_only=True)
class _Matrix:
    """A matrix and the views of it that rules are given, for each lane and piece."""

    values_TP: Tensor
    pieces: list[list[Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What is measured of the updates about to be made, on their device.

    Attributes:
        grad_norm_T: Euclidean norm of each lane's gradient without its loss scale and before clipping.
        update_ratio_T: Norm of each lane's update over the norm of its weights.
    """

    grad_norm_T: Tensor
    update_ratio_T: Tensor


class LaneOptimizers:
    """The chosen rule of every lane over what is trained; weight decay on convolution kernels only.

    Use: `propose` after each backward pass, then `accept` or `clear_gradient` lanes; neither, to go on adding
    gradients. Nothing else writes the weights meanwhile, unless `load_state` follows.

    Args:
        network: Network with the weights of all T lanes, which is updated in place.
        values: Hyperparameters of each lane.
    """

    def __init__(self, network: Network, values: Sequence[Hyperparameters]) -> None:
        self._network, self._values = network, tuple(values)
        trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        self._trained = trained
        # Kernels lie in memory as they do in a network of other lanes, however they are given to a rule.
        matrices = (_DECAYED,) if any(lane.optimizer in OF_MATRICES for lane in self._values) else ()
        kinds = {name: _kind(name) for name in trained}
        self._rows = LaneRows(trained, kinds, lanes=network.lanes, matrices=matrices)
        self._parameters = [trained[name] for name in self._rows.names]
        self._weights = self._rows.of([parameter.detach() for parameter in self._parameters])
        # Rows of the weights, kept so that no step has to gather them, and of what they are about to be.
        self._present, self._proposed = self._matrix(), self._matrix()
        torch.cat(self._weights, 1, out=self._present.values_TP)
        if network.lanes == 1:
            self._move_weights_into_their_row(trained)
        # The gradient as it is clipped; once it has been used, what the update adds to the weights.
        self._moves = self._matrix()
        num_remembered = max(len(_remembered(lane)) for lane in self._values)
        self._memory = [self._matrix() for _ in range(num_remembered)]
        self._next_memory = [self._matrix() for _ in range(num_remembered)]
        self._average_TP = self._present.values_TP.clone()
        buffers = dict(network.named_buffers())
        self._statistics_rows = LaneRows(buffers, dict.fromkeys(buffers, ""), lanes=network.lanes)
        self._statistics = self._statistics_rows.of([buffers[name] for name in self._statistics_rows.names])
        self._average_TQ = self._present_statistics()
        self._num_updates = [0] * len(self._values)
        self._loss_scales = [1.0] * len(self._values)
        self._norms_T3 = self._next_norms_T3 = self._average_TP.new_zeros(network.lanes, 3, dtype=torch.float64)
        self._clippings = self._chosen_clippings()
        self.loss_scale_T = self._column(self._loss_scales)

    @torch.no_grad()
    def take(self, before: LaneOptimizers, slots: Sequence[int]) -> None:
        """Takes over what lanes in some slots of another network remember, but for weights and gradients.

        Args:
            before: Optimizers of that network.
            slots: Slots of the lanes there, which are the first lanes here, in this order.
        """
        for slot, old in enumerate(slots):
            self._average_TP[slot].copy_(before._average_TP[old])
            self._average_TQ[slot].copy_(before._average_TQ[old])
            self._norms_T3[slot].copy_(before._norms_T3[old])
            for mine, theirs in zip(self._memory, before._memory, strict=False):
                mine.values_TP[slot].copy_(theirs.values_TP[old])
            self._num_updates[slot] = before._num_updates[old]
            self.set_loss_scale(slot, before._loss_scales[old])

    @torch.no_grad()
    def propose(self, rates: Sequence[Rates]) -> Proposed:
        """Works out the updates that the gradients so far lead to, clipped; nothing of a lane is changed yet.

        Args:
            rates: Learning rates and momentum that the update of each lane applies.
        """
        weights_TP, moves_TP = self._present.values_TP, self._moves.values_TP
        self._proposed.values_TP.copy_(weights_TP)
        torch.cat(self._gradients(), 1, out=moves_TP)
        grad_norm_T = row_norms(moves_TP) / self.loss_scale_T
        self._next_norms_T3 = self._clip(grad_norm_T)
        for new, old in zip(self._next_memory, self._memory, strict=True):
            new.values_TP.copy_(old.values_TP)
        for slot, lane_rates in enumerate(rates):
            self._apply_rule(slot, lane_rates)
        torch.sub(self._proposed.values_TP, weights_TP, out=moves_TP)
        weight_norm_T = row_norms(weights_TP).clamp(min=torch.finfo(moves_TP.dtype).tiny)
        return Proposed(grad_norm_T=grad_norm_T, update_ratio_T=row_norms(moves_TP) / weight_norm_T)

    @torch.no_grad()
    def moved(self, factor_T: Tensor) -> dict[str, Tensor]:
        """Weights of all lanes where the proposed updates are made by a factor, by name; until the next proposal.

        Args:
            factor_T: Factor that each lane's update is multiplied by; 1 for the update as it is.
        """
        weights = {name: torch.empty_like(parameter.detach()) for name, parameter in self._trained.items()}
        rows = self._rows.of([weights[name] for name in self._rows.names])
        moved_TP = torch.addcmul(self._present.values_TP, self._moves.values_TP, factor_T[:, None])
        torch.split_with_sizes_copy(moved_TP, [matrix.shape[1] for matrix in rows], 1, out=rows)
        return weights

    def moves(self, slot: int) -> dict[str, Tensor]:
        """What the proposed update adds to the weights of a lane, by name of the parameter, until the next one."""
        return self._rows.named(self._moves.values_TP[slot])

    @torch.no_grad()
    def accept(self, slots: Sequence[int]) -> None:
        """Makes the proposed updates of one lane or more, then their moving averages; empties their gradients."""
        self._keep_norms(slots)
        if self._network.lanes == 1:
            self._present.values_TP.copy_(self._proposed.values_TP)
        elif self._are_all(slots):
            self._present, self._proposed = self._proposed, self._present
            sizes = [matrix.shape[1] for matrix in self._weights]
            torch.split_with_sizes_copy(self._present.values_TP, sizes, 1, out=self._weights)
        else:
            self._accept_some(slots)
        self._memory, self._next_memory = self._next_memory, self._memory
        for slot in slots:
            self._num_updates[slot] += 1
        self._update_averages(slots)
        self.clear_gradient(slots)

    @torch.no_grad()
    def clear_gradient(self, slots: Sequence[int]) -> None:
        """Empties the gradients of one lane or more."""
        if self._are_all(slots):
            for parameter in self._parameters:
                parameter.grad = None  # the next backward pass then neither adds nor copies
            return
        lanes = self._network.lanes
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        torch._foreach_zero_([lane_slice(gradient, slot, lanes) for gradient in gradients for slot in slots])

    def loss_scale(self, slot: int) -> float:
        """What the loss of a lane is multiplied by before its backward pass."""
        return self._loss_scales[slot]

    def set_loss_scale(self, slot: int, scale: float) -> None:
        """Changes what the next losses of a lane are multiplied by."""
        if self._loss_scales[slot] != scale:
            self._loss_scales[slot] = scale
            self.loss_scale_T = self._column(self._loss_scales)

    def average(self, slot: int) -> dict[str, Tensor]:
        """Averaged weights and statistics of a lane, under a one-lane network's names; what is frozen as it is."""
        averaged = self._rows.named(self._average_TP[slot]) | self._statistics_rows.named(self._average_TQ[slot])
        return {name: averaged.get(name, value) for name, value in self._network.lane_state(slot).items()}

    def state(self, slot: int) -> dict[str, Tensor | int | float | dict[str, Tensor]]:
        """Everything a resumed lane needs besides its weights, as copies on the CPU."""
        remembered = {
            key: _on_cpu(self._rows.named(memory.values_TP[slot])) for key, memory in self._memory_of(slot).items()
        }
        if STEPS in REMEMBERED[self._values[slot].optimizer]:
            steps = float(self._num_updates[slot])
            remembered[STEPS] = {name: torch.tensor(steps) for name in self._rows.names}
        return {
            "average": _on_cpu(self.average(slot)),
            **remembered,
            "gradient_norms": self._norms_T3[slot].cpu().clone(),
            "num_updates": self._num_updates[slot],
            "loss_scale": self._loss_scales[slot],
        }

    @torch.no_grad()
    def load_state(self, slot: int, state: Mapping[str, object]) -> None:
        """Takes back what `state` gave, and the weights that the lane has in the network now."""
        weights, row = self._row_of_weights(slot)
        torch._foreach_copy_(row, weights)
        memory = {key: self._rows.named(matrix.values_TP[slot]) for key, matrix in self._memory_of(slot).items()}
        for key, views in {"average": self.average(slot), **memory}.items():
            # A lane that was never updated, or never with momentum, may have nothing to remember.
            stored = state.get(key, {})
            assert isinstance(stored, dict)
            for name, value in stored.items():
                views[name].copy_(value)
        if isinstance(norms_3 := state.get("gradient_norms"), Tensor):  # which older files have not
            self._norms_T3[slot].copy_(norms_3)
        self._num_updates[slot] = int(str(state["num_updates"]))
        self.set_loss_scale(slot, float(str(state["loss_scale"])))

    def _move_weights_into_their_row(self, trained: Mapping[str, torch.nn.Parameter]) -> None:
        """One lane's weights lie in a row as in a network, so that both may be the same memory."""
        for name, view in self._rows.laid_out(self._present.values_TP[0], trained).items():
            trained[name].data = view
        self._weights = self._rows.of([parameter.detach() for parameter in self._parameters])

    def _matrix(self) -> _Matrix:
        values_TP = self._weights[0].new_zeros(self._network.lanes, self._rows.num_columns)
        return _Matrix(values_TP=values_TP, pieces=self._rows.in_pieces(values_TP))

    def _column(self, numbers: Sequence[float], dtype: torch.dtype | None = None) -> Tensor:
        like = self._weights[0]
        return torch.tensor(numbers, dtype=dtype or like.dtype).to(like.device, non_blocking=True)

    def _gradients(self) -> list[Tensor]:
        gradients = [parameter.grad for parameter in self._parameters]
        return self._rows.of([gradient for gradient in gradients if gradient is not None])

    def _chosen_clippings(self) -> list[tuple[str, slice, dict[str, Tensor]]]:
        """Clippings with their lanes and numbers: one of all lanes if they agree, else one of each lane."""
        chosen = [lane.clipping for lane in self._values]
        columns_T = {}
        for name in ("clip_norm", "clip_value", "clip_z", "clip_decay", "clip_warmup"):
            numbers = [getattr(lane, name) for lane in self._values]
            columns_T[name] = self._column(
                [limit or torch.inf for limit in numbers] if name in _LIMITS else numbers, torch.float64
            )
        places = [slice(0, len(chosen))] if len(set(chosen)) == 1 else [slice(at, at + 1) for at in range(len(chosen))]
        return [(chosen[at.start], at, {name: column_T[at] for name, column_T in columns_T.items()}) for at in places]

    def _clip(self, grad_norm_T: Tensor) -> Tensor:
        """Clips the gradients and takes their loss scale from them; what is then known of their norms."""
        known_T3 = [
            CLIPPINGS[name](
                self._moves.values_TP[at],
                Norms(norm_T=grad_norm_T[at], loss_scale_T=self.loss_scale_T[at], history_T3=self._norms_T3[at]),
                numbers_T,
            )
            for name, at, numbers_T in self._clippings
        ]
        return known_T3[0] if len(known_T3) == 1 else torch.cat(known_T3)

    def _apply_rule(self, slot: int, rates: Rates) -> None:
        """Changes a lane's row of proposed weights and of what is remembered, as few calls as there are rates."""
        values = self._values[slot]
        warmed = (_OUTPUTS,) if values.warmup in OF_OUTPUTS else (_OUTPUTS, _BIASES)
        places: dict[tuple[float, float, bool], list[int]] = {}
        for place, piece in enumerate(self._rows.pieces):
            lr = rates.bias_lr if piece.kind in warmed else rates.lr
            decay = values.weight_decay if piece.kind == _DECAYED else 0.0
            places.setdefault((lr, decay, piece.num_outputs > 0), []).append(place)
        weights, gradients = self._proposed.pieces[slot], self._moves.pieces[slot]
        memory = dict(zip(_remembered(values), [matrix.pieces[slot] for matrix in self._next_memory], strict=False))
        for (lr, decay, _), chosen in places.items():
            OPTIMIZERS[values.optimizer](
                [weights[place] for place in chosen],
                [gradients[place] for place in chosen],
                {key: [pieces[place] for place in chosen] for key, pieces in memory.items()},
                Update(
                    lr=lr,
                    momentum=rates.momentum,
                    weight_decay=decay,
                    num_updates=self._num_updates[slot],
                    nesterov=values.nesterov,
                ),
            )

    def _accept_some(self, slots: Sequence[int]) -> None:
        """Copies rows of the proposed weights into the network; the others remember what they did before."""
        for slot in slots:
            self._present.values_TP[slot].copy_(self._proposed.values_TP[slot])
            torch._foreach_copy_(*self._row_of_weights(slot))
        for slot in set(range(self._network.lanes)).difference(slots):
            for new, old in zip(self._next_memory, self._memory, strict=True):
                new.values_TP[slot].copy_(old.values_TP[slot])

    def _row_of_weights(self, slot: int) -> tuple[list[Tensor], list[Tensor]]:
        """Weights of a lane in the network, and the same in their row."""
        sizes = [matrix.shape[1] for matrix in self._weights]
        return [matrix[slot] for matrix in self._weights], [*self._present.values_TP[slot].split(sizes)]

    def _keep_norms(self, slots: Sequence[int]) -> None:
        """Makes what is known of the norms with the proposed update that of lanes which make it."""
        for slot in slots:
            if self._values[slot].clipping in FOLLOWING:
                self._norms_T3[slot].copy_(self._next_norms_T3[slot])

    def _update_averages(self, slots: Sequence[int]) -> None:
        shares = []
        for slot in slots:
            # The ramp lets short trainings average over less (tf.train.ExponentialMovingAverage, num_updates).
            ramp = (1 + self._num_updates[slot]) / (10 + self._num_updates[slot])
            shares.append(1 - min(self._values[slot].ema_decay, ramp))
        averaged = [(self._average_TP, self._present.values_TP)]
        if self._statistics:
            averaged.append((self._average_TQ, self._present_statistics()))
        for average, present in averaged:
            torch._foreach_lerp_([average[slot] for slot in slots], [present[slot] for slot in slots], shares)

    def _present_statistics(self) -> Tensor:
        """Statistics of each lane's layers in a row; of no columns where its normalisation has none."""
        return torch.cat(self._statistics, 1) if self._statistics else self._average_TP[:, :0]

    def _are_all(self, slots: Sequence[int]) -> bool:
        return len(slots) == self._network.lanes

    def _memory_of(self, slot: int) -> dict[str, _Matrix]:
        return dict(zip(_remembered(self._values[slot]), self._memory, strict=False))


def _remembered(values: Hyperparameters) -> tuple[str, ...]:
    """What the rule of a lane remembers of each weight."""
    return tuple(key for key in REMEMBERED[values.optimizer] if key != STEPS)


def _kind(name: str) -> str:
    if name.endswith("bias"):
        return _BIASES if name.endswith("norm.bias") else _OUTPUTS
    return _NORMS if name.endswith("norm.weight") else _DECAYED


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu().clone() for name, value in tensors.items()}
