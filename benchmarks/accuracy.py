"""Accuracy of variants of the hyperparameters, each on the same seeds and data sets, from scratch.

    python -m benchmarks.accuracy VARIANTS.yaml [--seeds 0,1,2] [--data raccoon,blood-cells] [--out FILE.csv]

VARIANTS.yaml maps names to hyperparameters, and `model`, `image_size`, `batch_size`, `anchors` and `epochs` where they
are others; what one leaves out is as in the file's `base`. yolov3-tiny, 160 pixels, batch 16, 30 epochs, one thread;
metrics are COCO's after the last epoch, of the averaged weights, suppression at IoU 0.6. Of a data set with test
images, training and validation images are trained on and test images measured. Every training is a row of the CSV file
as soon as it ends, and one that is there already is not made again; the table is of all rows: means, 95 % intervals
over seeds (Student's t), and the mean difference to the first variant over the seeds that both have.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from scipy.stats import t as student

from benchmarks.photographs import BATCH_SIZE, EPOCHS, IMAGE_SIZE, MODEL, SHARED, plan_of, train
from detector.datasets import open_dataset
from detector.datasets.listing import Dataset, Original, Sample, Split
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan

OVERLAP = 0.6
PLANNED = ("model", "image_size", "batch_size", "anchors", "epochs")  # what is no hyperparameter
FIELDS = ("variant", "data", "seed", "map50", "map50_95", "seconds", "end", "values", "class_ap50")


class Both:
    """The images of two splits as one."""

    def __init__(self, first: Split, second: Split) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def _of(self, index: int) -> tuple[Split, int]:
        count = len(self._first)
        return (self._first, index) if index < count else (self._second, index - count)

    def sample(self, index: int, epoch: int) -> Sample:
        split, place = self._of(index)
        return split.sample(place, epoch)

    def size(self, index: int) -> tuple[int, int]:
        split, place = self._of(index)
        return split.size(place)

    def original(self, index: int) -> Original:
        split, place = self._of(index)
        return split.original(place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of training.

    Attributes:
        given: What the file gives for the variant, its base included, by name.
        values: All hyperparameters of the variant.
        plan: Fields of the training plan that are not as in `plan_of`, by name.
    """

    given: Mapping[str, Any]
    values: Hyperparameters
    plan: Mapping[str, Any]

    def planned(self, seed: int, epochs: int) -> TrainingPlan:
        """The plan of one training of the variant."""
        plan = replace(plan_of(seed, epochs=epochs, nms_iou=OVERLAP), **self.plan)
        return replace(plan, nominal_batch_size=plan.batch_size)


def variant_of(given: Mapping[str, Any]) -> Variant:
    """The variant that an entry of the file describes; what it does not name is the default."""
    values = {name: value for name, value in given.items() if name not in PLANNED}
    plan = {name: value for name, value in given.items() if name in PLANNED}
    return Variant(given=given, values=Hyperparameters.from_mapping(values), plan=plan)


@cache
def opened(name: str, image_size: int) -> Dataset:
    """A data set whose validation images are those to measure on."""
    found = open_dataset(str(SHARED / name if (SHARED / name).exists() else name), image_size=image_size)
    if found.test is None:
        return found
    return replace(found, train=Both(found.train, found.val), val=found.test, test=None)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of the trainings that a file has already, by column; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def written(path: Path, row: Mapping[str, object]) -> None:
    """Adds the row of a training to a file, which begins with the names of its columns."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def interval(values: Sequence[float]) -> str:
    """Mean and half the width of its 95 % interval."""
    if len(values) < 2:
        return f"{statistics.fmean(values):.3f}" if values else "-"
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.fmean(values):.3f} +-{half:.3f}"


def print_table(rows: Sequence[Mapping[str, str]], variants: Sequence[str], data: Sequence[str]) -> None:
    """Prints a line for each variant and data set."""
    print(f"{'':<28}{'data':<13}{'n':>3}{'mAP50':>15}{'mAP50-95':>15}{'seconds':>9}{'against the first':>30}")
    for name in data:
        by_seed = {
            variant: {row["seed"]: row for row in rows if row["variant"] == variant and row["data"] == name}
            for variant in variants
        }
        first = by_seed[variants[0]]
        for variant, own in by_seed.items():
            if not own:
                continue
            found = [[float(row[key]) for row in own.values()] for key in ("map50", "map50_95", "seconds")]
            pairs = [
                [float(own[seed][key]) - float(first[seed][key]) for seed in own if seed in first]
                for key in ("map50", "map50_95")
            ]
            against = " / ".join(map(interval, pairs)) if variant != variants[0] and pairs[0] else ""
            print(
                f"{variant:<28}{name:<13}{len(own):>3}{interval(found[0]):>15}{interval(found[1]):>15}"
                f"{statistics.median(found[2]):>9.0f}{against:>34}"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("variants", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data", default="raccoon,blood-cells")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("accuracy.csv"))
    parser.add_argument("--table-only", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    variants = yaml.safe_load(asked.variants.read_text(encoding="utf-8"))
    base = variants.pop("base", None) or {}
    asked_for = {name: variant_of({**base, **(own or {})}) for name, own in variants.items()}
    data = asked.data.split(",")
    print(
        f"{MODEL}, {IMAGE_SIZE} px, batch {BATCH_SIZE}, {asked.epochs} epochs, {asked.threads} thread; "
        f"torch {torch.__version__}, {platform.machine()}; suppression at IoU {OVERLAP}, mean and half a 95 % interval"
    )
    for seed in [] if asked.table_only else map(int, asked.seeds.split(",")):
        for name in data:
            for variant, own in asked_for.items():
                key = {"variant": variant, "data": name, "seed": str(seed)}
                if any(key.items() <= row.items() for row in rows_of(asked.out)):
                    continue
                plan = own.planned(seed, asked.epochs)
                found = train(opened(name, plan.image_size), own.values, plan)
                told = {field: getattr(found, field) for field in ("map50", "map50_95", "seconds", "end")}
                changed = json.dumps(own.given)
                classes = " ".join(f"{value:.3f}" for value in found.class_ap50)
                written(asked.out, {**key, **told, "values": changed, "class_ap50": classes})
                scores = f"{found.map50:.3f} / {found.map50_95:.3f} ({classes})"
                print(f"{variant} {name} {seed}: {scores} in {found.seconds:.0f} s", flush=True)
    print_table(rows_of(asked.out), [*asked_for], data)


if __name__ == "__main__":
    main()
