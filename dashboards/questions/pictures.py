"""What does the network see, and what does it find in it?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from dashboards.blocks import Album, Empty, Marked, Photo
from dashboards.data.trial import TrialView
from dashboards.questions.panel import Panel
from detector.observations import Picture

NOT_RECORDED = "not recorded for this training: it was made before they were, or elsewhere."


def rows(view: TrialView) -> Album | Empty:
    """The validation images that are watched, and what was found in them after each epoch that is kept."""
    photos = _photos(view, "val")
    if not photos:
        return Empty(f"Pictures are {NOT_RECORDED}")
    kept = view.measured.frame("watched").to_dict("records")
    pages = tuple(
        (
            f"after epoch {row['epoch'] + 1} ({place} of {len(kept)})",
            tuple(marks(boxes, view.class_name) for boxes in json.loads(row["boxes"])),
        )
        for place, row in enumerate(kept, start=1)
    )
    if not pages:
        return Empty("Nothing has been looked for in the pictures yet; that is done after the first epoch.")
    return Album(name="pictures", photos=photos, pages=pages)


def batch_rows(view: TrialView) -> Album | Empty:
    """The first batch of the training."""
    photos = _photos(view, "train")
    if not photos:
        return Empty(f"Pictures are {NOT_RECORDED}")
    return Album(name="first-batch", photos=photos, pages=(("", ((),) * len(photos)),))


def _photos(view: TrialView, split: str) -> tuple[Photo, ...]:
    found = view.measured.frame("pictures")
    return tuple(
        Photo(
            jpeg=bytes(row["jpeg"]),
            width=int(row["width"]),
            height=int(row["height"]),
            labels=marks(json.loads(row["boxes"]), view.class_name),
        )
        for row in found[found["split"] == split].to_dict("records")
    )


def photo(picture: Picture, name_of: Callable[[int], str]) -> Photo:
    """A picture with its labels; arguments as of `marks`."""
    labels = marks(picture.boxes, name_of)
    return Photo(jpeg=picture.jpeg, width=picture.width, height=picture.height, labels=labels)


def marks(boxes: Sequence[Sequence[int]], name_of: Callable[[int], str]) -> tuple[Marked, ...]:
    """Objects as they are drawn.

    Args:
        boxes: Left, upper, right and lower edge of each in thousandths of the picture, and index of its class; of a
            detection a score in thousandths as well.
        name_of: Function from the index of a class to its name.
    """
    return tuple(
        Marked(
            corners=tuple(box[:4]),
            name=name_of(box[4]),
            slot=box[4],
            score=box[5] / 1000 if len(box) > 5 else None,
        )
        for box in boxes
    )


PANEL = Panel(
    key="pictures",
    title="What it finds, epoch after epoch",
    caption="The same validation images after each epoch. Dashed white is labelled, colours are found, fainter where "
    "less sure. Scroll sideways, swipe, or use the arrow keys: to the left is earlier.",
    rows=rows,
)

BATCH = Panel(
    key="first-batch",
    title="The first batch",
    caption="Training images of the first step as the network saw them, with their labels after augmentation.",
    rows=batch_rows,
)
