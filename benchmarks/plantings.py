"""Trainings that are sound, drawn, and the faults that are planted in them: what `benchmarks.causes` trains.

What is sound varies by seed: classes, rates, momentum, box loss, coding, gains, clipping. A fault changes what a
training is made with, or the labels of some of its images.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from detector.datasets.digits import CLASS_NAMES, DigitScenes, DigitSettings, open_digits
from detector.datasets.listing import Dataset, Original, Sample, Split
from detector.hyperparameters import Hyperparameters
from evolve.outcome.explanations import Cause, Remedy

SIDE, SCENES, BATCH, EPOCHS = 64, 64, 8, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is trained: hyperparameters, precision, classes, and what is done to the labels."""

    values: Hyperparameters
    source: str = "digits-1"
    precision: str = "float32"
    labels: str = ""

    def cured(self, remedies: Sequence[Remedy]) -> Setup:
        """The same with remedies applied."""
        changes = {remedy.name: remedy.value for remedy in remedies if remedy.name != "precision"}
        precision = next((str(remedy.value) for remedy in remedies if remedy.name == "precision"), self.precision)
        return replace(self, values=replace(self.values, **changes), precision=precision)


def sound(rng: random.Random) -> Setup:
    """A training without a fault, drawn."""
    values = Hyperparameters(
        lr0=_log_uniform(rng, 0.005, 0.08),
        momentum=rng.uniform(0.85, 0.937),
        warmup_steps=float(rng.randint(10, 24)),
        warmup_epochs=0.0,
        warmup_bias_lr=rng.choice([0.01, 0.1]),
        box_loss=rng.choice(["ciou", "giou", "diou", "iou"]),
        coding=rng.choice(["bounded", "wide", "exp"]),
        box=_log_uniform(rng, 0.05, 1.0),
        clipping=rng.choice(["norm", "norm", "none"]),
        normalisation=rng.choice(["batch", "batch", "group"]),
        weight_decay=rng.choice([0.0, 5e-4]),
        nesterov=rng.choice([True, False]),
        schedule=rng.choice(["linear", "cosine", "constant"]),
    )
    return Setup(values=values, source=rng.choice(["digits-1", "digits-3"]))


