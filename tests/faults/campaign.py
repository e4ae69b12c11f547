"""A campaign of faults: `evolve run` is killed again and again, until its study is done, and must have lost nothing.

Trainings, processes and databases are real. A fault hits the driver, its whole process group or a worker, at a random
moment or at a chosen call. A study with one worker must end as one that nobody disturbed: same trials, same parameters,
same rows of steps and epochs to the last bit, times apart.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import create_engine, inspect, text

from tests.fakes import STEPS_PER_EPOCH
from tests.places import ROOT
from tests.processes import environment

STUDY = """
description: A study to be killed.
data: digits-1
epochs: 3
batch_size: 64
hyperparameters: {{warmup_epochs: 0.5, warmup_bias_lr: 0.01}}
space:
  lr0: {{low: 0.001, high: 0.05, log: true}}
  momentum: {{low: 0.8, high: 0.95}}
sampler: {sampler}
pruner: {pruner}
budget: {{trials: 6}}
thresholds: {{floor: 0.0}}
"""
# Where a kill leaves the most to put right: between two writes that belong together.
STORED = (
    "evolve.storage.records:Records.write",
    "evolve.storage.records:Records.end_training",
    "evolve.storage.database:Storage.begin_trial",
    "evolve.storage.database:Storage.end_trial",
    "evolve.storage.ledger:Ledger.keep_decision",
    "evolve.storage.lease:Lease.take",
    "evolve.storage.trials:Trials.add",
    "evolve.storage.trials:Trials.report",
    "evolve.storage.trials:Trials.keep",
    "evolve.storage.trials:Trials.tell",
    "evolve.run.search:Search.ask",
    "evolve.run.runner:StudyRun._take",
)
SAVED = ("detector.checkpoint:save", "detector.checkpoint:link", "detector.checkpoint:_sync_folder")
CALLS = STORED + SAVED
TARGETS = ("driver", "group", "worker")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
RUN_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is done to a run.

    Attributes:
        target: driver, group or worker.
        signal: Sent to it; a stopped process goes on after a few seconds.
        delay: Seconds after the start of the run, for a random moment.
        call: Chosen call of the driver or a worker, as `module:Class.method:count:before`; empty for a random moment.
    """

    target: str
    signal: signal.Signals
    delay: float
    call: str = ""

    def text(self) -> str:
        """For the table."""
        return f"at {self.call}" if self.call else f"{self.signal.name} to {self.target} after {self.delay:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A study of the campaign.

    Attributes:
        sampler, pruner: Of the study.
        engine, workers, lanes: As of `evolve run`.
        is_real: Whether detectors are trained; else trainings take milliseconds (`tests.faults.fake_run`).
    """

    sampler: str
    pruner: str
    workers: int
    engine: str = "processes"
    lanes: int = 1
    is_real: bool = True

    @property
    def steps_per_epoch(self) -> int:
        """Of each training."""
        return 10 if self.is_real else STEPS_PER_EPOCH

    @property
    def is_repeatable(self) -> bool:
        """Whether a run that was killed asks and finds what one that was not does: one trial after another."""
        return self.workers == self.lanes == 1

    @property
    def text(self) -> str:
        """For the table."""
        trained = "" if self.is_real else " (fake)"
        return f"{self.sampler}, {self.pruner}, {self.engine} {self.workers} x {self.lanes}{trained}"


@dataclass(slots=True, kw_only=True)
class Findings:
    """What a study that was killed again and again came to.

    Attributes:
        faults: That hit something.
        problems: What was lost, doubled, changed or left behind, a sentence each.
    """

    faults: list[Fault] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def faults(seed: int, *, calls: Sequence[str] = CALLS, within: tuple[float, float] = (0.5, 16.0)) -> Iterator[Fault]:
    """Random faults; the same for the same seed.

    Args:
        seed: Of the generator.
        calls: Calls that may be chosen, as `module:Class.method`.
        within: Seconds between which a fault at a random moment comes, from the start of a run or the fault before.
    """
    chance = random.Random(seed)
    while True:
        call = ""
        if chance.random() < 0.4:
            call = f"{chance.choice(calls)}:{chance.randint(1, 4)}:{chance.choice(('before', 'after'))}"
        yield Fault(
            target=chance.choice(TARGETS),
            signal=chance.choice(SIGNALS),
            delay=chance.uniform(*within),
            call=call,
        )


def disturbed(folder: Path, setting: Setting, url: str, found: Iterator[Fault], *, most: int) -> Findings:
    """Runs a study to its end under faults.

    Args:
        folder: Of its own.
        setting: Of the study.
        url: Its database, empty at first.
        found: The faults.
        most: How many may hit it.
    """
    findings = Findings()
    write_study(folder, setting)
    before: dict[int, Any] = {}
    code = -1
    while code != 0 and len(findings.faults) < most:
        code, hits = _run_under(folder, setting, url, islice(found, most - len(findings.faults)))
        findings.faults += hits
        now = finished(url)
        findings.problems += [
            f"trial {number} was {old}, is {now.get(number)} after {[hit.text() for hit in hits]}"
            for number, old in before.items()
            if now.get(number) != old
        ]
        before = now
    code, _ = _run_under(folder, setting, url, iter(()))
    findings.problems += [] if code == 0 else [f"the last run, undisturbed, ended with {code}: {_last_words(folder)}"]
    findings.problems += list(left_behind(url, steps_per_epoch=setting.steps_per_epoch))
    return findings


def write_study(folder: Path, setting: Setting) -> None:
    """The study's file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "killed.yaml").write_text(STUDY.format(sampler=setting.sampler, pruner=setting.pruner))


