"""A runner that was frozen while another took its study over writes nothing when it wakes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest
from sqlalchemy import MetaData, delete, select

from evolve.errors import StorageError
from evolve.run.engines import SerialEngine
from evolve.run.runner import StudyRun
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.lease import Lease
from tests.fakes import fake_study, make_fake

STUDY = fake_study(budget={"trials": 3}, pruner="asha", epochs=4)
TABLES = MetaData()


@contextmanager
def begun(url: str, folder: Path) -> Iterator[tuple[Storage, StudyRun]]:
    storage = Storage(url)
    with closing(storage), closing(SerialEngine(partial(make_fake, STUDY.epochs, folder))) as engine:
        yield storage, StudyRun(STUDY, storage, engine, environment_id="test")


def everything(storage: Storage) -> dict[str, list[str]]:
    """Every row of every table, Optuna's and ours."""
    if not TABLES.tables:  # which takes longer than a run
        TABLES.reflect(storage.engine)
    with storage.engine.connect() as connection:
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in TABLES.sorted_tables}


def refusal(url: str, folder: Path, num_events: int) -> str | None:
    """Freezes a run after so many events, has another finish the study, and wakes the first, which must write nothing.

    Returns:
        What stopped the first; empty where it had nothing more to write, None where there were not so many events.
    """
    with (
        begun(url, folder) as (storage, frozen),
        storage.lease(frozen.study_id, STUDY.name) as lease,
        closing(frozen.events(lease)) as events,
        begun(url, folder) as (other, second),
    ):
        if len(list(islice(events, num_events))) < num_events:
            return None
        with other.engine.begin() as connection:  # as one does that has watched the holder in vain
            connection.execute(delete(schema.lease))
        with other.lease(second.study_id, STUDY.name) as taken:
            list(second.events(taken))
            before, stopped_by = everything(other), ""
            try:
                list(events)
            except StorageError as error:
                stopped_by = str(error)
            assert everything(other) == before
            return stopped_by


def test_wherever_it_was_frozen_it_stops_at_its_first_write_and_leaves_every_row_as_it_is(tmp_path: Path) -> None:
    found = []
    for num_events in count(1):
        (folder := tmp_path / str(num_events)).mkdir()
        if (stopped_by := refusal(f"sqlite:///{folder}/evolve.db", folder, num_events)) is None:
            break
        found.append(stopped_by)

    assert len(found) > 10  # of three trials
    assert set(found[:-2]) == {"study fake: another process has taken it over; this one stops"}


def test_reading_goes_on_and_so_does_writing_after_the_run(tmp_path: Path) -> None:
    with begun(f"sqlite:///{tmp_path}/evolve.db", tmp_path) as (storage, run):
        lease = Lease(storage.engine, run.study_id, STUDY.name)
        with lease.fence(storage.engine):  # which nobody has taken
            assert storage.study_names() == [STUDY.name]
            with pytest.raises(StorageError, match="taken it over"):
                storage.keep_environment({"torch": "3"})
        assert storage.keep_environment({"torch": "3"})
