"""Whether `sampler: pbt` finds more than random search does for the same number of epochs, really trained.

    python -m benchmarks.populations FILE.csv [--seeds 5] [--until HH:MM]

As studies/digits_pbt.yaml, smaller: digits-3, 64 pixels, `yolov3-tiny-compact`, 6 epochs of 192 scenes, six members
that exchange after every epoch, against six whole trainings that a random sampler draws. Both draw from the same space,
and weights, order and scenes are by the same seed. Of each search counts the trial that is best on the validation
scenes: its fitness there, by which it was chosen, and its mAP50 on the test scenes. Rows are written as they come.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.rows import add_rows, rows_of
from benchmarks.search import interval
from evolve.run.crew import Asked
from evolve.run.run import Run, run_study
from evolve.storage.database import Storage
from evolve.storage.trial_rows import TrialRow, trial_rows
from evolve.study import Study

EXAMPLE = Path(__file__).parent.parent / "studies" / "digits_pbt.yaml"
MEMBERS, EPOCHS, INTERVAL, TRAIN_SHARE = 6, 6, 1, 0.3
SAMPLERS = ("pbt", "random")
_COLUMNS = ("seed", "sampler", "trial", "fitness", "test_map50", "seconds")


def study_of(sampler: str, seed: int) -> Study:
    """The study of one search."""
    mapping: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    mapping |= {"name": f"{sampler}-{seed}", "sampler": sampler, "epochs": EPOCHS, "seed": seed, "seeds": [seed]}
    mapping["hyperparameters"] |= {"train_share": TRAIN_SHARE}
    exchange, generations = mapping.pop("pbt"), -(-EPOCHS // INTERVAL)
    if sampler == "pbt":
        mapping["pbt"] = exchange | {"members": MEMBERS, "interval": INTERVAL}
    mapping["budget"] = {"trials": MEMBERS * (generations if sampler == "pbt" else 1)}
    return Study.from_mapping(mapping, origin="benchmark")


def searched(sampler: str, seed: int) -> TrialRow:
    """The best trial of one search."""
    study = study_of(sampler, seed)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/evolve.db"
        run = Run(study=study, storage_url=url, device="cpu", asked=Asked(engine="serial"), runs=Path(folder))
        for _ in run_study(run, should_stop=lambda: False):
            pass
        storage = Storage(url, reads_only=True)
        rows = trial_rows(storage.engine, study.name)
        storage.close()
    return rows[0]


def record(path: Path, *, seeds: int, until: str = "") -> None:
    """Makes the searches that a file does not have yet.

    Args:
        path: CSV file that rows are added to.
        seeds: Number of seeds, each of weights, order, scenes and sampler; for each both searches are made in turn.
        until: Time of day as HH:MM after which no search is begun; empty for no end.
    """
    known = {(int(row["seed"]), row["sampler"]) for row in rows_of(path)}
    for seed in range(seeds):
        for sampler in SAMPLERS:
            if until and time.strftime("%H:%M") >= until:
                return
            if (seed, sampler) in known:
                continue
            started = time.perf_counter()
            best = searched(sampler, seed)
            seconds, test = time.perf_counter() - started, best.metrics.get("test", {}).get("map50", float("nan"))
            row = [seed, sampler, best.number, f"{best.fitness:.6g}", f"{test:.6g}", f"{seconds:.0f}"]
            add_rows(path, _COLUMNS, [row])
            print(*row, flush=True)


def table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Lines of the table: a row for each sampler, then pbt less random over the seeds that have both."""
    lines = ["| sampler | seeds | fitness of the best | mAP50 on the test scenes |", "|---" * 4 + "|"]
    values = {(row["sampler"], int(row["seed"])): (float(row["fitness"]), float(row["test_map50"])) for row in rows}
    both = sorted({seed for _, seed in values if all((sampler, seed) in values for sampler in SAMPLERS)})
    by_name = {sampler: np.array([values[sampler, seed] for seed in both]) for sampler in SAMPLERS}
    by_name["pbt less random"] = by_name["pbt"] - by_name["random"]
    for name, found_S2 in by_name.items():
        cells = [" [".join((f"{mean:.4f}", f"{low:.4f}, {high:.4f}]")) for mean, low, high in map(interval, found_S2.T)]
        lines.append(f"| {name} | {len(both)} | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches what a file does not have yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--until", default="")
    given = parser.parse_args(arguments)
    record(given.file, seeds=given.seeds, until=given.until)
    print("\n".join(table(rows_of(given.file))))


if __name__ == "__main__":
    main()
