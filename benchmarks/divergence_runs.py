"""Small trainings, healthy and doomed, recorded step by step: what `benchmarks.divergence` tries rules on.

    python -m benchmarks.divergence_runs RUNS.jsonl [--minutes 50] [--part 0/2]

Each population of four lanes shares data, size, network, form of the box loss and coding; its lanes differ in
optimizer, clipping, learning rate, momentum, warm-up and seed. All of it is drawn by the number of the population, with
learning rates from far too low to far too high. Nothing is stopped: a run ends after all epochs or when its loss or
gradient is no number. A line of the file is a run: factors, values, how it ended, its steps and its epochs. A file goes
on where it ended; parts take turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detector.datasets import open_dataset
from detector.datasets.listing import Dataset, Original, Sample, Split
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import TERMS, EndCause, EpochMetrics, LaneEnded, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
LANES, BATCH, TRAIN, VAL, EPOCHS = 4, 8, 96, 16, 10  # 120 steps
DATA = ("digits-1", "digits-3", "shapes", "raccoon", "blood-cells")
MODELS = ("yolov3-tiny-compact", "yolov3-compact")
SIZES = (64, 96)
FORMS = {
    "ciou bounded": {},
    "giou exp": {"box_loss": "giou", "coding": "exp"},
    "squared exp": {"box_loss": "squared_error", "coding": "exp"},
}
# Powers of ten that rates are drawn between: from what learns next to nothing to what is lost at once.
RATES = {"sgd": (-2.5, 1.5), "adamw": (-3.5, 0.5), "rmsprop": (-4.0, 0.0)}
CLIPPINGS = {"norm": {}, "none": {"clipping": "none"}, "adaptive": {"clipping": "adaptive"}}
STEP_FIELDS = ("loss", "grad_norm", "update_ratio", "max_box_logit", "critical_ratio", "lr", "bias_lr", "momentum")


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """The first images of a split."""

    whole: Split
    most: int

    def __len__(self) -> int:
        return min(self.most, len(self.whole))

    def sample(self, index: int, epoch: int) -> Sample:
        return self.whole.sample(index, epoch)

    def size(self, index: int) -> tuple[int, int]:
        return self.whole.size(index)

    def original(self, index: int) -> Original:
        return self.whole.original(index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Rectangles and ellipses of one colour on noise, one to three in an image; the same in every epoch."""

    side: int
    seed: int
    number: int

    def __len__(self) -> int:
        return self.number

    def sample(self, index: int, epoch: int) -> Sample:  # noqa: ARG002 - as files, they do not change
        return _shapes(self.side, self.seed, index)

    def size(self, index: int) -> tuple[int, int]:  # noqa: ARG002
        return self.side, self.side

    def original(self, index: int) -> Original:
        found = self.sample(index, 0)
        boxes = tuple(tuple(box) for box in found.boxes_M4.tolist())
        labels = tuple(map(int, found.labels_M.tolist()))
        return Original(image=found.image, size=(self.side, self.side), boxes=boxes, labels=labels)


