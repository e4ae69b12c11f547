"""Whether a lost training is foreseen: our rule and those of peers on trainings that nobody stopped.

    python -m benchmarks.divergence RUNS.jsonl [--wrong 0.05] [--sustained 1] [--csv FILE.csv]

RUNS.jsonl is of `benchmarks.divergence_runs`. A run is doomed if it came to diverge by the verdict that a study would
give it at its end, on all its steps: no rule has a say in that. One whose loss in the last epoch is not below that of
its first steps, though it did not diverge, is idle and counts apart; all others are good. Levels are fitted on good
runs alone, and every run is judged by levels that were fitted without any run of the same data (in the rows by factor:
of the same level of that factor). Best are those in the best quarter of the good runs with the same data, network, size
and form of the loss, by fitness and then validation loss. Signs and options were chosen on the first populations, and
only later ones are judged. Intervals are Clopper and Pearson's, 95 %, two-sided.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any

from detector.telemetry import TERMS, EndCause, LaneEnded, LossTerms, StepTelemetry
from evolve.outcome.backtest import Score, Share, scored
from evolve.outcome.forensics import diagnose
from evolve.outcome.stop_rules import Recorded, rules
from evolve.outcome.verdict import FIRST_STEPS, LossCurves, Verdict, judge
from evolve.outcome.warnings import ADAPTIVE, BEST_SHARE, Kind, fitted, largest_sustained, spared
from evolve.study import Fitness, Thresholds, Warnings

FACTORS = ("data", "model", "size", "form", "optimizer", "clipping")
COMPARABLE = ("data", "model", "size", "form")
FIRST_JUDGED = 1268  # population; with those before it signs, kinds, options and what is spared were chosen
EARLY = 0.2  # of the planned steps
HEADS = """\
| rule | doomed, stopped | at | good, stopped | best quarter, stopped | idle, stopped | saved | wasted |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A recorded run.

    Attributes:
        population: Number of the population that it was trained in.
        factors: Level of each factor, by the name of the factor.
        recorded: The run as rules see it.
        kind: What became of the run: doomed, idle or good.
        reached: Highest level that each sign stayed at, or above, for some steps in a row, by the name of the sign.
        has_recovered: Whether its smoothed loss had risen to twice its lowest, and it is good all the same.
    """

    population: int
    factors: Mapping[str, str]
    recorded: Recorded
    kind: str
    reached: Mapping[str, float]
    fitness: float

    @property
    def has_learned(self) -> bool:
        return self.kind == "good" and self.fitness >= Thresholds().floor

    @property
    def has_recovered(self) -> bool:
        return self.kind == "good" and self.reached["rise"] > 2


def read(path: Path, sustained: int) -> list[Run]:
    """All runs of a file, by population and lane, with the levels that signs stayed at for `sustained` steps."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    rows.sort(key=lambda row: (row["population"], row["lane"]))
    kinds = [kind_of(row) for row in rows]
    best = set(_best(rows, kinds))
    before: dict[tuple[str, ...], list[list[float]]] = defaultdict(list)
    found = []
    for place, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        others, own = before[_group(row)], fitness_of(row)
        recorded = Recorded(
            kind=Kind(is_adaptive=row["factors"]["optimizer"] in ADAPTIVE, has_exp="exp" in row["factors"]["form"]),
            steps=[*steps_of(row)],
            total_steps=row["total_steps"],
            steps_per_epoch=row["steps_per_epoch"],
            is_doomed=kind == "doomed",
            is_spared=spared(own, others),
            is_best=place in best,
        )
        reached = largest_sustained(recorded.steps, sustained, recorded.kind)
        found.append(
            Run(
                population=row["population"],
                factors=row["factors"],
                recorded=recorded,
                kind=kind,
                reached=reached,
                fitness=own[-1] if own else nan,
            )
        )
        others.append(own)
    return found


def steps_of(row: Mapping[str, Any]) -> Iterator[StepTelemetry]:
    """Steps of a run, as they were yielded."""
    columns, per_epoch = row["steps"], row["steps_per_epoch"]
    names = ("loss", "grad_norm", "update_ratio", "max_box_logit", "critical_ratio", "lr", "bias_lr", "momentum")
    for step in range(len(columns["loss"])):
        yield StepTelemetry(
            lane=0,
            step=step,
            epoch=step // per_epoch,
            seconds=0.0,
            images_per_second=0.0,
            in_warmup=bool(columns["in_warmup"][step]),
            terms=LossTerms(**{term: tuple(columns[term][step]) for term in TERMS}),
            **{name: columns[name][step] for name in names},
        )


