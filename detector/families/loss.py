"""What is asked of a prediction: the terms of the loss, and which places learn which label."""

from __future__ import annotations

from dataclasses import dataclass

from detector.declaration import CLASSES, choice, number
from detector.families import LOSS, TARGETS


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The terms of the loss, and which places learn which label."""

    box: float = number(0.5, 0.0, 1e4, LOSS, "Gain of the box term.")
    small_box_gain: float = number(
        1.0,
        0.0,
        100.0,
        LOSS,
        "How much more boxes weigh in the box term the smaller they are: one of area a by 1 + this (1 - a). 1 is "
        "darknet's 2 - w h, 0 weighs all alike.",
        needs=(("box",),),
    )
    obj: float = number(1.0, 0.0, 1e4, LOSS, "Gain of the objectness term where an object is.")
    noobj: float = number(1.0, 0.0, 1e4, LOSS, "Gain of the objectness term where none is.")
    cls: float = number(0.5, 0.0, 1e4, LOSS, "Gain of the class term.", needs=((CLASSES,),))
    box_loss: str = choice(
        LOSS,
        "What the box term counts: one minus this overlap of prediction and label, or darknet's squared error.",
        ("ciou", "giou", "iou", "diou", "squared_error"),
        is_shared=True,
        needs=(("box",),),
    )
    objectness: str = choice(
        LOSS,
        "How the objectness terms count: binary cross-entropy; focal, where easy places count less; or squared error.",
        ("bce", "focal", "squared_error"),
        is_shared=True,
    )
    focal_gamma: float = number(
        1.5, 0.0, 10.0, LOSS, "Exponent of the focal loss; 0 is BCE.", needs=(("objectness", "focal"),)
    )
    negatives: str = choice(
        LOSS,
        "Places without an object that are asked to be background: every one, or of an image those that cost most.",
        ("every", "hardest"),
        is_shared=True,
        needs=(("noobj",),),
    )
    negatives_per_object: float = number(
        3.0,
        0.0,
        1e4,
        LOSS,
        "Places asked to be background for each that has an object; an image without any counts as having one.",
        needs=(("negatives", "hardest"),),
    )
    class_loss: str = choice(
        LOSS,
        "How the class term counts: binary cross-entropy of each class by itself, or one softmax over all.",
        ("bce", "softmax"),
        is_shared=True,
        needs=(("cls",), (CLASSES,)),
    )
    label_smoothing: float = number(
        0.0,
        0.0,
        1.0,
        LOSS,
        "Share of a label's class that is given away in what the class term asks for.",
        needs=(("cls",), (CLASSES,)),
    )
    smoothing: str = choice(
        LOSS,
        "Who gets that share: all classes evenly, or in each class by itself the other answer its half.",
        ("uniform", "binary"),
        is_shared=True,
        needs=(("label_smoothing",), ("cls",), (CLASSES,)),
    )
    class_weights: float = number(
        0.0,
        0.0,
        1.0,
        LOSS,
        "How far rare classes weigh more in the class term: 0 as all do, 1 by the inverse of their labels' number.",
        needs=(("cls",), (CLASSES,)),
    )
    reduction: str = choice(
        LOSS,
        "What gains weigh: means over matches or places, sums over an image's, or sums whose root the loss is.",
        ("mean", "sum", "root"),
        is_shared=True,
    )
    ignore_iou: float = number(
        0.7,
        0.0,
        1.0,
        TARGETS,
        "A prediction that overlaps a label more than this is not asked to be background.",
        unit="IoU",
        needs=(("noobj",),),
    )
    obj_iou: float = number(
        1.0,
        0.0,
        1.0,
        LOSS,
        "Share of the IoU in what objectness is asked for where an object is: 0 asks for 1, 1 for the IoU.",
        needs=(("obj",),),
    )
    assignment: str = choice(
        TARGETS,
        "Anchors that learn a label: the best alone, or also those above assign_iou or within assign_ratio.",
        ("shape_ratio", "shape_overlap", "best_anchor"),
        is_shared=True,
    )
    assign_iou: float = number(
        0.4,
        0.0,
        1.0,
        TARGETS,
        "Anchors whose shape overlaps a label at least this much learn it too; 1 leaves the best alone.",
        unit="IoU",
        is_shared=True,
        needs=(("assignment", "shape_overlap"),),
    )
    assign_ratio: float = number(
        4.0,
        1.0,
        100.0,
        TARGETS,
        "Anchors whose sides are within this factor of a label's learn it too.",
        unit="ratio of sides",
        is_shared=True,
        needs=(("assignment", "shape_ratio"),),
    )
    cells: str = choice(
        TARGETS,
        "Cells that learn a label: that of its centre, its two nearer neighbours too, or all eight around.",
        ("neighbours", "centre", "square"),
        is_shared=True,
    )
    positives: str = choice(
        TARGETS,
        "Places that learn a label of those that may: every one, or the align_top that predict it best.",
        ("every", "aligned"),
        is_shared=True,
    )
    align_top: float = number(
        10.0, 1.0, 1000.0, TARGETS, "Places that learn a label at most.", needs=(("positives", "aligned"),)
    )
    align_score: float = number(
        0.5,
        0.0,
        10.0,
        TARGETS,
        "Exponent of the predicted score where places are ranked.",
        needs=(("positives", "aligned"),),
    )
    align_iou: float = number(
        6.0, 0.0, 20.0, TARGETS, "Exponent of the IoU where places are ranked.", needs=(("positives", "aligned"),)
    )
    coding: str = choice(
        TARGETS,
        "How raw outputs become boxes: YOLOv3's exp, or sigmoids that bound the size to 4 anchors; wide ones reach "
        "all cells around.",
        ("bounded", "exp", "wide"),
        is_shared=True,
    )
