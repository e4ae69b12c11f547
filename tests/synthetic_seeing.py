"""What evaluations of made-up trainings show besides their metrics: classes, objectness, pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import exp, nan
from typing import Any

from PIL import Image

from detector.observations import LayerInspected, Part, Picture, PicturesWatched, ScaleObjectness
from detector.telemetry import ClassScores
from evolve.storage import schema
from evolve.storage.records import picture_row
from evolve.storage.rows import class_row, layer_row, objectness_row, watched_row

NUM_CLASSES, NUM_PICTURES = 3, 2
NUM_LAYERS = 5


def _picture(shade: int, size: tuple[int, int]) -> Picture:
    content = io.BytesIO()
    Image.new("RGB", size, (shade, 90, 120)).save(content, format="JPEG")
    boxes = ((100, 200, 450, 700, 0), (500, 300, 900, 950, shade % NUM_CLASSES))
    return Picture(jpeg=content.getvalue(), width=size[0], height=size[1], boxes=boxes)


WATCHED = (_picture(30, (64, 48)), _picture(61, (48, 64)))
BATCH = _picture(99, (64, 64))


def picture_rows(study_id: int) -> list[dict[str, Any]]:
    """Rows of the pictures of a study."""
    return [picture_row(picture) | {"study_id": study_id} for picture in (*WATCHED, BATCH)]


def seen_rows(epochs: Sequence[Mapping[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    """Rows that go with those of a trial's epochs, by table."""
    trainings = {(row["trial_id"], row["seed"]) for row in epochs}
    shown = [("val", place, picture) for place, picture in enumerate(WATCHED)] + [("train", 0, BATCH)]
    taken = [
        {"trial_id": trial, "seed": seed, "split": split, "place": place}
        | {"picture_id": picture_row(picture)["picture_id"]}
        for trial, seed in sorted(trainings)
        for split, place, picture in shown
    ]
    return {
        schema.taken: taken,
        schema.class_scores: [each for row in epochs for each in _classes(row)],
        schema.objectness: [each for row in epochs for each in _objectness(row)],
        schema.watched: [_watched(row) for row in epochs if row["split"] == "val"],
    }


def _classes(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = {"lane": 0, "epoch": row["epoch"], "split": row["split"]}
    found = []
    for index in range(NUM_CLASSES):
        # The last class has no label.
        share = 1 - 0.3 * index if index < NUM_CLASSES - 1 else nan
        scores = {name: row[name] * share for name in ("precision", "recall", "map50", "map50_95")}
        record = ClassScores(**own, class_index=index, objects=20 * (NUM_CLASSES - 1 - index), **scores)
        found.append(class_row(row["trial_id"], row["seed"], record))
    return found


def _objectness(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = {"lane": 0, "epoch": row["epoch"], "split": row["split"]}
    found = []
    for scale in range(2):
        for is_matched in (True, False):
            mean = 0.05 + (0.6 * (1 - exp(-0.5 * row["epoch"])) if is_matched else 0.02)
            peak = int(mean * 20)
            record = ScaleObjectness(
                **own,
                scale=scale,
                is_matched=is_matched,
                places=100 if is_matched else 900,
                objectness_mean=mean,
                objectness_spread=0.1,
                iou_mean=0.5,
                iou_spread=0.2,
                histogram=tuple(100 if bin_ == peak else 0 for bin_ in range(20)),
                density=tuple(tuple(10 if line == peak // 2 else 0 for _ in range(10)) for line in range(10))
                if is_matched
                else (),
            )
            found.append(objectness_row(row["trial_id"], row["seed"], record))
    return found


def _watched(row: Mapping[str, Any]) -> dict[str, Any]:
    boxes = ((110, 190, 460, 690, 0, 910), (20, 20, 300, 300, 1, 150))
    record = PicturesWatched(lane=0, epoch=row["epoch"], boxes=(boxes, boxes[: row["epoch"] % 2]))
    return watched_row(row["trial_id"], row["seed"], record)


def layer_rows(trial_id: int, seed: int, epochs: int) -> list[dict[str, Any]]:
    """Rows of a training that was looked into before its first epoch and after each; its activations explode."""
    parts: dict[Part, float] = {"activations": 3.0, "weights": 0.9, "gradients": 1.5}
    return [
        layer_row(trial_id, seed, _layer(part, layer, epoch, rising**layer))
        for epoch in range(epochs + 1)
        for part, rising in parts.items()
        for layer in range(NUM_LAYERS)
    ]


def _layer(part: Part, layer: int, epoch: int, size: float) -> LayerInspected:
    is_output = layer == NUM_LAYERS - 1
    return LayerInspected(
        lane=0,
        epoch=epoch,
        layer=layer,
        part=part,
        mean=0.1 * size,
        spread=size / (1 + epoch),
        norm=100 * size,
        smallest=-3 * size,
        largest=5 * size,
        zeros=0.01,
        dead=nan if is_output and part == "activations" else 0.05 * layer,
        histogram=tuple(round(1000 * exp(-(((place - 9.5) / 3) ** 2)) / 5.317) for place in range(20)),
    )
