"""Ranges that lie around the critical rate: measured by a short training of the defaults before the first trial."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from statistics import median
from typing import Any

from evolve.errors import EvolveError
from evolve.formatting import number
from evolve.run.apart import apart
from evolve.run.detection import open_study_data, prepare_torch
from evolve.study import Study
from evolve.study.placing import Measured, placed

# A short training has the warm-up of a whole one, as far as that is short itself, and some updates at the full rate.
MOST_WARMUP, UPDATES, MEASURED_AT = 40, 24, (2, 8, 14, 20)
FIRST, STRIDE, SMALLEST, LARGEST = 0.25, 4.0, 1e-6, 1e4  # rates that are tried
# Whole trainings have 1.6 to 5.5 at rates that they bear and 0.1 to 0.7 at the next: benchmarks/critical_rate.py.
BEYOND = 0.75


def placed_study(study: Study, device: str, *, threads: int, pictures: Path | None = None) -> Study:
    """A study all of whose ranges are placed, by what is measured now in a process of its own.

    Args:
        study: Study with ranges to place, whose data can be trained on.
        device: torch's name of the device to train on.
        threads: Number of threads that torch uses, as in a worker.
        pictures: Folder in which the processes of the run share decoded images; None where nothing is shared.

    Raises:
        EvolveError: Nothing could be measured.
    """
    try:
        found = apart(_measured, study, device, threads, pictures)
    except EvolveError as error:
        names = " and ".join(f"space.{name}.around" for name in study.space.unplaced)
        raise EvolveError(f"study {study.name}: {names}: not measured: {error}; write low and high there") from error
    return placed(study, dict.fromkeys(study.space.unplaced, found))


def _measured(study: Study, device: str, threads: int, pictures: Path | None) -> Measured:
    prepare_torch(num_threads=threads)
    return critical_rate(partial(ratio_at, study, open_study_data(study, pictures), device))


def critical_rate(ratio_of: Callable[[float], float]) -> Measured:
    """The learning rate beyond which updates are larger than what would still lower the loss of their own batch.

    A training comes to where its updates are about as large as they may be, whatever the rate, so one ratio cannot be
    scaled up: it is of the order of 1 at all rates that are borne, and falls beyond. So rates are tried by strides,
    then between two.

    Args:
        ratio_of: Returns the median critical ratio of a short training at a learning rate; 0 where it diverges.

    Raises:
        EvolveError: No rate that was tried is too high, or all are.

    Source: Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability.
    """
    ratios: dict[float, float] = {}

    def is_beyond(rate: float) -> bool:
        ratios[rate] = ratio_of(rate)
        return not ratios[rate] >= BEYOND

    rate = FIRST
    stride = 1 / STRIDE if is_beyond(rate) else STRIDE
    while SMALLEST <= rate * stride <= LARGEST:
        rate = rounded(rate * stride)
        if is_beyond(rate) is (stride > 1):
            break
    else:
        raise EvolveError(
            f"every rate from {min(ratios):g} to {max(ratios):g} {'is borne' if stride > 1 else 'diverges'}"
        )
    low = max(tried_rate for tried_rate, ratio in ratios.items() if ratio >= BEYOND)
    high = min(tried_rate for tried_rate in ratios if tried_rate > low)
    middle = rounded(sqrt(low * high))
    low, high = (low, middle) if is_beyond(middle) else (middle, high)
    tried = ", ".join(f"{number(tried_rate)}: {number(ratios[tried_rate])}" for tried_rate in sorted(ratios))
    reason = (
        f"critical rate between {number(low)} and {number(high)}, by trainings of {UPDATES} updates after the "
        f"warm-up (how much larger an update could be, the median, by rate: {tried})"
    )
    return Measured(edge=rounded(sqrt(low * high)), measured=(low, high), reason=reason)


def ratio_at(study: Study, dataset: Any, device: str, rate: float) -> float:
    """Median critical ratio of a short training of a study's defaults at a learning rate; 0 where it diverges.

    Args:
        study: Study whose defaults are trained.
        dataset: Data to train on, a `detector.datasets.listing.Dataset`.
        device: torch's name of the device to train on.
        rate: Learning rate that is reached after the warm-up.
    """
    from detector.batches import num_batches
    from detector.schedule import warmup_length
    from detector.telemetry import StepTelemetry
    from detector.trainer import LaneSpec, Trainer

    own, plan = study.hyperparameters(study.baseline_params()), study.training_plan(device, study.seeds[0])
    accumulation = plan.accumulation  # batches of an update
    length = warmup_length(own, steps_per_epoch=num_batches(dataset.train, plan.batch_size, own.train_share))
    warmup = min(ceil(length / accumulation), MOST_WARMUP)
    values = replace(own, lr0=rate, schedule="constant", warmup_epochs=0.0, warmup_steps=float(warmup * accumulation))
    steps = frozenset((warmup + update) * accumulation - 1 for update in MEASURED_AT)
    last = (warmup + UPDATES) * accumulation - 1
    plan = replace(plan, epochs=last + 1)  # enough, however few batches an epoch has
    trainer = Trainer(plan, dataset, [LaneSpec(values=values, critical_at=steps)])
    ratios = []
    with closing(trainer.fit()) as records:
        for record in records:
            if isinstance(record, StepTelemetry):
                if not record.is_finite:
                    return 0.0
                if record.step in steps:
                    ratios.append(record.critical_ratio)
                if record.step >= last:
                    break
    return median(ratios)


def rounded(rate: float) -> float:
    """A rate rounded to three significant digits."""
    return float(f"{rate:.3g}")