def _rate(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    return base, _with(base, lr0=_log_uniform(rng, 1, 5) * 10**hardness)


def _box_size(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    loss = rng.choice(["squared_error", "ciou", "giou", "diou"])
    lr0 = _log_uniform(rng, 0.1, 0.4) if loss == "squared_error" else _log_uniform(rng, 0.4, 0.8)
    safe = _with(base, coding="bounded", box_loss=loss, box=rng.uniform(0.5, 2.0), clipping="none")
    safe = _with(safe, lr0=lr0 * 10 ** (hardness / 6))
    return safe, _with(safe, coding="exp")


def _spike(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    # Without a norm that divides a large step out again, and at sizes that a large step throws out of exp's reach.
    base = _with(base, reduction="sum", clipping="none", normalisation="none", coding="exp", box_loss="squared_error")
    base = _with(base, lr0=_log_uniform(rng, 0.008, 0.02) * 10 ** (hardness / 4))
    return base, replace(base, labels=f"crowd:{rng.randint(60, 110)}:{rng.randint(1, EPOCHS - 2)}")


def _bad_label(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    kinds = ["nan", "inf", "1e30", "flipped"]
    kind = kinds[(rng.randrange(len(kinds)) + round(hardness)) % len(kinds)]
    return base, replace(base, labels=f"{kind}:{rng.randint(0, SCENES - 1)}")


def _warmup(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    lr0 = _log_uniform(rng, 0.5, 1.0) * 10 ** (hardness / 4)
    base = _with(base, lr0=lr0, warmup_steps=24.0, warmup="linear", clipping="none")
    return base, _with(base, warmup_steps=float(rng.choice([0, 0, 1, 2])))


def _momentum(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    base = _with(base, lr0=_log_uniform(rng, 0.2, 0.5) * 10 ** (hardness / 3), clipping="none")
    return base, _with(base, momentum=1 - _log_uniform(rng, 0.0005, 0.01), warmup_momentum=rng.uniform(0.8, 0.99))


def _bias_rate(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    base = _with(base, clipping=rng.choice(["none", "none", "norm"]))
    return base, _with(base, warmup_bias_lr=min(_log_uniform(rng, 30, 300) * 10**hardness, 1e6))


def _loss_gain(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    base, term = _with(base, clipping="none"), rng.choice(["box", "obj", "obj", "noobj"])
    return base, _with(base, **{term: min(_log_uniform(rng, 30, 300) * 10**hardness, 1e4)})


def _initialisation(rng: random.Random, base: Setup, hardness: float) -> tuple[Setup, Setup]:
    base = _with(base, normalisation="none", clipping="none", lr0=min(base.values.lr0, 0.02))
    return base, _with(base, initialiser="normal", init_std=min(_log_uniform(rng, 0.2, 0.8) * 10 ** (hardness / 2), 10))


PLANTS: Mapping[Cause, Callable[[random.Random, Setup, float], tuple[Setup, Setup]]] = {
    Cause.RATE: _rate,
    Cause.BOX_SIZE: _box_size,
    Cause.SPIKE: _spike,
    Cause.BAD_LABEL: _bad_label,
    Cause.WARMUP: _warmup,
    Cause.MOMENTUM: _momentum,
    Cause.BIAS_RATE: _bias_rate,
    Cause.LOSS_GAIN: _loss_gain,
    Cause.INITIALISATION: _initialisation,
}


@dataclass(frozen=True, slots=True)
class _Relabelled:
    """A split some of whose images have other labels: of no number, inside out, or a crowd of sound ones."""

    whole: Split
    labels: str
    seed: int

    def __len__(self) -> int:
        return len(self.whole)

    def sample(self, index: int, epoch: int) -> Sample:
        found = self.whole.sample(index, epoch)
        kind, *numbers = self.labels.split(":")
        if kind == "crowd":
            count, when = map(int, numbers)
            return _crowded(found, count) if epoch == when and index in self._batch(epoch) else found
        if index != int(numbers[0]) or epoch == 0 or not len(found.labels_M):
            return found
        boxes_M4 = found.boxes_M4.clone()
        boxes_M4[0] = boxes_M4[0, [2, 3, 0, 1]] if kind == "flipped" else float(kind)
        return Sample(image=found.image, boxes_M4=boxes_M4, labels_M=found.labels_M)

    def _batch(self, epoch: int) -> set[int]:
        """Places of the images of the middle batch of an epoch."""
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(SCENES)
        return set(order[SCENES // 2 : SCENES // 2 + BATCH].tolist())

    def size(self, index: int) -> tuple[int, int]:
        return self.whole.size(index)

    def original(self, index: int) -> Original:
        return self.whole.original(index)


def _crowded(sample: Sample, count: int) -> Sample:
    """The image with so many labels more, all of them boxes that could be learned, over the whole image."""
    generator = torch.Generator().manual_seed(count)
    corner_M2 = torch.rand(count, 2, generator=generator) * (SIDE - 16)
    boxes_M4: Tensor = torch.cat((corner_M2, corner_M2 + 14), 1)
    return Sample(
        image=sample.image,
        boxes_M4=torch.cat((sample.boxes_M4, boxes_M4)),
        labels_M=torch.cat((sample.labels_M, torch.zeros(count, dtype=torch.int64))),
    )


def scenes(setup: Setup, seed: int) -> Dataset:
    """Images of a training, with the labels as it has them."""
    whole = _sound_scenes(setup.source)
    return replace(whole, train=_Relabelled(whole.train, setup.labels, seed)) if setup.labels else whole


@cache  # scenes are drawn from stamps that take longer to make than a training
def _sound_scenes(source: str) -> Dataset:
    def drawn(part: str, count: int) -> DigitScenes:
        return DigitScenes(
            DigitSettings(split=part, names=CLASS_NAMES[source], image_size=SIDE, seed=0, num_scenes=count)
        )

    whole = open_digits(source, image_size=SIDE)
    return replace(whole, train=drawn("train", SCENES), val=drawn("val", 16), test=None, max_boxes=128)


def _with(setup: Setup, **changes: float | str | bool) -> Setup:
    return replace(setup, values=replace(setup.values, **changes))


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())
