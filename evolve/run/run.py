"""One run of a study: its data checked, workers started, trials run, weights kept or dropped."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import nan
from pathlib import Path

from optuna.exceptions import OptunaError
from sqlalchemy.exc import SQLAlchemyError

from evolve.errors import StorageError
from evolve.outcome.verdict import Verdict
from evolve.run.away import is_away, wait_for
from evolve.run.crew import AUTO, Asked, Crew, crew
from evolve.run.data import DataChecked, check_unchanged, surveyed
from evolve.run.detection import (
    WORKERS_NEED,
    checkpoint_path,
    choose_device,
    devices_of,
    environment,
)
from evolve.run.engines import Engine, Limits, ProcessEngine, SerialEngine
from evolve.run.events import (
    DatabaseAway,
    LanesChosen,
    RangesPlaced,
    RunEvent,
    StartChecked,
    StudyGoesOn,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from evolve.run.keeping import affected_by, drop, exportable, unneeded_of
from evolve.run.lanes import make_objective
from evolve.run.measuring import choose_lanes
from evolve.run.picture_folder import picture_folder
from evolve.run.placing import placed_study
from evolve.run.runner import StudyRun
from evolve.run.weight_files import pinned, start_text
from evolve.storage.database import Storage
from evolve.storage.runs import RunFacts, RunTime, recorded
from evolve.study import DIGITS, Study, planning
from evolve.study.earlier import Earlier
from evolve.study.placing import placing_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where and with what a study runs.

    Attributes:
        study: Study that is run.
        storage_url: SQLAlchemy URL of the database that keeps the study.
        device: auto, or torch's name of a device; cuda stands for all GPUs there are.
        asked: Engine, processes and lanes, as far as a person has named them.
        runs: Folder with a folder for each study.
        checked: What the data hold, where they have been checked already; None where they have not.
        accepts_changed_data: Whether trials go on although the data are not what earlier ones were trained on.
        earlier: Trials of earlier searches that a new study begins with; a study that is stored keeps those it has.
        pictures: Folder in which all processes of the run share decoded images, which `run_study` makes; None where
            nothing is shared.
    """

    study: Study
    storage_url: str
    device: str = "auto"
    asked: Asked = field(default_factory=Asked)
    runs: Path = Path("runs")
    checked: DataChecked | None = None
    accepts_changed_data: bool = False
    earlier: tuple[Earlier, ...] = ()
    pictures: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the study's files go."""
        return self.runs / self.study.name

    def crew(self, device: str) -> Crew:
        """Who trains the study on a device: engine, processes and lanes."""
        members, trials = self.study.population, self.study.budget.trials
        at_once = trials if members is None else min(members.members, trials)
        return crew(
            self.asked, devices_of(device), trials=at_once, sampler=self.study.sampler, pruner=self.study.pruner
        )


def mended(run: Run, advice: Sequence[planning.Advice], checked: DataChecked) -> Run:
    """The run with its study changed as is advised, to know what that would cost."""
    study = run.study
    facts = planning.DataFacts.from_summary(study.data, checked.summary)
    values = {planning.KEYS[obstacle.option]: obstacle.value for obstacle in advice}
    if (updates := values.pop("updates", None)) is not None:
        used = facts.of_share(max(planning.train_shares(study)))
        epochs = planning.epochs_for(updates, used, study.batch_size, study.nominal_batch_size)
        values["epochs"] = epochs.value
    return replace(run, study=study.model_copy(update=values))


def run_study(run: Run, *, should_stop: Callable[[], bool]) -> Generator[DataChecked | RunEvent, None, None]:
    """Runs the study until its budget is spent or it is stopped.

    Raises:
        EvolveError: Data, device, storage or study cannot be used; nothing has been trained then.
    """
    is_rendered = run.study.data in DIGITS
    with nullcontext() if is_rendered else picture_folder(run.folder) as pictures:
        run = replace(run, pictures=pictures)
        if names := run.study.space.unplaced:
            run = _placed(run)
            yield RangesPlaced(texts=placing_texts(run.study, names))
        yield from _patiently(run, should_stop)


def _placed(run: Run) -> Run:
    """The run of a study whose ranges are placed, if it may run at all."""
    with closing(Storage(run.storage_url)) as storage:
        storage.check_can_run(run.study)
    checked = run.checked or surveyed(run.study, run.pictures)
    found = run.crew(choose_device(run.device))
    study = placed_study(run.study, found.devices[0], threads=found.threads, pictures=run.pictures)
    return replace(run, study=study, checked=checked)


def _patiently(run: Run, should_stop: Callable[[], bool]) -> Generator[DataChecked | RunEvent, None, None]:
    """Runs, and where the database goes away runs again when it is back, as the same command would after a kill."""
    is_again = has_begun = False
    while True:
        try:
            for event in _run(run, should_stop):
                has_begun = has_begun or isinstance(event, TrialStarted)
                if isinstance(event, DataChecked):
                    run = replace(run, checked=event)
                if not (is_again and isinstance(event, DataChecked | LanesChosen | StartChecked)):
                    yield event
            return
        except (SQLAlchemyError, OptunaError, StorageError) as error:
            # One that answers and then takes nothing is not waited for again and again.
            if not (has_begun and is_away(error)) or should_stop():
                raise
            yield DatabaseAway(reason=str(error).partition("\n")[0])
        wait_for(run.storage_url, should_stop)
        is_again, has_begun = True, False


