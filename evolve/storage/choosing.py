"""Which stored study a word means: its name, what the name begins with, or `latest`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf

from sqlalchemy import Connection, Engine, inspect, select, union_all

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.optuna_tables import STUDIES
from evolve.storage.sqlite import without_password

LATEST = "latest"
LISTED = 20  # names in an error; more would hide what it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A stored study, and how a word came to mean it.

    Attributes:
        name: Name of the study that was chosen.
        why: How the word came to mean it, for people; empty where the word is the name itself.
    """

    name: str
    why: str = ""


def choose_study(engine: Engine, word: str) -> Choice:
    """The study that a word means: of that name, else the only one that begins so, else the one trained last.

    What confirms a study is meant by its whole name alone: any other word that fits it means the study.

    Args:
        engine: A database with Optuna's tables.
        word: A name, the beginning of one, or `latest`: of the study that was last made, or whose trial last began or
            ended.

    Raises:
        StorageError: The word means no study or several; the text lists those that it may mean.
    """
    with engine.connect() as connection:
        names = _names(connection)
        if word in names:
            return Choice(name=word)
        confirms = _confirms(connection)
        fitting = [name for name in names if word and name.startswith(word) and name not in confirms]
        if len(fitting) == 1:
            return Choice(name=fitting[0], why=f"the only one that begins with {word}")
        if fitting:
            raise StorageError(
                f"study {word}: {len(fitting)} studies in {without_password(engine.url)} begin so: {_listed(fitting)}; "
                f"write more of the name, or {LATEST} for the one trained last"
            )
        if word == LATEST and (name := _latest(connection)) is not None:
            return Choice(name=confirms.get(name, name), why="the one trained last")
    raise _unknown(engine, word, names)


def exact_study(engine: Engine, name: str) -> str:
    """The name as it is, if a study has it: for what cannot be taken back, a part of a name is not enough.

    Raises:
        StorageError: There is no study of that name; the text lists those that begin so.
    """
    with engine.connect() as connection:
        names = _names(connection)
    if name in names:
        return name
    if fitting := [known for known in names if name and (known.startswith(name) or name == LATEST)]:
        raise StorageError(
            f"study {name}: only a whole name is taken here, not its beginning or {LATEST}; "
            f"it may mean: {_listed(fitting)}"
        )
    raise _unknown(engine, name, names)


def _names(connection: Connection) -> list[str]:
    if not inspect(connection).has_table(STUDIES.name):
        return []
    return list(connection.scalars(select(STUDIES.c.study_name).order_by(STUDIES.c.study_name)))


def _confirms(connection: Connection) -> dict[str, str]:
    """The study that each confirmation is of, where that is still there and no new one of its name."""
    if not inspect(connection).has_table(schema.study.name):
        return {}
    own = schema.study.c
    stored = select(STUDIES.c.study_name, own.created).join(STUDIES, STUDIES.c.study_id == own.study_id)
    made = {row.study_name: row.created for row in connection.execute(stored)}
    rows = connection.execute(stored.add_columns(own.config).where(own.config.contains('"confirms": "')))
    found = {row.study_name: (json.loads(row.config).get("ablation") or {}).get("confirms", "") for row in rows}
    return {name: study for name, study in found.items() if made.get(study, inf) <= made[name]}


def _latest(connection: Connection) -> str | None:
    """Name of evolve's study that something happened to last; of equals the one that was made later."""
    if not inspect(connection).has_table(schema.trial.name):
        return None
    moments = (schema.study.c.created, schema.trial.c.started, schema.trial.c.ended)
    times = union_all(*(select(moment.table.c.study_id, moment.label("at")) for moment in moments)).subquery()
    query = select(STUDIES.c.study_name).join(times, times.c.study_id == STUDIES.c.study_id)
    # A column that sorts NULL as the largest, as PostgreSQL does, must not hold one.
    query = query.where(times.c.at.is_not(None)).order_by(times.c.at.desc(), STUDIES.c.study_id.desc())
    name: str | None = connection.scalar(query.limit(1))
    return name


def _listed(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _unknown(engine: Engine, word: str, names: list[str]) -> StorageError:
    where = without_password(engine.url)
    if not names:
        return StorageError(f"study {word}: is not in {where}, which holds no study yet; run one first")
    close = get_close_matches(word, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return StorageError(f"study {word}: is not in {where}; {meant}stored: {_listed(names)}")
