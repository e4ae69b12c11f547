"""Are causes of divergence named, and do their remedies cure? Faults are planted in trainings that are sound without.

A planting counts where the training without the fault is sound and the one with it diverges, so that the fault is the
cause. What is sound varies by seed: classes, rates, momentum, box loss, coding, gains, clipping. Rules were written on
plantings with seed 1 and even ones; the table is of odd ones from 3 on. Half precision is not planted: a step of
float16 takes seconds on a CPU.

    python -m benchmarks.causes --seeds 3-27 --output /tmp/causes.jsonl     trains, and goes on where it was stopped
    python -m benchmarks.causes --output /tmp/causes.jsonl --table          the table of what has been trained
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.plantings import BATCH, EPOCHS, PLANTS, SIDE, Setup, scenes, sound
from detector.hyperparameters import fuse_key
from detector.plan import TrainingPlan
from detector.telemetry import EndCause, LaneEnded, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from evolve.outcome.cured import exact_interval
from evolve.outcome.explanations import Cause
from evolve.outcome.forensics import diagnose
from evolve.outcome.verdict import Verdict
from evolve.run.lending import Course
from evolve.study import Study

ATTEMPTS = 3  # other sound trainings, where the fault did not make one diverge
HARDNESS = (0.0, 1.0, 2.0)  # of which the mildest is taken that makes the training diverge
STUDY = Study.from_mapping({"name": "causes", "space": {}, "budget": {"trials": 1}}, origin="benchmarks/causes.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One planting: the fault, what was found, and whether the remedy cured. Rows of the output."""

    seed: int
    cause: str
    attempts: int
    found: tuple[str, ...]
    remedies: tuple[str, ...]
    is_cured: bool | None
    fitness: float
    sound_fitness: float
    summary: str
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A fault that makes a training diverge which is sound without it."""

    cause: Cause
    seed: int
    attempts: int
    base: Setup
    faulty: Setup
    steps: Sequence[StepTelemetry]
    ended: LaneEnded
    sound_fitness: float


def planted(cause: Cause, seed: int) -> Planted | None:
    """The mildest fault of one kind by which a sound training diverges; None where none of those tried did."""
    for attempt in range(ATTEMPTS):
        pairs = []
        for hardness in HARDNESS:  # all else is drawn alike
            rng = random.Random(f"{cause}:{seed}:{attempt}")
            pairs.append(PLANTS[cause](rng, sound(rng), hardness))
        trained = train_together({setup for pair in pairs for setup in pair}, seed)
        for base, faulty in pairs:
            if trained[faulty].has_diverged and not trained[base].has_diverged:
                return Planted(
                    cause=cause,
                    seed=seed,
                    attempts=attempt + 1,
                    base=base,
                    faulty=faulty,
                    steps=trained[faulty].steps,
                    ended=trained[faulty].ended,
                    sound_fitness=trained[base].fitness,
                )
    return None


def result_of(fault: Planted) -> Result:
    """What the rules say of a planting, and what becomes of it with their remedies."""
    faulty = fault.faulty
    diagnosis = diagnose(fault.steps, fault.ended, seed=fault.seed, values=faulty.values, precision=faulty.precision)
    remedies = diagnosis.causes[0].remedies
    is_cured, fitness = None, 0.0
    if remedies:
        cure = faulty.cured(remedies)
        again = train_together([cure], fault.seed)[cure]
        is_cured, fitness = not again.has_diverged, again.fitness
    return Result(
        seed=fault.seed,
        cause=fault.cause,
        attempts=fault.attempts,
        found=tuple(explanation.cause for explanation in diagnosis.causes),
        remedies=tuple(remedy.setting for remedy in remedies),
        is_cured=is_cured,
        fitness=fitness,
        sound_fitness=fault.sound_fitness,
        summary=diagnosis.summary,
        fault=_difference(fault.base, faulty),
    )


@dataclass(slots=True, kw_only=True)
class Trained:
    """A training: its steps, how it ended, and what it is judged by."""

    ended: LaneEnded
    course: Course = field(default_factory=lambda: Course(STUDY))
    steps: list[StepTelemetry] = field(default_factory=list)

    @property
    def has_diverged(self) -> bool:
        """Whether a study would judge that it diverged."""
        return self.course.judgement(self.ended).verdict is Verdict.DIVERGED

    @property
    def fitness(self) -> float:
        """Fitness after the last epoch; 0 where none was over."""
        return self.course.fitness[-1] if self.course.fitness else 0.0


def train_together(setups: Iterable[Setup], seed: int) -> dict[Setup, Trained]:
    """Each setup trained, as lanes where they may be; lanes do not feel each other."""
    groups: dict[object, list[Setup]] = {}
    for setup in sorted(setups, key=repr):
        groups.setdefault((fuse_key(setup.values), setup.source, setup.precision, setup.labels), []).append(setup)
    return {setup: found for group in groups.values() for setup, found in _train(group, seed)}


def _train(setups: Sequence[Setup], seed: int) -> Iterator[tuple[Setup, Trained]]:
    plan = TrainingPlan(
        image_size=SIDE, batch_size=BATCH, nominal_batch_size=BATCH, epochs=EPOCHS, precision=setups[0].precision
    )
    lanes = [LaneSpec(values=setup.values, seed=seed, data_seed=seed) for setup in setups]
    unknown = LaneEnded(lane=0, step=0, cause=EndCause.STOPPED, reason="has not ended")
    trained = [Trained(ended=unknown) for _ in setups]
    for record in Trainer(plan, scenes(setups[0], seed), lanes).fit():
        own = trained[record.lane]
        own.course.take_in(record)
        if isinstance(record, StepTelemetry):
            own.steps.append(record)
        if isinstance(record, LaneEnded):
            own.ended = record
    return zip(setups, trained, strict=True)


def _difference(base: Setup, faulty: Setup) -> str:
    before, after = asdict(base), asdict(faulty)
    changed = {key: after[key] for key in after if key != "values" and before[key] != after[key]}
    changed |= {key: after["values"][key] for key in after["values"] if before["values"][key] != after["values"][key]}
    return ", ".join(f"{key} {value if isinstance(value, str) else f'{value:.3g}'}" for key, value in changed.items())


# The table


def table(results: Sequence[Result]) -> Iterator[str]:
    """Recall, precision and share cured by cause, with exact 95 % intervals of the totals."""
    first = [result.found[0] for result in results]
    yield "| cause | planted | named first | named at all | recall | precision | cured |"
    yield "|---|---|---|---|---|---|---|"
    for cause in PLANTS:
        own = [result for result in results if result.cause == cause]
        named, said = sum(result.found[0] == cause for result in own), first.count(cause)
        listed = sum(cause in result.found for result in own)
        cured = sum(bool(result.is_cured) for result in own)
        recall = f"{named / len(own):.2f}" if own else ""
        precision = f"{named / said:.2f}" if said else ""
        yield f"| {cause.text} | {len(own)} | {named} | {listed} | {recall} | {precision} | {cured} of {len(own)} |"
    right = sum(result.found[0] == result.cause for result in results)
    said = sum(found != Cause.UNKNOWN for found in first)
    cured = sum(bool(result.is_cured) for result in results)
    yield ""
    for what, count, whole in (
        ("recall", right, len(results)),
        ("precision", right, said),
        ("cured", cured, len(results)),
    ):
        low, high = exact_interval(count, whole)
        yield f"{what} {count} of {whole}: {count / max(whole, 1):.2f} ({low:.2f} to {high:.2f})"
    wrong = Counter((result.cause, result.found[0]) for result in results if result.found[0] != result.cause)
    yield "taken for another: " + ", ".join(f"{cause} for {found} {n}" for (cause, found), n in wrong.most_common())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="3-11", help="first and last; odd ones alone where the first is odd")
    parser.add_argument("--causes", default=",".join(PLANTS))
    parser.add_argument("--output", type=Path, default=Path("causes.jsonl"))
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    before = _read(chosen.output)
    if not chosen.table:
        first, last = map(int, chosen.seeds.split("-"))
        done = {(row["cause"], row["seed"]) for row in before}
        for seed in range(first, last + 1, 2):
            for cause in map(Cause, chosen.causes.split(",")):
                if (cause, seed) not in done:
                    fault = planted(cause, seed)
                    _append(chosen.output, cause, seed, None if fault is None else result_of(fault))
        before = _read(chosen.output)
    results = [Result(**row) for row in before if "found" in row]
    print("\n".join(table(results)))
    print(f"never diverged: {Counter(row['cause'] for row in before if 'found' not in row)}")


def _append(path: Path, cause: Cause, seed: int, result: Result | None) -> None:
    row = {"cause": cause, "seed": seed} if result is None else asdict(result)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
