"""Everything a study leaves behind, in one database: Optuna's tables and ours.

One process writes. SQLite runs in WAL mode, so that readers never stop it. What is written for a
trial can be written again: a training that goes on from a checkpoint first drops what came after it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import delete, func, insert, inspect, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from evolve.errors import StorageError
from evolve.outcome.training import TrialOutcome
from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.storage import schema
from evolve.storage.lease import Lease
from evolve.storage.ledger import Ledger
from evolve.storage.migrations import make_current
from evolve.storage.opening import make_folder, open_engine, said_by
from evolve.storage.optuna_tables import ATTRIBUTE_ROWS, FIXED_PARAMS, PARENT, REPORT_ROWS, complete_indexes
from evolve.storage.orphans import remove_claimable
from evolve.storage.paused import wake_all
from evolve.storage.records import Records
from evolve.storage.spent import note_lost
from evolve.storage.sqlite import Patience, connect_arguments, tune, without_password
from evolve.storage.transactions import Transactions
from evolve.storage.trials import Trials
from evolve.study import Study
from evolve.study.arms import compared_trials
from evolve.study.earlier import Earlier

CREATION_ATTEMPTS = 6
# Under which Optuna keeps with a study the trials of earlier searches that it begins with.
_EARLIER = "evolve:earlier"


class Storage:
    """Reads and writes studies.

    Args:
        url: Any SQLAlchemy URL.
        reads_only: Whether nothing is to be written, not even the tables of an empty database.

    Raises:
        StorageError: The database cannot be opened, is of a newer version, or is only read and holds no studies.
    """

    def __init__(self, url: str, *, reads_only: bool = False) -> None:
        if not reads_only:
            make_folder(url)
        self.url = url
        self._patience = Patience()
        self.engine = open_engine(url, patience=self._patience, reads_only=reads_only)
        self.transactions = Transactions(self.engine)
        self.ledger = Ledger(self.transactions)
        self.records = Records(self.transactions)
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # the runner reports what goes on
        if reads_only:
            with self.engine.connect() as connection:
                if not all(inspect(connection).has_table(name) for name in (schema.study.name, "studies")):
                    self.engine.dispose()
                    raise StorageError(
                        f"storage {self.where}: holds no studies of evolve; run one, or name another --storage"
                    )
        self.optuna = self._made(reads_only=reads_only)
        tune(self.optuna.engine, reads_only=reads_only)

    def _made(self, *, reads_only: bool) -> optuna.storages.RDBStorage:
        """Optuna's storage, with all tables made; of several processes that make them at once, some try again."""
        arguments = {"connect_args": connect_arguments(self.url, self._patience)}
        for attempt in range(CREATION_ATTEMPTS):
            try:
                if not reads_only:
                    with self.engine.begin() as connection:
                        make_current(connection)
                made = optuna.storages.RDBStorage(
                    self.url,
                    engine_kwargs=arguments,
                    skip_table_creation=reads_only,
                    skip_compatibility_check=reads_only,
                )
                if not reads_only:
                    with self.engine.begin() as connection:
                        complete_indexes(connection)
                return made
            except (SQLAlchemyError, RuntimeError, StorageInternalError) as error:
                is_last = attempt == CREATION_ATTEMPTS - 1
                if is_last or self._patience.is_over or isinstance(error, RuntimeError):
                    self.engine.dispose()
                    raise StorageError(f"storage {self.where}: Optuna cannot use it: {said_by(error)}") from error
                time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    @property
    def where(self) -> str:
        """The database for messages, without its password."""
        return without_password(self.url)

    def close(self) -> None:
        """Gives all connections back."""
        self.optuna.engine.dispose()
        self.engine.dispose()

    # Studies

    def check_can_run(self, study: Study) -> None:
        """Makes sure that the study is new, or is stored as it is now and nobody runs it.

        Raises:
            StorageError: A study of this name is stored with another definition, or a process runs it.
        """
        self._check_definition(study)
        if study.name in self.study_names():
            Lease(self.engine, self.study_id(study.name), study.name).check_free()

    def _check_definition(self, study: Study) -> None:
        stored = self.stored_study(study.name)
        if stored is not None and (different := study.differences(stored)):
            raise StorageError(
                f"study {study.name}: is stored in {self.where} with other {', '.join(different)}; "
                "give this one another --name, or go on with the stored one with --resume"
            )

    def open_study(self, study: Study, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner) -> Any:
        """Optuna's study, made or continued, with nothing of what Optuna's own tools removed.

        Raises:
            StorageError: A study of this name is stored with another definition.
        """
        self._check_definition(study)
        with self.engine.begin() as connection:
            remove_claimable(connection)
        opened = optuna.create_study(
            storage=self.optuna,
            sampler=sampler,
            pruner=pruner,
            study_name=study.name,
            direction="maximize",
            load_if_exists=True,
        )
        with self.engine.begin() as connection:
            values: dict[str, Any] = {"config": study.to_json()}
            table, study_id = schema.study, opened._study_id
            if connection.execute(update(table).where(table.c.study_id == study_id).values(values)).rowcount == 0:
                connection.execute(insert(table).values(study_id=study_id, created=time.time(), **values))
        return opened

    def stored_study(self, name: str) -> Study | None:
        """The study's definition, or None where there is none of that name.

        Raises:
            StorageError: The name belongs to a study that Optuna keeps but evolve did not make.
        """
        try:
            study_id = self.optuna.get_study_id_from_name(name)
        except KeyError:
            return None
        with self.engine.connect() as connection:
            config = connection.scalar(select(schema.study.c.config).where(schema.study.c.study_id == study_id))
        if config is None:
            if not self.optuna.get_n_trials(study_id):
                return None  # a run was killed before it stored the definition
            raise StorageError(f"study {name}: in {self.where} but not made by evolve; give yours another --name")
        return Study.from_json(config)

    def study_names(self) -> list[str]:
        """Names of all studies, evolve's and others."""
        return sorted(study.study_name for study in self.optuna.get_all_studies())

    def study_id(self, name: str) -> int:
        """Optuna's id of a study.

        Raises:
            StorageError: There is no study of that name.
        """
        try:
            return self.optuna.get_study_id_from_name(name)
        except KeyError:
            raise StorageError(f"study {name}: is not in {self.where}; stored: {self.study_names()}") from None

    def earlier(self, name: str) -> tuple[Earlier, ...] | None:
        """Trials of earlier searches that a study begins with; None where none were stored with it."""
        try:
            stored = self.optuna.get_study_system_attrs(self.optuna.get_study_id_from_name(name)).get(_EARLIER)
        except KeyError:
            return None
        return None if stored is None else tuple(Earlier(**trial) for trial in stored)

    def keep_earlier(self, study_id: int, trials: Sequence[Earlier]) -> None:
        """Stores trials of earlier searches with a study, once and for all."""
        self.optuna.set_study_system_attr(study_id, _EARLIER, [trial.as_mapping() for trial in trials])

    def describe_data(self, study_id: int, summary: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> None:
        """Stores what the data set holds and what its check clipped or left out."""
        table, found = schema.study, schema.data_finding
        with self.engine.begin() as connection:
            text = json.dumps(summary)
            connection.execute(update(table).where(table.c.study_id == study_id).values(data_summary=text))
            connection.execute(delete(found).where(found.c.study_id == study_id))
            if findings:
                connection.execute(insert(found), [{**finding, "study_id": study_id} for finding in findings])

    def keep_environment(self, facts: Mapping[str, str]) -> str:
        """Stores the versions and the machine once; returns their id."""
        text = json.dumps(facts, sort_keys=True)
        identity = sha256(text.encode()).hexdigest()
        table = schema.environment
        # Another run may store the same at the same time, and is then the one that did.
        with suppress(IntegrityError), self.engine.begin() as connection:
            if connection.scalar(select(table.c.environment_id).where(table.c.environment_id == identity)) is None:
                connection.execute(insert(table).values(environment_id=identity, facts=text))
        return identity

    # Who runs a study

    @contextmanager
    def lease(self, study_id: int, name: str) -> Iterator[Lease]:
        """The right to run a study, released at the end; once it is lost, this storage writes nothing more.

        Raises:
            StorageError: Another process is running it.
        """
        lease = Lease(self.engine, study_id, name)
        lease.take()
        try:
            with lease.fence(self.engine, self.optuna.engine):
                yield lease
        finally:
            # A database that is locked or gone for good must not hide what ended the run; a dead holder is found out.
            with suppress(SQLAlchemyError):
                lease.release()

    # Trials

    def trials(self, study_id: int, *, holds_ended: bool) -> Trials:
        """Trials of a study as Optuna sees them, for the one that runs it.

        Args:
            study_id: Optuna's id of the study.
            holds_ended: Whether ended trials stay in memory.
        """
        return Trials(self.transactions, study_id, holds_ended=holds_ended)

    def begin_trial(self, trial_id: int, *, study_id: int, number: int, environment_id: str) -> bool:
        """Notes that a trial trains.

        Returns:
            Whether it had not begun before; one that goes on keeps its row.
        """
        table = schema.trial
        row = {"trial_id": trial_id, "study_id": study_id, "number": number, "environment_id": environment_id}
        with self.transactions.begin() as connection:
            if connection.scalar(select(table.c.number).where(table.c.trial_id == trial_id)) is not None:
                return False
            connection.execute(insert(table), row | {"started": time.time()})
            return True

    def forget_unfinished(self, study_id: int) -> None:
        """Lets the trials of a study that have not ended, or wait, train from their beginning with their parameters."""
        own = schema.trial.c
        has_not_ended = or_(own.verdict.is_(None), own.verdict == Verdict.PAUSED)
        unfinished = select(own.trial_id).where(own.study_id == study_id, has_not_ended)
        of_steps, of_epochs = (rows.c.trial_id.in_(unfinished) for rows in (schema.step, schema.epoch))
        with self.transactions.begin() as connection:
            note_lost(connection, of_steps=of_steps, of_epochs=of_epochs)
            for rows in (*schema.OF_TRAININGS, schema.checkpoint, schema.decision, REPORT_ROWS):
                connection.execute(delete(rows).where(rows.c.trial_id.in_(unfinished)))
            kept = ATTRIBUTE_ROWS.c.key.in_((FIXED_PARAMS, PARENT))
            connection.execute(delete(ATTRIBUTE_ROWS).where(ATTRIBUTE_ROWS.c.trial_id.in_(unfinished), ~kept))
            wake_all(connection, study_id)

    def end_trial(self, trial_id: int, outcome: TrialOutcome) -> None:
        """Stores how a trial ended, and how long its trainings took together."""
        table, training = schema.trial, schema.training
        with self.transactions.begin() as connection:
            total = select(func.coalesce(func.sum(training.c.seconds), 0.0)).where(training.c.trial_id == trial_id)
            values = asdict(outcome) | {"ended": time.time(), "seconds": float(connection.scalar(total) or 0)}
            connection.execute(update(table).where(table.c.trial_id == trial_id).values(values))

    def seconds(self, trial_id: int) -> float:
        """Seconds a trial trained over all its starts; NaN while it runs."""
        table = schema.trial
        with self.transactions.connect() as connection:
            return float(connection.execute(select(table.c.seconds).where(table.c.trial_id == trial_id)).scalar_one())

    def outcome(self, trial_id: int) -> TrialOutcome | None:
        """How a trial ended, or where it waits; None while it trains."""
        table = schema.trial
        columns = (table.c.verdict, table.c.reason, table.c.fitness, table.c.diagnosis, table.c.traceback)
        with self.transactions.connect() as connection:
            row = connection.execute(select(*columns).where(table.c.trial_id == trial_id)).mappings().first()
        if row is None or row["verdict"] is None:
            return None
        return TrialOutcome(**{**row, "verdict": Verdict(row["verdict"]), "reason": row["reason"] or ""})

    def data_summary(self, study_id: int) -> dict[str, Any]:
        """Counts of images, boxes and classes of the study's data; empty where none are stored."""
        table = schema.study
        with self.transactions.connect() as connection:
            text = connection.scalar(select(table.c.data_summary).where(table.c.study_id == study_id))
        found: dict[str, Any] = json.loads(text or "{}")
        return found

    def verdicts(self, study_id: int) -> dict[int, str]:
        """Verdict of each ended trial, by number."""
        table = schema.trial
        query = select(table.c.number, table.c.verdict).where(
            table.c.study_id == study_id, table.c.verdict != Verdict.PAUSED
        )
        with self.transactions.connect() as connection:
            return {number: verdict for number, verdict in connection.execute(query.order_by(table.c.number))}  # noqa: C416

    def fitness(self, study_id: int) -> dict[int, float]:
        """Fitness of each trial that trained through, by number."""
        table = schema.trial
        query = select(table.c.number, table.c.fitness).where(table.c.study_id == study_id)
        with self.transactions.connect() as connection:
            rows = connection.execute(query.where(table.c.verdict.in_(TRAINED_THROUGH)).order_by(table.c.number))
            return {number: fitness for number, fitness in rows}  # noqa: C416

    def params(self, study_id: int) -> dict[int, dict[str, Any]]:
        """Values of what each trial searched, by its number."""
        return {trial.number: trial.params for trial in self.optuna.get_all_trials(study_id, deepcopy=False)}

    def environment_of(self, study_name: str, number: int) -> dict[str, str]:
        """Versions and machine that a trial was trained with."""
        trial, facts = schema.trial, schema.environment
        query = select(facts.c.facts).join(trial, trial.c.environment_id == facts.c.environment_id)
        query = query.where(trial.c.study_id == self.study_id(study_name), trial.c.number == number)
        with self.transactions.connect() as connection:
            found: dict[str, str] = json.loads(connection.scalar(query) or "{}")
            return found

    def best(self, study_id: int) -> int | None:
        """Number of the trial with the highest fitness, the earliest of equals; None where none has trained through.

        Diverged, pruned and failed trials are never the best. In an ablation the best is one of those that have the
        seeds of all arms: none that only tunes, and none of a later look.
        """
        table, own = schema.trial, schema.study.c
        query = select(table.c.number).where(table.c.study_id == study_id, table.c.verdict.in_(TRAINED_THROUGH))
        with self.transactions.connect() as connection:
            config = connection.scalar(select(own.config).where(own.study_id == study_id))
            compared = compared_trials(json.loads(config or "{}"))
            query = query.where(table.c.number >= compared.start, table.c.number < compared.stop)
            number: int | None = connection.scalar(query.order_by(table.c.fitness.desc(), table.c.number).limit(1))
            return number