@cache
def _shapes(side: int, seed: int, index: int) -> Sample:
    rng = np.random.default_rng([seed, index])
    image = rng.integers(0, 120, (side, side, 3))
    rows, columns = np.mgrid[:side, :side]
    boxes, labels = [], []
    for _ in range(rng.integers(1, 4)):
        width, height = rng.integers(side // 6, side // 2, 2)
        x, y = rng.integers(0, side - width), rng.integers(0, side - height)
        is_round = bool(rng.integers(2))
        inside = (rows >= y) & (rows < y + height) & (columns >= x) & (columns < x + width)
        if is_round:
            inside &= ((columns - x - width / 2) / width) ** 2 + ((rows - y - height / 2) / height) ** 2 <= 0.25
        image[inside] = rng.integers(100, 256, 3)
        boxes.append([x, y, x + width, y + height])
        labels.append(int(is_round))
    return Sample(
        image=torch.from_numpy(image.astype(np.uint8)).permute(2, 0, 1).contiguous(),
        boxes_M4=torch.tensor(boxes, dtype=torch.float32),
        labels_M=torch.tensor(labels),
    )


@cache
def opened(name: str, image_size: int) -> Dataset:
    """A data set cut to what a small training takes."""
    if name == "shapes":
        like = open_dataset("digits-1", image_size=image_size)
        train, val = (Shapes(side=image_size, seed=seed, number=size) for seed, size in ((0, TRAIN), (1, VAL)))
        return replace(
            like, source=name, names=("box", "ellipse"), train=train, val=val, test=None, box_counts={}, max_boxes=3
        )
    found = open_dataset(str(SHARED / name) if (SHARED / name).exists() else name, image_size=image_size)
    train, val = First(whole=found.train, most=TRAIN), First(whole=found.val, most=VAL)
    return replace(found, train=train, val=val, test=None, box_counts={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What is drawn for one lane: the level of each factor by its name, hyperparameters and seed."""

    factors: dict[str, str]
    values: Hyperparameters
    seed: int


def drawn(population: int) -> tuple[TrainingPlan, str, list[Lane]]:
    """Plan, data and lanes of a population, by its number."""
    rng = np.random.default_rng([2026, population])
    data, form = DATA[population % len(DATA)], [*FORMS][int(rng.integers(len(FORMS)))]
    model, size = MODELS[int(rng.random() < 0.25)], SIZES[int(rng.random() < 0.25)]
    shared = {"data": data, "model": model, "size": str(size), "form": form}
    lanes = []
    for lane in range(LANES):
        optimizer, clipping = [*RATES][int(rng.integers(len(RATES)))], [*CLIPPINGS][int(rng.integers(len(CLIPPINGS)))]
        low, high = RATES[optimizer]
        chosen: dict[str, Any] = {
            "optimizer": optimizer,
            "lr0": float(10 ** rng.uniform(low, high)),
            "momentum": float(rng.uniform(0.8, 0.97)),
            "warmup_epochs": float(rng.choice([0.0, 1.0, 2.0])),
            "warmup_bias_lr": 0.1 if optimizer == "sgd" else 0.0,
            **CLIPPINGS[clipping],
            **FORMS[form],
        }
        factors = {**shared, "optimizer": optimizer, "clipping": clipping}
        lanes.append(Lane(factors=factors, values=Hyperparameters.from_mapping(chosen), seed=LANES * population + lane))
    plan = TrainingPlan(model=model, image_size=size, batch_size=BATCH, nominal_batch_size=BATCH, epochs=EPOCHS)
    return replace(plan, data_seed=population), data, lanes


@dataclass(slots=True)
class _Run:
    """What has been recorded of a lane."""

    lane: Lane
    steps: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)

    def see(self, record: Telemetry) -> dict[str, Any] | None:
        """Takes a record in; the run as a row after the last one."""
        if isinstance(record, StepTelemetry):
            terms = {term: rounded(getattr(record.terms, term)) for term in TERMS}
            for name in STEP_FIELDS:
                self.steps.setdefault(name, []).append(rounded([getattr(record, name)])[0])
            self.steps.setdefault("in_warmup", []).append(int(record.in_warmup))
            for term, values in terms.items():
                self.steps.setdefault(term, []).append(values)  # type: ignore[arg-type]  # by scale
        elif isinstance(record, EpochMetrics):
            scores = {name: getattr(record, name) for name in ("precision", "recall", "map50", "map50_95")}
            losses = {"val_loss": sum(record.losses.values()), "train_loss": sum(record.train_losses.values())}
            self.epochs.append({name: rounded([value])[0] for name, value in (scores | losses).items()})
        elif isinstance(record, LaneEnded):
            return {
                "factors": self.lane.factors,
                "values": {name: getattr(self.lane.values, name) for name in ("lr0", "momentum", "warmup_epochs")},
                "seed": self.lane.seed,
                "is_lost": record.cause is EndCause.DIVERGED,
                "reason": record.reason,
                "steps": self.steps,
                "epochs": self.epochs,
            }
        return None


def rounded(values: Sequence[float]) -> list[float]:
    """Numbers to six digits, which are enough for any rule."""
    return [float(f"{value:.6g}") for value in values]


def rows(population: int) -> Iterator[dict[str, Any]]:
    """Trains a population; a row for each of its lanes."""
    plan, data, lanes = drawn(population)
    specs = [LaneSpec(values=lane.values, seed=lane.seed, has_critical=True) for lane in lanes]
    trainer = Trainer(plan, opened(data, plan.image_size), specs)
    runs = [_Run(lane) for lane in lanes]
    shared = {"population": population, "total_steps": trainer.total_steps, "steps_per_epoch": TRAIN // BATCH}
    for record in trainer.fit():
        if (row := runs[record.lane].see(record)) is not None:
            yield shared | {"lane": record.lane} | row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--part", default="0/1")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    torch.set_num_threads(1)
    done = {json.loads(line)["population"] for line in asked.out.open()} if asked.out.exists() else set()
    since = time.monotonic()
    for population in count(part, parts):
        if time.monotonic() - since > 60 * asked.minutes:
            return
        if population not in done:
            found = [*rows(population)]
            with asked.out.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in found)


if __name__ == "__main__":
    main()
