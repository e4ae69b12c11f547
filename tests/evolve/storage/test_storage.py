"""The database: WAL, one writer among readers, NaN, leases, versions, and errors that say what to do."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Table, event, insert, select, update

from detector.observations import Picture, PicturesTaken, PicturesWatched, ScaleObjectness
from detector.telemetry import ClassScores, EpochMetrics, LaneStarted, StepTelemetry
from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.lease import LEASE_SECONDS, Lease
from evolve.storage.migrations import latest
from evolve.storage.opening import open_engine
from evolve.storage.sqlite import BUSY_SECONDS, sqlite_file
from evolve.study.trial import Record
from tests.fakes import inspected, metrics_of, step_of


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"sqlite:///{tmp_path}/folder/evolve.db")


def record(telemetry: object, seed: int = 0) -> Record:
    return Record(trial=0, seed=seed, telemetry=telemetry)  # type: ignore[arg-type]


def start(step: int, epoch: int) -> Record:
    return record(LaneStarted(lane=0, epoch=epoch, step=step, total_steps=20))


def test_sqlite_runs_in_wal_mode_with_a_busy_timeout_for_ours_and_optunas_connections(storage: Storage) -> None:
    for engine in (storage.engine, storage.optuna.engine):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 1000 * BUSY_SECONDS


def test_steps_and_epochs_come_back_as_they_were_written_nan_included(storage: Storage) -> None:
    steps = [step_of(0.1, 0, 0, 0), step_of(5.0, 0, 7, 1)]
    metrics = metrics_of(0.1, 0, 0, 4, "val")

    storage.records.write(1, [*map(record, steps), record(metrics)], {(0, "val", 0): 0.25})

    first, second = storage.records.steps(1, 0)
    assert first == steps[0]
    assert math.isnan(second.loss) and all(math.isnan(each) for each in second.terms.box)
    assert storage.records.epochs(1) == {0: [metrics]}


PICTURE = Picture(jpeg=b"jpeg", width=4, height=3, boxes=((0, 0, 500, 1000, 2),))


def seen_in(epoch: int, split: str = "val") -> list[Record]:
    """What an evaluation yields besides its metrics."""
    scores = {"precision": 0.5, "recall": 0.5, "map50": math.nan, "map50_95": 0.1}
    group = {"objectness_mean": 0.5, "objectness_spread": 0.1, "iou_mean": 0.4, "iou_spread": math.nan}
    own = {"lane": 0, "epoch": epoch}
    objectness = {"scale": 1, "is_matched": True, "places": 3, "histogram": (1, 2), "density": ((1,), (2,))}
    found = [
        ClassScores(**own, split=split, class_index=2, objects=4, **scores),
        ScaleObjectness(**own, split=split, **objectness, **group),
        PicturesWatched(**own, boxes=(((0, 0, 10, 20, 2, 900),), ())),
        replace(inspected(epoch), dead=math.nan),
    ]
    return [*map(record, found[: 4 if split == "val" else 2])]


def rows_in(storage: Storage, table: Table) -> list[dict[str, object]]:
    with storage.engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_what_an_evaluation_shows_is_kept_and_replaced_by_a_training_that_goes_on(storage: Storage) -> None:
    storage.records.write(1, [start(0, 0), *seen_in(0), *seen_in(1), *seen_in(1, "test")], {})

    storage.records.write(1, [start(5, 1)], {})

    for table in (schema.class_scores, schema.objectness, schema.watched, schema.layer):
        assert [row["epoch"] for row in rows_in(storage, table)] == [0]
    (objectness,), (watched,) = (rows_in(storage, table) for table in (schema.objectness, schema.watched))
    assert (objectness["histogram"], objectness["density"]) == ("[1,2]", "[[1],[2]]")
    assert objectness["is_matched"] is True and math.isnan(float(str(objectness["iou_spread"])))
    assert watched["boxes"] == "[[[0,0,10,20,2,900]],[]]"
    (layer,) = rows_in(storage, schema.layer)
    assert (layer["part"], layer["spread"], layer["histogram"]) == ("activations", 0.5, "[0,500,500]")
    assert math.isnan(float(str(layer["dead"])))


def test_a_picture_is_kept_once_a_study_however_many_trainings_show_it(storage: Storage) -> None:
    for trial_id, study_id in ((1, 1), (2, 1), (3, 2)):
        storage.begin_trial(trial_id, study_id=study_id, number=0, environment_id="e")
        for seed in (0, 1, 1):
            taken = PicturesTaken(lane=0, split="val", pictures=(PICTURE, replace(PICTURE, boxes=())))
            storage.records.write(trial_id, [record(taken, seed)], {})

    assert sorted((row["study_id"], row["boxes"]) for row in rows_in(storage, schema.picture)) == [
        (study_id, boxes) for study_id in (1, 2) for boxes in ("[[0,0,500,1000,2]]", "[]")
    ]
    assert len(rows_in(storage, schema.taken)) == 3 * 2 * 2


def test_a_training_that_goes_on_replaces_what_came_after_its_checkpoint(storage: Storage) -> None:
    first = [start(0, 0), *(record(step_of(0.1, 0, each, each // 5)) for each in range(8))]
    storage.records.write(1, [*first, record(metrics_of(0.1, 0, 0, 4, "val"))], {})

    storage.records.write(1, [start(5, 1), *(record(step_of(0.2, 0, each, 1)) for each in range(5, 10))], {})

    assert [(each.step, each.lr) for each in storage.records.steps(1, 0)] == [
        *((each, 0.1) for each in range(5)),
        *((each, 0.2) for each in range(5, 10)),
    ]
    assert len(storage.records.epochs(1)[0]) == 1


def test_a_transaction_that_fails_leaves_nothing_behind(storage: Storage) -> None:
    with pytest.raises(Exception, match="UNIQUE"):
        storage.records.write(1, [record(step_of(0.1, 0, 0, 0)), record(step_of(0.1, 0, 0, 0))], {})

    assert storage.records.steps(1, 0) == []


def test_a_reader_beside_a_writer_meets_no_lock(storage: Storage) -> None:
    stop, errors, reads = threading.Event(), [], []

    def read() -> None:
        engine = open_engine(storage.url)
        while not stop.is_set():
            try:
                with engine.connect() as connection:
                    reads.append(len(connection.execute(select(schema.step.c.loss)).all()))
            except Exception as error:
                errors.append(error)
        engine.dispose()

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(150):
        storage.records.write(number, [record(step_of(0.1, 0, each, 0)) for each in range(20)], {})
    stop.set()
    reader.join()

    assert not errors
    assert reads and reads[-1] > 0


def holder(storage: Storage) -> int | None:
    """Process that has the lease of study 1."""
    with storage.engine.connect() as connection:
        return connection.scalar(select(schema.lease.c.pid).where(schema.lease.c.study_id == 1))


def test_a_lease_of_a_dead_process_is_taken_over_and_that_of_a_living_one_is_not(storage: Storage) -> None:
    table = schema.lease
    with storage.lease(1, "mine"):
        with pytest.raises(StorageError, match="runs it"), storage.lease(1, "mine"):
            pass
        with storage.engine.begin() as connection:
            connection.execute(update(table).values(pid=2**22 + 1))  # above Linux's largest process id
        with closing(Storage(storage.url)) as other, other.lease(1, "mine"):
            pass


def test_a_lease_of_a_process_whose_number_another_one_has_now_is_taken_over(storage: Storage) -> None:
    with storage.lease(1, "mine"):
        with storage.engine.begin() as connection:
            connection.execute(update(schema.lease).values(pid=os.getppid()))

        with closing(Storage(storage.url)) as other, other.lease(1, "mine"):
            assert holder(storage) == os.getpid()


HOURS = 3600.0


@pytest.mark.parametrize("age", [0.0, 61.0, -7 * HOURS], ids=["now", "a minute ago", "in the future"])
def test_a_holder_elsewhere_is_watched_whatever_its_clock_says(storage: Storage, age: float) -> None:
    row = {"study_id": 1, "token": "x", "host": "elsewhere", "pid": 1, "heartbeat": time.time() - age}
    with storage.engine.begin() as connection:
        connection.execute(insert(schema.lease).values(**row))
    seconds: list[float] = []

    def beat(waited: float) -> None:
        seconds.append(waited)
        if len(seconds) == 3:
            with storage.engine.begin() as connection:
                connection.execute(update(schema.lease).values(heartbeat=schema.lease.c.heartbeat + 5))

    with pytest.raises(StorageError, match="process 1 on elsewhere runs it"):
        Lease(storage.engine, 1, "mine", sleep=beat).take()
    assert len(seconds) == 3
    silent = Lease(storage.engine, 1, "mine", sleep=seconds.append)
    silent.take()
    silent.release()
    assert sum(seconds[3:]) == LEASE_SECONDS


def test_a_holder_elsewhere_that_has_been_dead_for_hours_is_not_watched(storage: Storage) -> None:
    row = {"study_id": 1, "token": "x", "host": "elsewhere", "pid": 1, "heartbeat": time.time() - 2 * HOURS}
    with storage.engine.begin() as connection:
        connection.execute(insert(schema.lease).values(**row))

    with storage.lease(1, "mine") as lease:
        lease.heartbeat()
        assert holder(storage) == os.getpid()


def test_a_runner_whose_study_was_taken_over_stops(storage: Storage) -> None:
    with storage.lease(1, "mine") as lease:
        with storage.engine.begin() as connection:
            connection.execute(update(schema.lease).values(token="another"))
        with pytest.raises(StorageError, match="taken it over"):
            lease.heartbeat()


def test_a_database_of_a_newer_version_is_left_alone(storage: Storage) -> None:
    with storage.engine.begin() as connection:
        connection.execute(update(schema.revision).values(version_num="0099"))

    with pytest.raises(StorageError, match=f"of revision 0099, this evolve reads up to {latest()}; upgrade"):
        Storage(storage.url)


def test_a_study_that_evolve_did_not_make_is_not_mistaken_for_one_of_its_own(storage: Storage) -> None:
    import optuna

    other = optuna.create_study(storage=storage.optuna, study_name="other")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)

    with pytest.raises(StorageError, match="not made by evolve"):
        storage.stored_study("other")
    with pytest.raises(StorageError, match=r"study none: is not in .*; stored: \['other'\]"):
        storage.study_id("none")


def test_of_two_runs_that_store_their_environment_at_once_the_second_finds_it(storage: Storage) -> None:
    with closing(Storage(storage.url)) as other:

        def store_first(*arguments: object) -> None:
            if str(arguments[2]).startswith("INSERT INTO evolve_environment"):
                other.keep_environment({"torch": "3"})

        event.listen(storage.engine, "before_cursor_execute", store_first)
        found = storage.keep_environment({"torch": "3"})

    with storage.engine.connect() as connection:
        assert list(connection.scalars(select(schema.environment.c.environment_id))) == [found]


def test_optunas_own_tools_open_the_same_file(storage: Storage) -> None:
    import optuna

    optuna.create_study(storage=storage.optuna, study_name="shared")
    storage.records.write(1, [record(step_of(0.1, 0, 0, 0))], {})

    assert optuna.get_all_study_names(storage.url) == ["shared"]
    file = sqlite_file(storage.url)
    assert file is not None
    with sqlite3.connect(file) as connection:
        tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    assert {"studies", "trials", "alembic_version"} <= tables
    assert {name for name in tables if name.startswith("evolve_")} == set(schema.metadata.tables)


def test_types_of_records_are_kept(storage: Storage) -> None:
    storage.records.write(
        3, [record(step_of(0.1, 2, 0, 0), seed=2), record(metrics_of(0.1, 2, 0, 4, "test"), seed=2)], {}
    )

    assert isinstance(storage.records.steps(3, 2)[0], StepTelemetry)
    assert isinstance(storage.records.epochs(3, split="test")[2][0], EpochMetrics)
