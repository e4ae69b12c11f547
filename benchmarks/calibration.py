"""Whether ablations can be believed: thousands of simulated ones, whose effects are known, judged as real ones are.

    python -m benchmarks.calibration --record FILE.csv   # trains the seeds that FILE does not have yet
    python -m benchmarks.calibration [--ablations 2000] [--noise normal,t3,recorded] [--seeds 5,8,12]
        [--tables one,adverse,looks]

Recorded noise are trainings of `yolov3-tiny-compact` on 160 scenes of digits-3, 64 pixels, 6 epochs: for each of 40
seeds five lanes of the same images, order and initialisation whose learning rates differ by one in ten thousand, which
changes what is learned and not what is to be expected. So a row is what the arms of an ablation without effects have in
common and what they have not. An ablation draws whole rows, adds an effect to the last of its four arms (0.02 and 0.05
in turn), and lets runs of arms diverge, rather those that did worse than the baseline: that flatters what is left.
`adverse` asks for the opposite: every arm is better where it survives, and diverges so often that it loses half of its
pairs. What is planned knows an earlier ablation of PLANNED_FROM seeds that varied and diverged alike. Where runs that
do worse diverge, those that finish differ by more than the effect that all were given; a plan is of differences between
runs that finish, which are all that anybody can measure. So each effect is planned twice: as it was planted, which
takes divergence for chance, and as it is between those that finish.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from detector.datasets.digits import CLASS_NAMES, DigitScenes, DigitSettings, open_digits
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics
from detector.trainer import LaneSpec, Trainer
from evolve.ablation.effects import EffectVerdict
from evolve.ablation.interim import Standing, standing
from evolve.ablation.looks import LOOKS
from evolve.ablation.power import Variation, power
from evolve.ablation.runs import ArmRun
from evolve.ablation.trained import variation_of
from evolve.study.arms import Arm, ArmPlan

RECORDED = Path(__file__).with_name("calibration.csv")
NUM_SEEDS, NUM_LANES = 40, 5
EFFECTS = (0.02, 0.05)  # of the last arm; that of the others is 0
NUM_ARMS = 4
RATES = (0.0, 0.1, 0.3)  # of divergence
SPREAD = 0.0206  # standard deviation of a run beside what arms share, that of mAP50 on photographs
LEVEL = 0.4
MARGIN = 0.01
TIE = 0.5  # correlation of what makes a run of an arm diverge with how much worse than the baseline it is
PLANNED_FROM = 4000  # with 400 the spread itself is uncertain by several percent, so power by several points
WHERE_IT_SURVIVES = (0.02, 0.05, 0.1)  # by how much the arms of `adverse` are better
NEARLY = 1e-4  # by which learning rates of lanes differ, relatively


def record(path: Path) -> None:
    """Adds the rows that a file does not have yet, each as soon as it is trained.

    Args:
        path: CSV file with a row for each seed: the seed, then mAP50 of each lane after the last epoch.
    """
    import torch

    torch.set_num_threads(1)
    known = {int(row[0]) for row in _rows(path)}
    for seed in sorted(set(range(NUM_SEEDS)) - known):
        started = time.perf_counter()
        row = _trained(seed)
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if is_new:
                writer.writerow(["seed", *(f"lane{lane}" for lane in range(NUM_LANES))])
            writer.writerow([seed, *(f"{value:.6f}" for value in row)])
        print(f"seed {seed}: {row} in {time.perf_counter() - started:.0f} s", flush=True)


def _trained(seed: int) -> list[float]:
    """mAP50 of each lane after the last epoch."""
    plan = TrainingPlan(model="yolov3-tiny-compact", image_size=64, epochs=6, data_seed=seed)
    rates = [0.1 * (1 + NEARLY * lane) for lane in range(NUM_LANES)]
    lanes = [LaneSpec(values=Hyperparameters(lr0=rate), seed=seed) for rate in rates]
    records = Trainer(plan, _data(), lanes).fit()
    last = {record.lane: record.map50 for record in records if isinstance(record, EpochMetrics)}
    return [last[lane] for lane in range(NUM_LANES)]


def _data() -> Dataset:
    def scenes(part: str, count: int) -> DigitScenes:
        return DigitScenes(
            DigitSettings(split=part, names=CLASS_NAMES["digits-3"], image_size=64, seed=0, num_scenes=count)
        )

    return replace(open_digits("digits-3", image_size=64), train=scenes("train", 160), val=scenes("val", 64), test=None)


def _rows(path: Path) -> list[list[float]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [[float(cell) for cell in row] for row in [*csv.reader(file)][1:]]


@dataclass(frozen=True, slots=True)
class Noise:
    """What runs vary by.

    Attributes:
        draw: Function from a random generator and a number of seeds to values without effects, a row for each seed with
            the baseline and then the arms.
        spread: Standard deviation of the difference of an arm and the baseline.
    """

    draw: Callable[[np.random.Generator, int], NDArray[np.float64]]
    spread: float


def noise(name: str, path: Path = RECORDED) -> Noise:
    """The noise of a name: normal, t3, or recorded, which is read from a file.

    Raises:
        KeyError: There is no such noise.
    """
    if name == "recorded":
        rows_SL = np.array(_rows(path))[:, 1:]
        rows_SL = rows_SL - rows_SL.mean(axis=0)  # so that the true effects are those planted, exactly
        gaps_SA = rows_SL[:, 1:] - rows_SL[:, :1]

        def draw(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
            # Which lane is which arm changes from ablation to ablation: with 40 seeds each has tails of its own.
            lanes = [0, *(1 + rng.permutation(NUM_LANES - 1))]
            return LEVEL + rows_SL[rng.integers(0, len(rows_SL), count)][:, lanes]

        return Noise(draw, float(np.sqrt((gaps_SA**2).mean())))
    own = {
        "normal": lambda rng, shape: rng.standard_normal(shape),
        "t3": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    }[name]
    return Noise(
        lambda rng, count: LEVEL + SPREAD * (rng.standard_normal((count, 1)) + own(rng, (count, NUM_LANES))),
        SPREAD * np.sqrt(2),
    )


def ablation(rng: np.random.Generator, of: Noise, num_seeds: int, rate: float, effect: float) -> list[ArmRun]:
    """The runs of one ablation; arm 0 is the baseline, which never diverges.

    Args:
        rng: Random generator to draw from.
        of: Noise that the runs vary by.
        num_seeds: Number of seeds; a row of values is drawn for each.
        rate: Share of the arms' runs that diverge, 0..1.
        effect: Effect of the last arm, in mAP50.
    """
    rows_SL = of.draw(rng, num_seeds)
    worse_SA = (rows_SL[:, :1] - rows_SL[:, 1:]) / of.spread
    urge_SA = TIE * worse_SA + np.sqrt(1 - TIE**2) * rng.standard_normal(worse_SA.shape)
    rows_SL[:, NUM_ARMS] += effect
    diverged_SL = np.concatenate([np.zeros((num_seeds, 1), dtype=bool), urge_SA > norm.isf(rate)], axis=1)
    return runs_of(rows_SL, diverged_SL)


def runs_of(rows_SL: NDArray[np.float64], diverged_SL: NDArray[np.bool_]) -> list[ArmRun]:
    """Runs of arms, by seed, from values and whether each diverged."""
    return [
        ArmRun(str(arm), seed, None if is_diverged else float(value), "diverged" if is_diverged else "finished")
        for seed, (row, ends) in enumerate(zip(rows_SL, diverged_SL, strict=True))
        for arm, (value, is_diverged) in enumerate(zip(row, ends, strict=True))
    ]


def judged(runs: Sequence[ArmRun], looks: Sequence[int]) -> Standing:
    """What is said of the arms at the end, as `evolve ablate` would say it.

    Args:
        runs: Runs of every arm and seed; those that an arm would not have got any more are not looked at.
        looks: Number of seeds at each look.
    """
    arms = tuple(Arm(name=str(arm), params={}) for arm in range(NUM_ARMS + 1))
    stages = tuple(looks) if len(looks) > 1 else ()
    plan = ArmPlan(arms=arms, tuning=0, seeds=tuple(range(looks[-1])), tuning_seeds=(), looks=stages)
    return standing(plan, runs, margin=MARGIN, through=len(looks))


@dataclass(frozen=True, slots=True)
class Shares:
    """What comes of many ablations of one kind, as shares in 0..1.

    Attributes:
        covered: Share of all intervals that have the planted effect inside.
        false: Share of all ablations in which an arm without effect was called better.
        found: For each of EFFECTS, share of the ablations with it in which the arm that has it was called better.
        given_up: Share of the arms without effect, and of those with the larger one, that were given up before the last
            look.
    """

    covered: float
    false: float
    found: tuple[float, ...]
    given_up: tuple[float, float]


def simulated(of: Noise, *, ablations: int, rates: Sequence[float], looks: Sequence[int]) -> Shares:
    """What comes of many ablations.

    Args:
        of: Noise that the runs vary by.
        ablations: Number of ablations; effects and rates change in turn.
        rates: Shares of the arms' runs that diverge, 0..1 each.
        looks: Number of seeds at each look.
    """
    rng = np.random.default_rng([*looks, *(round(100 * rate) for rate in rates)])
    better_NA, given_up_NA = np.zeros((2, ablations, NUM_ARMS), dtype=bool)
    covered: list[bool] = []
    for number in range(ablations):
        effect, rate = EFFECTS[number % len(EFFECTS)], rates[number // len(EFFECTS) % len(rates)]
        found = judged(ablation(rng, of, looks[-1], rate, effect), looks)
        better_NA[number] = [arm_effect.verdict is EffectVerdict.BETTER for arm_effect in found.effects]
        given_up_NA[number] = (
            np.array([arm_effect.arm in found.endings for arm_effect in found.effects]) & ~better_NA[number]
        )
        planted = [*[0.0] * (NUM_ARMS - 1), effect]
        covered += [
            arm_effect.low <= true <= arm_effect.high
            for arm_effect, true in zip(found.effects, planted, strict=True)
            if not np.isnan(arm_effect.low)
        ]
    return Shares(
        covered=float(np.mean(covered)),
        false=float(better_NA[:, :-1].any(axis=1).mean()),
        found=tuple(float(better_NA[place :: len(EFFECTS), -1].mean()) for place in range(len(EFFECTS))),
        given_up=(float(given_up_NA[:, :-1].mean()), float(given_up_NA[1 :: len(EFFECTS), -1].mean())),
    )


def planned(of: Noise, num_seeds: int, rate: float) -> list[tuple[float, float]]:
    """The power that a plan promises for each of EFFECTS: as planted, and as it is between the runs that finish.

    Args:
        of: Noise that the runs vary by.
        num_seeds: Number of seeds of the plan.
        rate: Share of the arms' runs that diverge, 0..1.
    """
    earlier = ablation(np.random.default_rng(1), of, PLANNED_FROM, rate, effect=0.0)
    varying = variation_of(earlier, baseline="0")
    assert isinstance(varying, Variation)
    luck = luck_of_the_finished(earlier) if rate else 0.0  # all finish: what is left is the luck of the draw
    return [
        (
            power(effect, varying, num_seeds=num_seeds, num_arms=NUM_ARMS),
            power(effect + luck, varying, num_seeds=num_seeds, num_arms=NUM_ARMS),
        )
        for effect in EFFECTS
    ]


def luck_of_the_finished(runs: Sequence[ArmRun]) -> float:
    """Mean difference from the baseline, over the arms of an ablation without effects, of the runs that finished."""
    base = {run.seed: run.value for run in runs if run.arm == "0"}
    pairs = [(run.value, base[run.seed]) for run in runs if run.arm != "0"]
    return float(np.mean([value - other for value, other in pairs if value is not None and other is not None]))


def adverse(of: Noise, *, ablations: int, num_seeds: int, effect: float) -> tuple[float, float]:
    """Share of runs that diverge, and of ablations in which an arm that wins half of its pairs is called better.

    Args:
        of: Noise that the runs vary by.
        ablations: Number of ablations.
        num_seeds: Number of seeds; a row of values is drawn for each.
        effect: Effect of every arm where it survives, in mAP50.
    """
    rng = np.random.default_rng([num_seeds, round(1000 * effect)])
    many_SL = np.concatenate([of.draw(rng, NUM_SEEDS) for _ in range(100)])
    rate = 1 - 0.5 / float((many_SL[:, 1:] + effect > many_SL[:, :1]).mean())
    num_false = 0
    for _ in range(ablations):
        rows_SL = of.draw(rng, num_seeds)
        rows_SL[:, 1:] += effect
        diverged_SL = rng.random(rows_SL.shape) < rate
        diverged_SL[:, 0] = False
        found = judged(runs_of(rows_SL, diverged_SL), [num_seeds])
        num_false += any(arm_effect.verdict is EffectVerdict.BETTER for arm_effect in found.effects)
    return rate, num_false / ablations


def _table(all_noise: Mapping[str, Noise], all_seeds: Sequence[int], ablations: int) -> None:
    heads = [f"{effect:g} found | planned as planted | between the finished" for effect in EFFECTS]
    print(f"| noise | seeds | diverged | coverage | false better | {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, of in all_noise.items():
        for num_seeds in all_seeds:
            for rate in RATES:
                shares = simulated(of, ablations=ablations // len(RATES), rates=[rate], looks=[num_seeds])
                chances = planned(of, num_seeds, rate)
                pairs = [
                    f"{found:.3f} | {planted:.3f} | {finished:.3f}"
                    for found, (planted, finished) in zip(shares.found, chances, strict=True)
                ]
                cells = [name, str(num_seeds), f"{rate:.0%}", f"{shares.covered:.3f}", f"{shares.false:.4f}", *pairs]
                print(f"| {' | '.join(cells)} |", flush=True)


def _table_of_the_adverse(all_noise: Mapping[str, Noise], all_seeds: Sequence[int], ablations: int) -> None:
    print("\n| noise | seeds | better where it survives | diverged | called better |\n|---|---|---|---|---|")
    for name, of in all_noise.items():
        for num_seeds, effect in product(all_seeds, WHERE_IT_SURVIVES):
            rate, false = adverse(of, ablations=ablations // len(WHERE_IT_SURVIVES), num_seeds=num_seeds, effect=effect)
            print(f"| {name} | {num_seeds} | {effect:g} | {rate:.0%} | {false:.4f} |", flush=True)


def _table_of_looks(all_noise: Mapping[str, Noise], ablations: int) -> None:
    heads = (f"noise, looks at {LOOKS}", "diverged", "false better", "0.02 found", "0.05 found")
    print(f"\n| {' | '.join((*heads, '0 given up', '0.05 given up'))} |\n|---|---|---|---|---|---|---|")
    for name, of in all_noise.items():
        for rate in (min(RATES), max(RATES)):
            shares = simulated(of, ablations=ablations // 2, rates=[rate], looks=LOOKS)
            cells = [shares.false, *shares.found, *shares.given_up]
            print(f"| {name} | {rate:.0%} | {' | '.join(f'{share:.3f}' for share in cells)} |", flush=True)


def main() -> None:
    """Records, or prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path)
    parser.add_argument("--ablations", type=int, default=2000, help="for each noise and number of seeds")
    parser.add_argument("--noise", default="normal,t3,recorded")
    parser.add_argument("--seeds", default="5,8,12")
    parser.add_argument("--tables", default="one,adverse,looks")
    asked = parser.parse_args()
    if asked.record is not None:
        record(asked.record)
        return
    all_noise = {name: noise(name) for name in asked.noise.split(",")}
    all_seeds, tables = [int(seeds) for seeds in asked.seeds.split(",")], asked.tables.split(",")
    if "one" in tables:
        _table(all_noise, all_seeds, asked.ablations)
    if "adverse" in tables:
        _table_of_the_adverse(all_noise, all_seeds, asked.ablations)
    if "looks" in tables:
        _table_of_looks(all_noise, asked.ablations)


if __name__ == "__main__":
    main()