def _run(run: Run, should_stop: Callable[[], bool]) -> Generator[DataChecked | RunEvent, None, None]:
    study = pinned(run.study)
    device = choose_device(run.device)
    storage = Storage(run.storage_url)
    try:
        storage.check_can_run(study)
        found, checked, since = run.crew(device), run.checked, RunTime()
        if found.lanes == AUTO:  # on data that can be trained on
            checked = checked or surveyed(study, run.pictures)
        lanes = _lanes(run, study, found)
        side_by_side = lanes if isinstance(lanes, int) else lanes.lanes
        engine = _engine(run, study, found, lanes=side_by_side)
        try:
            checked = checked or surveyed(study, run.pictures)
            planning.check_shares(study, checked.summary["splits"]["train"]["images"])
            text = start_text(study, checked.summary["classes"])
            yield checked
            if isinstance(lanes, LanesChosen):
                yield lanes
            if text:
                study = study.model_copy(update={"decisions": {**study.decisions, "weights": text}})
                yield StartChecked(text=f"{study.weights}: {text}")
            environment_id = storage.keep_environment(environment(device))
            check_unchanged(storage, study.name, checked, accepts_changed=run.accepts_changed_data)
            trials = StudyRun(
                study,
                storage,
                engine,
                environment_id=environment_id,
                data_files=checked.files,
                earlier=run.earlier,
                should_stop=should_stop,
            )
            facts = _facts(found, device, lanes=side_by_side)
            yield from _trained(trials, replace(run, study=study, checked=checked), storage, since=since, facts=facts)
        finally:
            engine.close()
    finally:
        storage.close()


def _trained(
    trials: StudyRun, run: Run, storage: Storage, *, since: RunTime, facts: RunFacts
) -> Generator[RunEvent, None, None]:
    """Trains in a lease of the study's, in a run that is recorded; weights that nothing needs any more are dropped."""
    study_id, checked = trials.study_id, run.checked
    assert checked is not None
    with (
        storage.lease(study_id, run.study.name) as lease,
        recorded(storage.engine, lease, study_id=study_id, since=since, facts=facts),
        closing(trials.events(lease)) as events,
    ):
        storage.describe_data(study_id, checked.summary | {"note": checked.note}, checked.as_rows())
        verdicts, best = storage.verdicts(study_id), storage.best(study_id)
        kept = exportable(run.study, storage, study_id, verdicts)
        _drop_weights(run, verdicts, verdicts, kept=kept)  # which a killed run left
        if verdicts:
            fitness = nan if best is None else storage.fitness(study_id)[best]
            yield StudyGoesOn(num_ended=len(verdicts), best=best, fitness=fitness)
        for event in events:
            if isinstance(event, TrialEnded):
                verdicts[event.trial.number] = event.outcome.verdict
                before, kept = kept, exportable(run.study, storage, study_id, verdicts)
                _drop_weights(run, verdicts, affected_by(run.study, event.trial.number) | before, kept=kept)
            elif isinstance(event, TrialPaused):
                _drop_weights(run, {event.trial.number: Verdict.PAUSED}, [event.trial.number], kept=())
            yield event


def _drop_weights(run: Run, verdicts: Mapping[int, str], numbers: Collection[int], *, kept: Collection[int]) -> None:
    """Drops the weights of some trials that have ended, or wait, as far as nothing needs them any more."""
    for number in sorted(verdicts.keys() & {*numbers}):
        for path in list(unneeded_of(run.folder, run.study, number, verdicts, is_exportable=number in kept)):
            drop(path)


def _lanes(run: Run, study: Study, found: Crew) -> int | LanesChosen:
    """Trials side by side in each process, measured where that was asked for and more than one could be."""
    if isinstance(found.lanes, int):
        return found.lanes
    device, most = found.devices[0], found.most_lanes
    return choose_lanes(study, device, threads=found.threads, most=most, pictures=run.pictures)


def _engine(run: Run, study: Study, found: Crew, *, lanes: int) -> Engine:
    limits = Limits(trial_seconds=study.budget.trial_seconds)
    make = partial(make_objective, study, run_folder=run.folder.absolute(), pictures=run.pictures)
    objectives = [partial(make, device=device, num_threads=found.threads) for device in found.devices]
    if found.engine == "serial":
        return SerialEngine(objectives[0], lanes=lanes)
    if found.engine == "ray":
        return _ray_engine(run, study, found, limits)
    return ProcessEngine(
        objectives,
        workers=found.workers,
        lanes=lanes,
        preload=WORKERS_NEED,
        limits=limits,
        fuse_key=lambda trial: study.fuse_key(trial.params),
    )


def _ray_engine(run: Run, study: Study, found: Crew, limits: Limits) -> Engine:
    """On a cluster as many train as there is room for, on a core or a GPU each; on this machine, as processes would."""
    from evolve.run.engines.ray import Checkpoints, RayEngine, Stopping  # Ray takes seconds to load

    on_gpu = found.devices[0].startswith("cuda")
    is_joined, folder = bool(run.asked.address), run.folder.absolute()
    cpus = 1 if is_joined else found.threads
    # Ray shows each process the GPU that is its own.
    device = "cuda" if on_gpu else found.devices[0]
    pictures = None if is_joined else run.pictures  # on the disk of this machine
    return RayEngine(
        partial(make_objective, study, device=device, run_folder=folder, num_threads=cpus, pictures=pictures),
        workers=run.asked.workers if is_joined else found.workers,
        address=run.asked.address,
        cpus_per_trial=cpus,
        gpus_per_trial=int(on_gpu),
        stopping=Stopping(scheduler=study.scheduler, epochs=study.epochs, fitness=study.fitness.of),
        checkpoints=Checkpoints(folder=folder, name=partial(checkpoint_path, Path())),
        limits=limits,
    )


def _facts(found: Crew, device: str, *, lanes: int) -> RunFacts:
    return RunFacts(workers=found.workers, lanes=lanes, engine=found.engine, host=socket.gethostname(), device=device)