def _run_under(folder: Path, setting: Setting, url: str, found: Iterator[Fault]) -> tuple[int, list[Fault]]:
    """Exit status of one run, and the faults that hit it: a chosen call at most, and others until it ends."""
    fault = next(found, None)
    settings = environment()
    mark = folder / f"hit-{time.time_ns()}"
    if fault is not None and fault.call:
        settings |= {"FAULT": fault.call, "FAULT_MARK": str(mark)}
        settings["PYTHONPATH"] = f"{ROOT / 'tests/faults/site'}{os.pathsep}{settings['PYTHONPATH']}"
    program = ["evolve.cli", "run", "--study"] if setting.is_real else ["tests.faults.fake_run"]
    places = ["--engine", setting.engine, "--workers", str(setting.workers), "--lanes", str(setting.lanes)]
    hits: list[Fault] = []
    with (folder / "log.txt").open("a") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", *program, "killed.yaml", "--storage", url, *places],
            cwd=folder,
            env=settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if fault is not None and not fault.call:
                found = chain([fault], found)
            while running.poll() is None and (other := next(found, None)) is not None:
                hits += [replace(other, call="")] if _send(running, other) else []
            running.wait(RUN_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            code = running.wait()
    return code, hits + ([fault] if fault is not None and mark.exists() else [])


def _send(running: subprocess.Popen[bytes], fault: Fault) -> bool:
    """Whether a fault hit the run."""
    with suppress(subprocess.TimeoutExpired):
        running.wait(fault.delay)
        return False
    with suppress(ProcessLookupError):
        if fault.target == "group":
            os.killpg(running.pid, fault.signal)
        else:
            pid = running.pid if fault.target == "driver" else next(iter(workers_of(running.pid)), None)
            if pid is None:
                return False
            os.kill(pid, fault.signal)
        if fault.signal is signal.SIGSTOP:
            time.sleep(3)
            os.killpg(running.pid, signal.SIGCONT)
        return True
    return False


def workers_of(driver: int) -> list[int]:
    """Processes of a driver that train: the children of the one that they are forked from, or of Ray's node."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            titles[int(stat.parent.name)] = (stat.parent / "cmdline").read_text()
    children = {pid for pid, parent in parents.items() if parent == driver}
    found = sorted(pid for pid, parent in parents.items() if parent in children)
    # A node has agents beside its workers, whose titles say what they do.
    return [pid for pid in found if titles.get(pid, "").startswith("ray::")] or found


# What is stored


def finished(url: str) -> dict[int, Any]:
    """Parameters, value, state and verdict of every trial that has ended."""
    engine = create_engine(url)
    try:
        if not inspect(engine).has_table("evolve_trial"):
            return {}
        with engine.connect() as connection:
            rows = connection.execute(
                text("select number, verdict, reason from evolve_trial where verdict <> 'paused'")
            )
            verdicts = {row.number: (row.verdict, row.reason) for row in rows}
    finally:
        engine.dispose()
    return {number: (params, verdicts[number]) for number, params, *_ in trials(url) if number in verdicts}


def trials(url: str) -> list[tuple[Any, ...]]:
    """Number, parameters, value and state of all trials, as Optuna knows them."""
    with suppress(KeyError):
        study = optuna.load_study(study_name="killed", storage=url)
        return [(each.number, each.params, each.values, each.state.name) for each in study.get_trials()]
    return []


def measured(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of steps, epochs and layers, without what a clock says and with the trial's number for its id."""
    clock = {"seconds", "images_per_second", "trial_id"}
    engine = create_engine(url)
    found: dict[str, list[tuple[Any, ...]]] = {}
    with engine.connect() as connection:
        orders = {
            "evolve_step": "seed, step",
            "evolve_epoch": "seed, split, epoch",
            "evolve_layer": "seed, epoch, part, layer",
        }
        for table, order in orders.items():
            names = [each["name"] for each in inspect(engine).get_columns(table) if each["name"] not in clock]
            names.sort(key=lambda name: (name not in order, name))  # what tells rows apart comes first
            columns = ", ".join(f"rows.{name}" for name in names)
            query = (
                f"select trial.number, {columns} from {table} as rows "
                f"join evolve_trial as trial on trial.trial_id = rows.trial_id order by trial.number, {order}"
            )
            found[table] = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def left_behind(url: str, *, steps_per_epoch: int) -> Iterator[str]:
    """What a finished study must not have: trials that run or failed, or rows of steps that are missing or doubled."""
    known = trials(url)
    if [number for number, *_ in known] != list(range(6)):
        yield f"its trials are {[number for number, *_ in known]}, not 0 to 5"
    for number, _, _, state in known:
        if state in ("RUNNING", "WAITING"):
            yield f"trial {number} is {state}"
    for number, (_, (verdict, reason)) in finished(url).items():
        if verdict == "failed":
            yield f"trial {number} failed: {reason}"
    steps: dict[int, list[int]] = {}
    for row in measured(url)["evolve_step"]:
        steps.setdefault(row[0], []).append(row[2])
    for number, numbers in steps.items():
        if numbers != list(range(len(numbers))) or len(numbers) % steps_per_epoch:
            yield f"trial {number} has steps {numbers}"


def differences(url: str, undisturbed: str) -> list[str]:
    """How a study that was killed differs from one that was not."""
    found = [] if trials(url) == trials(undisturbed) else [f"trials {trials(url)} instead of {trials(undisturbed)}"]
    rows: Mapping[str, list[tuple[Any, ...]]] = measured(undisturbed)
    for table, mine in measured(url).items():
        if mine != rows[table]:
            place = next((n for n, (a, b) in enumerate(zip(mine, rows[table], strict=False)) if a != b), None)
            at = "" if place is None else f"; the first is {mine[place]} instead of {rows[table][place]}"
            found.append(f"{table}: {len(mine)} rows instead of {len(rows[table])}{at}")
    return found


def _last_words(folder: Path) -> str:
    return " / ".join((folder / "log.txt").read_text().splitlines()[-3:])
