"""Reading the steps of the trials that are compared, thinned in the database: about 200 buckets each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
from sqlalchemy import Connection, Engine

from dashboards.views import queries, trial_queries
from dashboards.views.compare import STEP_TITLES, Entry
from dashboards.views.frames import read_frame
from dashboards.views.measured import Measured
from dashboards.views.trial_loading import diverged_seed

STEP_BUCKETS = 200


def compared_steps(engine: Engine, entries: Sequence[Entry]) -> Measured:
    """Steps of each entry, with its place as `slot`; nothing is read yet.

    Args:
        engine: The database of all of them.
        entries: Columns of the comparison. Of each, the seed that diverged is read, or the first one.
    """
    return Measured({"steps": partial(_read, engine, entries)})


def _read(engine: Engine, entries: Sequence[Entry]) -> pd.DataFrame:
    with engine.connect() as connection:
        found = [
            _steps(connection, entry, entry.number).assign(slot=slot, number=entry.number)
            for slot, entry in enumerate(entries)
            if entry.number is not None
        ]
    filled = [frame for frame in found if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _steps(connection: Connection, entry: Entry, number: int) -> pd.DataFrame:
    trial_id = int(entry.study.trial(number)["trial_id"])
    last_steps = {row.seed: row.last_step for row in connection.execute(trial_queries.seed_lengths(trial_id))}
    if not last_steps:
        return pd.DataFrame()
    diverged = diverged_seed(connection, trial_id, entry.study.diagnoses.get(number, {}), list(last_steps))
    seed = next(iter(last_steps)) if diverged is None else diverged
    # Each trial has buckets of its own width, so that one that diverged early keeps all its steps.
    width = -(-(last_steps[seed] + 1) // STEP_BUCKETS)
    return read_frame(connection, queries.step_buckets({trial_id: seed}, width, tuple(STEP_TITLES)))
