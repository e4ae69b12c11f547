"""How many trials should train side by side: measured with a few steps of the study's own network and data."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from evolve.errors import EvolveError
from evolve.run.apart import apart
from evolve.run.detection import open_study_data, prepare_torch
from evolve.run.engines.crash import is_out_of_memory
from evolve.run.events import LanesChosen
from evolve.study import Study

WARM_STEPS, TURN, TURNS = 1, 2, 3
# What a doubling has to bring, and all of it together: less may be noise, and costs the search.
LEAST_GAIN, LEAST_TOTAL = 1.05, 1.10
# On a CPU networks of slower steps have never gained by lanes; measuring would take minutes to say so.
SLOW_STEP_SECONDS = 1.0


def climb(rate_pair: Callable[[int, int], tuple[float, float]], most: int) -> LanesChosen:
    """The number of lanes that is fastest, found by doubling it as long as that pays.

    Args:
        rate_pair: Measures images a second for two numbers of lanes, in turns.
        most: Largest number of lanes that may be taken, at least 2.
    """
    rates: dict[int, float] = {}
    gain, lanes, reason = 1.0, 1, f"more than {most} have nothing to train or nothing to learn from"
    while lanes * 2 <= most:
        try:
            before, after = rate_pair(lanes, lanes * 2)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = f"{lanes * 2} do not fit into memory"
            break
        rates.setdefault(lanes, before)
        rates[lanes * 2] = rates[lanes] * after / before
        if after / before < LEAST_GAIN:
            reason = f"{lanes * 2} bring {after / before - 1:+.0%}"
            break
        lanes, gain = lanes * 2, gain * after / before
    if gain < LEAST_TOTAL:
        lanes = 1
    return LanesChosen(lanes=lanes, rates=rates, reason=reason)


def choose_lanes(study: Study, device: str, *, threads: int, most: int, pictures: Path | None = None) -> LanesChosen:
    """The number of lanes that is fastest, measured in a process of its own, whose memory is free again afterwards.

    Args:
        study: Study whose network and data are measured.
        device: torch's name of the device to train on.
        threads: Number of threads that torch uses, as in a worker.
        most: Largest number of lanes, at least 2.
        pictures: Folder in which the processes of the run share decoded images; None where nothing is shared.

    Raises:
        EvolveError: The measurement failed or its process died.
    """
    try:
        return apart(_measure, study, device, threads, most, pictures)
    except EvolveError as error:
        text = f"--lanes auto: could not be measured: {error}; name a number, such as --lanes 1"
        raise EvolveError(text) from error


def _measure(study: Study, device: str, threads: int, most: int, pictures: Path | None) -> LanesChosen:
    prepare_torch(num_threads=threads)
    return measured(study, open_study_data(study, pictures), device, most=most)


def measured(study: Study, dataset: Any, device: str, *, most: int) -> LanesChosen:
    """The number of lanes that is fastest, measured in this process on a `detector.datasets.listing.Dataset`."""

    return climb(partial(rate_of_pair, study, dataset, device), most)


def rate_of_pair(study: Study, dataset: Any, device: str, few: int, many: int) -> tuple[float, float]:
    """Images a second of all lanes together, of two numbers of lanes that take turns; equal where steps are slow."""
    with ExitStack() as stack:
        steps = [stack.enter_context(closing(_steps(study, dataset, device, lanes))) for lanes in (few, many)]
        seconds: list[list[float]] = [[], []]
        for turn in range(TURNS):
            for place, lane_steps in enumerate(steps):
                skipped = WARM_STEPS if turn == 0 else 0
                found = [next(lane_steps) for _ in range(skipped + TURN)]
                seconds[place] += found[skipped:]
                if place == 0 and device == "cpu" and min(found) > SLOW_STEP_SECONDS:
                    return 1.0, 1.0  # it would not pay
    images = study.batch_size
    return images * few / statistics.median(seconds[0]), images * many / statistics.median(seconds[1])


def _steps(study: Study, dataset: Any, device: str, lanes: int) -> Generator[float, None, None]:
    """Wall seconds of a training's steps, of all lanes together, without end; nothing is evaluated or saved."""
    from detector.telemetry import StepTelemetry
    from detector.trainer import LaneSpec, Trainer

    # A rate at which nothing diverges; what a step costs does not depend on it.
    values = replace(study.hyperparameters(study.baseline_params()), lr0=1e-6)
    plan = study.training_plan(device, study.seeds[0])
    trainer = Trainer(plan, dataset, [LaneSpec(values=values, seed=lane) for lane in range(lanes)])
    while True:
        with closing(trainer.train_epoch()) as records:
            steps = (record for record in records if isinstance(record, StepTelemetry) and record.lane == 0)
            for step in islice(steps, trainer.total_steps // plan.epochs):
                yield step.seconds * lanes
