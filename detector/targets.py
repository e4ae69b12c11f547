"""Assignment of labelled boxes to places, as dense tensors of fixed shape.

Letters: T lanes, N images, M labels an image at most, B anchors of all scales, F cells that may learn a label,
C = B * F places that may, K places (`detector.grid`).
Nothing here depends on values for its shape, so nothing waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detector.boxes import paired_overlap, xyxy
from detector.choices.assignments import ASSIGNMENTS
from detector.choices.cells import CELLS
from detector.choices.class_losses import CLASS_PROBABILITIES
from detector.choices.positives import POSITIVES, Candidates
from detector.grid import Grid
from detector.hyperparameters import Hyperparameters
from detector.lane_values import LaneValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What each place learns; L is T, or 1 where all lanes learn the same.

    Attributes:
        is_object_NLK: Whether a place owns a label.
        boxes_NLK4: Box of the owned label as cxcywh fractions of the image; some finite box elsewhere.
        classes_NLK: Class index of the owned label; 0 elsewhere.
    """

    is_object_NLK: Tensor
    boxes_NLK4: Tensor
    classes_NLK: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What lanes predict, without a gradient.

    Attributes:
        raw_NTKO: Raw outputs of every place.
        boxes_NTK4: Box that every place predicts, as cxcywh fractions of the image.
    """

    raw_NTKO: Tensor
    boxes_NTK4: Tensor


def assign(labels_NM5: Tensor, grid: Grid, values: LaneValues, predicted: Predicted) -> Targets:
    """What each place learns.

    A label claims the anchors that its shape wants, in the cells around its centre. Where two labels want a place, the
    stronger claim wins: a cell that holds a centre before its neighbours, then an anchor that overlaps its label most,
    then the later label; or what `positives` says.

    Args:
        labels_NM5: class, cx, cy, w, h as fractions of the image; class -1 marks rows without a label.
        grid: Places of the network.
        values: Hyperparameters of the lanes, of which `assignment`, `cells`, `positives` and what these need are used.
        predicted: What the lanes predict.
    """
    place_NMC, strength_NMC = _claims(labels_NM5, grid, values.shared)
    strength_NLMC = POSITIVES[values.shared.positives](
        strength_NMC, lambda: _candidates(labels_NM5, place_NMC, predicted, values.shared), values.numbers_T
    )
    place_NLMC = place_NMC[:, None].expand_as(strength_NLMC)
    return _won(labels_NM5, place_NLMC, strength_NLMC, predicted.boxes_NTK4.shape[2])


def _claims(labels_NM5: Tensor, grid: Grid, values: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Places that each label claims, and how strongly, 0 for not at all; both whole numbers of shape (N, M, C)."""
    side_B, first_B, apart_B, anchors_B2 = grid.of_anchors(labels_NM5)
    wishes_NMB1 = ASSIGNMENTS[values.assignment](labels_NM5[..., 3:], anchors_B2, values)[..., None]
    position_NMB2 = labels_NM5[..., None, 1:3] * side_B[:, None]
    last_B1 = side_B[:, None] - 1
    cell_NMB2 = position_NMB2.long().clamp(min=torch.zeros_like(last_B1), max=last_B1)
    steps_F2, is_wanted_NMBF = CELLS[values.cells](position_NMB2 - cell_NMB2)
    cell_NMBF2 = cell_NMB2[..., None, :] + steps_F2
    is_inside_NMBF = ((cell_NMBF2 >= 0) & (cell_NMBF2 <= last_B1[:, None])).all(-1)
    is_claimed_NMBF = (wishes_NMB1 > 0) & (labels_NM5[:, :, :1, None] >= 0) & is_wanted_NMBF & is_inside_NMBF
    column, row = cell_NMBF2.unbind(-1)
    place_NMBF = first_B[:, None] + (row * side_B[:, None] + column) * apart_B[:, None]
    strength_NMBF = wishes_NMB1 + 2 * (steps_F2 == 0).all(-1)
    place_NMC, strength_NMC = (
        torch.where(is_claimed_NMBF, value, 0).flatten(2) for value in (place_NMBF, strength_NMBF)
    )
    return place_NMC, strength_NMC


def _candidates(labels_NM5: Tensor, place_NMC: Tensor, predicted: Predicted, values: Hyperparameters) -> Candidates:
    num_lanes = predicted.boxes_NTK4.shape[1]
    place_NTMC = place_NMC[:, None].expand(-1, num_lanes, -1, -1)
    return Candidates(
        overlap_NTMC=_overlaps(labels_NM5, place_NTMC, predicted.boxes_NTK4),
        score_NTMC=_scores(labels_NM5, place_NTMC, predicted.raw_NTKO, values.class_loss),
    )


def _overlaps(labels_NM5: Tensor, place_NTMC: Tensor, boxes_NTK4: Tensor) -> Tensor:
    """IoU of each label with what is predicted at places of its own, (N, T, M, C)."""
    index = place_NTMC.flatten(2)[..., None].expand(-1, -1, -1, 4)
    there = boxes_NTK4.gather(2, index).view(*place_NTMC.shape, 4)
    return paired_overlap(xyxy(there), xyxy(labels_NM5[:, None, :, None, 1:]))


def _scores(labels_NM5: Tensor, place_NTMC: Tensor, raw_NTKO: Tensor, class_loss: str) -> Tensor:
    """Objectness times probability of the label's class at places of its own, (N, T, M, C)."""
    place, num_classes = place_NTMC.flatten(2), raw_NTKO.shape[-1] - 5
    objectness = raw_NTKO[..., 4].gather(2, place).view(place_NTMC.shape).sigmoid()
    if num_classes == 1:
        return objectness
    class_NTMC = labels_NM5[:, None, :, None, 0].long().clamp(min=0).expand_as(place_NTMC)
    probability = CLASS_PROBABILITIES[class_loss](raw_NTKO[..., 5:]).flatten(2)
    return objectness * probability.gather(2, place * num_classes + class_NTMC.flatten(2)).view(place_NTMC.shape)


def _won(labels_NM5: Tensor, place_NLMC: Tensor, strength_NLMC: Tensor, num_places: int) -> Targets:
    """Targets where the strongest claim wins each place, of equal ones that of the later label."""
    num_images, num_lanes, num_labels, _ = strength_NLMC.shape
    label_M1 = torch.arange(num_labels, device=labels_NM5.device)[:, None]
    # Strength and label in one number, so that the winner is known by its strength.
    bid_NLMC = torch.where(strength_NLMC > 0, strength_NLMC * num_labels + label_M1, 0)
    best = torch.zeros(num_images, num_lanes, num_places, dtype=torch.long, device=labels_NM5.device)
    best.scatter_reduce_(2, place_NLMC.flatten(2), bid_NLMC.flatten(2), "amax")
    index = (best % num_labels)[..., None].expand(-1, -1, -1, 5)
    owned = labels_NM5[:, None].expand(-1, num_lanes, -1, -1).gather(2, index)
    is_object = best > 0
    return Targets(
        is_object_NLK=is_object, boxes_NLK4=owned[..., 1:], classes_NLK=torch.where(is_object, owned[..., 0], 0).long()
    )
