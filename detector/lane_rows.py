"""Parameters of T lanes as matrices with a row for each lane.

Letters: T lanes, P values of a lane, K blocks of C values.
A network holds the lanes of a parameter side by side in dimension 0, as convolutions want them. A row holds all of one
lane, in the order of memory, so what is done to every lane by numbers of its own is one operation on a matrix, however
many parameters there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

_LINE_BYTES = 64  # of a cache line, and of the widest vectors a CPU has
# Values whose squares are added up at once: in float32 those of 62 million come to 1 % less than they are.
_NORM_COLUMNS = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """Where a parameter of one lane is in its row.

    Attributes:
        start, stop: Its first column, and the one after its last.
        order: Its dimensions from the slowest in memory to the fastest; of kernels that are channels last 0, 2, 3, 1.
        shape: Shape of the parameter in one lane, its dimensions in this order.
    """

    start: int
    stop: int
    order: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Columns that a rule of the update is given as one tensor.

    Fused kernels round the last values of a tensor, those that do not fill a vector, otherwise than the rest. So
    parameters of whole vectors share a piece and each other one is a piece of its own: every value is then rounded as
    in a tensor for each parameter.

    Attributes:
        kind: Kind of the parameters in it.
        start, stop: Its first column, and the one after its last.
        num_outputs: Rows of a kernel that is a piece of its own and given as a matrix; 0 for what is given flat.
    """

    kind: str
    start: int
    stop: int
    num_outputs: int = 0


def row_norms(values_TP: Tensor) -> Tensor:
    """Euclidean norm of each row, of shape (T,), as exact for millions of values as for few."""
    in_blocks = values_TP.shape[1] // _NORM_COLUMNS * _NORM_COLUMNS
    norm_T: Tensor = torch.linalg.vector_norm(values_TP[:, in_blocks:], dim=1)
    if in_blocks:
        blocks_TKC = values_TP[:, :in_blocks].unflatten(1, (-1, _NORM_COLUMNS))
        norms_TK = torch.cat((torch.linalg.vector_norm(blocks_TKC, dim=2), norm_T[:, None]), 1)
        norm_T = torch.linalg.vector_norm(norms_TK, dim=1)
    return norm_T


class LaneRows:
    """Where the values of named tensors are in the rows of a matrix.

    Args:
        tensors: Tensors by name, each with T lanes side by side in dimension 0 and without gaps in memory.
        kinds: Kind of each tensor, by its name; tensors of one kind and of whole vectors are neighbours.
        lanes: Number of lanes, T.
        matrices: Kinds of which each tensor is a piece of its own, a matrix of what each of its outputs is made of.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        *,
        lanes: int,
        matrices: Collection[str] = (),
    ) -> None:
        self._lanes = lanes
        is_whole = {name: _is_whole(value, lanes) for name, value in tensors.items()}
        ranks = {kind: rank for rank, kind in enumerate(dict.fromkeys(kinds.values()))}
        # Whole vectors first, so that in the first row they begin where cache lines do.
        self.names = tuple(sorted(tensors, key=lambda name: (not is_whole[name], ranks[kinds[name]])))
        placed: dict[str, _Parameter] = {}
        self.num_columns = 0
        for name in self.names:
            placed[name] = _placed(tensors[name], self.num_columns, lanes)
            self.num_columns = placed[name].stop
        self._parameters = {name: placed[name] for name in tensors}
        is_shared = {name: is_whole[name] and kinds[name] not in matrices for name in tensors}
        runs = groupby(self.names, key=lambda name: (kinds[name], "" if is_shared[name] else name))
        self.pieces = tuple(self._piece(kind, [*names], is_matrix=kind in matrices) for (kind, _), names in runs)

    def of(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors, in the order of `names`, as matrices (T, p): views, but of tensors laid out otherwise."""
        parts = []
        for name, value in zip(self.names, tensors, strict=True):
            order = self._parameters[name].order
            parts.append((value if len(order) == 1 else value.permute(order)).reshape(self._lanes, -1))
        return parts

    def named(self, row_P: Tensor) -> dict[str, Tensor]:
        """Views of a row by name, of the shapes that a one-lane network has and in their layout."""
        views = {}
        for name, place in self._parameters.items():
            inverse = sorted(range(len(place.order)), key=place.order.__getitem__)
            views[name] = row_P[place.start : place.stop].view(place.shape).permute(inverse)
        return views

    def laid_out(self, row_P: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `named`, but with the strides of these tensors, which say more than a layout where a side is 1."""
        return {
            name: row_P[place.start : place.stop].as_strided(tensors[name].shape, tensors[name].stride())
            for name, place in self._parameters.items()
        }

    def in_pieces(self, values_TP: Tensor) -> list[list[Tensor]]:
        """Views of a matrix for each lane and piece: of shape (p,), or of outputs and inputs where it is a kernel."""
        return [
            [_view(row_P[piece.start : piece.stop], piece.num_outputs) for piece in self.pieces] for row_P in values_TP
        ]

    def _piece(self, kind: str, names: Sequence[str], *, is_matrix: bool) -> Piece:
        first, last = self._parameters[names[0]], self._parameters[names[-1]]
        num_outputs = first.shape[0] if is_matrix else 0
        return Piece(kind=kind, start=first.start, stop=last.stop, num_outputs=num_outputs)


def _view(part_p: Tensor, num_outputs: int) -> Tensor:
    return part_p.view(num_outputs, -1) if num_outputs else part_p


def _is_whole(value: Tensor, lanes: int) -> bool:
    return value.numel() // lanes * value.element_size() % _LINE_BYTES == 0


def _placed(value: Tensor, start: int, lanes: int) -> _Parameter:
    order = tuple(range(value.dim()))
    if not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last):
        order = (0, 2, 3, 1)
    assert value.permute(order).is_contiguous()
    shape = (value.shape[0] // lanes, *(value.shape[dimension] for dimension in order[1:]))
    return _Parameter(start=start, stop=start + value.numel() // lanes, order=order, shape=shape)