def fitness_of(row: Mapping[str, Any]) -> list[float]:
    """Fitness of a run after each of its epochs."""
    names = ("precision", "recall", "map50", "map50_95")
    return [Fitness().score(**{name: epoch[name] for name in names}) for epoch in row["epochs"]]


def kind_of(row: Mapping[str, Any]) -> str:
    """What became of a run: doomed, idle or good."""
    losses = row["steps"]["loss"]
    curves = LossCurves(
        first=fmean(losses[:FIRST_STEPS]),
        train=tuple(epoch["train_loss"] for epoch in row["epochs"]),
        val=tuple(epoch["val_loss"] for epoch in row["epochs"]),
    )
    cause = EndCause.DIVERGED if row["is_lost"] else EndCause.FINISHED
    ended = LaneEnded(lane=0, step=len(losses), cause=cause, reason=row["reason"])
    judgement = judge(fitness_of(row), losses=curves, ended=ended, thresholds=Thresholds())
    if judgement.verdict is Verdict.DIVERGED:
        return "doomed"
    return "good" if curves.last < curves.first else "idle"


def _group(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row["factors"][name] for name in COMPARABLE)


def _best(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> Iterator[int]:
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        if kind == "good":
            groups[_group(row)].append(place)
    for places in groups.values():
        places.sort(key=lambda place: (-fitness_of(rows[place])[-1], rows[place]["epochs"][-1]["val_loss"]))
        yield from places[: int(BEST_SHARE * len(places))]


def stops(
    runs: Sequence[Run], judged: Sequence[Run], factor: str, warnings: Warnings, wrong: float
) -> dict[str, list[int | None]]:
    """For each rule the step that each judged run is stopped after, by levels fitted without its level of a factor."""
    found: dict[str, list[int | None]] = defaultdict(list)
    fits: dict[str, Warnings] = {}
    for level in {run.factors[factor] for run in runs}:
        others = [run.reached for run in runs if run.factors[factor] != level and run.kind == "good"]
        fits[level] = fitted(others, wrong=wrong, sustained=warnings.sustained, together=warnings.together)
    for run in judged:
        for name, rule in rules(fits[run.factors[factor]]).items():
            found[name].append(rule(run.recorded))
    return found


def line(score: Score, idle: Share) -> str:
    """A row of the table."""
    low_high = [f"{share.interval[0]:.3f}-{share.interval[1]:.3f}" for share in (score.hits, score.alarms, score.best)]
    counts = [f"{share.count} of {share.total}" for share in (score.hits, score.alarms, score.best)]
    cells = [f"{count} ({limits})" for count, limits in zip(counts, low_high, strict=True)]
    shares = [f"{value:.0%}" for value in (score.saved, score.wasted)]
    at = "-" if score.stopped_at != score.stopped_at else f"{score.stopped_at:.0%}"
    return f"| {' | '.join([score.rule, cells[0], at, cells[1], cells[2], f'{idle.count} of {idle.total}', *shares])} |"


def judged_line(label: str, judged: Sequence[Run], indices: Sequence[int | None]) -> str:
    """A row of the table, of runs and the step that a rule stops each after."""
    rated = [(run.recorded, index) for run, index in zip(judged, indices, strict=True) if run.kind != "idle"]
    idle = [(run, index) for run, index in zip(judged, indices, strict=True) if run.kind == "idle"]
    return line(scored(label, rated), _stopped(idle))


def shipped(judged: Sequence[Run]) -> None:
    """Prints what a study does by default; that flatters where its levels were fitted on the same runs."""
    print("\nLevels that a study has by default, which were fitted on populations 868 to 1882\n")
    print(HEADS)
    for name, rule in rules(Warnings()).items():
        if name.startswith("doomed"):
            print(judged_line(name, judged, [rule(run.recorded) for run in judged]))


def table(
    runs: Sequence[Run], judged: Sequence[Run], warnings: Warnings, wrong: float, factors: Sequence[str] = FACTORS
) -> dict[str, list[int | None]]:
    """Prints what each rule does with data left out, and ours with each other factor left out; the first of these."""
    print(f"\nLevels that a good run exceeds with a probability of {wrong:g}\n")
    print(HEADS)
    first: dict[str, list[int | None]] = {}
    for factor in factors:
        found = stops(runs, judged, factor, warnings, wrong)
        first = first or found
        for name in found if factor == "data" else [name for name in found if name.startswith("doomed")]:
            label = name if factor == "data" else f"{name}, {factor} left out"
            print(judged_line(label, judged, found[name]), flush=True)
    print(f"\nOf those whose fitness came to {Thresholds().floor:g} or more, stopped:")
    for name, indices in first.items():
        learned = [(run, index) for run, index in zip(judged, indices, strict=True) if run.has_learned]
        shares = [_stopped(learned), _stopped([(run, index) for run, index in learned if run.recorded.is_best])]
        print(f"{name}: {shares[0].text} of the good ones; {shares[1].text} of the best quarter")
    print(f"\nDoomed ones that were stopped, or had ended by themselves, by {EARLY:.0%} of their steps:")
    for name, indices in first.items():
        lost = [(run.recorded, index) for run, index in zip(judged, indices, strict=True) if run.kind == "doomed"]
        print(f"{name}: {Share(count=sum(_is_over(*each) for each in lost), total=len(lost)).text}")
    return first


def _is_over(run: Recorded, index: int | None) -> bool:
    """Whether a training was stopped, or ended by itself, early."""
    trained = len(run.steps) if index is None else min(index + 1, len(run.steps))
    return trained <= EARLY * run.total_steps


def _stopped(rated: Sequence[tuple[Run, int | None]]) -> Share:
    return Share(count=sum(index is not None for _, index in rated), total=len(rated))


def write(path: Path, runs: Sequence[Run], found: Mapping[str, Sequence[int | None]]) -> None:
    """A row for each run: factors, kind, steps, and the step that each rule stops it after."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FACTORS, "kind", "best", "recovered", "steps", *found])
        for place, run in enumerate(runs):
            at = ["" if found[name][place] is None else found[name][place] for name in found]
            facts = [run.kind, int(run.recorded.is_best), int(run.has_recovered), len(run.recorded.steps)]
            writer.writerow([*(run.factors[name] for name in FACTORS), *facts, *at])


def causes_named(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How often the diagnosis of a doomed run names each cause first; what was drawn for all of them is their rate."""
    from benchmarks.divergence_runs import drawn  # with torch

    found: Counter[str] = Counter()
    for row in rows:
        if kind_of(row) == "doomed":
            lane, steps = drawn(row["population"])[2][row["lane"]], [*steps_of(row)]
            ended = LaneEnded(lane=0, step=len(steps), cause=EndCause.DIVERGED, reason=row["reason"])
            found[diagnose(steps, ended, values=lane.values).causes[0].cause.text] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("--wrong", type=float, default=0.05, help="as the levels of a study are fitted")
    parser.add_argument("--strict", type=float, default=0.02, help="the same for a table of stricter levels")
    parser.add_argument("--sustained", type=int, default=1)
    parser.add_argument("--together", type=int, default=2)
    parser.add_argument("--judged-from", type=int, default=FIRST_JUDGED)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    runs = read(asked.runs, asked.sustained)
    judged = [run for run in runs if run.population >= asked.judged_from]
    counts = Counter(run.kind for run in judged)
    print(
        f"{len(judged)} of {len(runs)} runs: {dict(counts)}, {sum(run.recorded.is_best for run in judged)} best, ",
        end="",
    )
    print(f"{sum(run.has_recovered for run in judged)} good ones rose to twice their lowest loss and recovered\n")
    warnings = Warnings(sustained=asked.sustained, together=asked.together)
    shipped(judged)
    found = table(runs, judged, warnings, asked.wrong)
    table(runs, judged, warnings, asked.strict, FACTORS[:1])
    good = [run.reached for run in runs if run.kind == "good"]
    for wrong in (asked.wrong, asked.strict):
        levels = fitted(good, wrong=wrong, sustained=asked.sustained, together=asked.together)
        print(f"\nlevels of all good runs at {wrong:g}: {levels.model_dump()}")
    named = causes_named(json.loads(line) for line in asked.runs.open(encoding="utf-8"))
    print(f"\nnamed first as the cause of all doomed runs: {dict(named.most_common())}")
    if asked.csv:
        write(asked.csv, judged, found)


if __name__ == "__main__":
    main()
