"""Rows of a statement as a frame, and what its columns hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, Float, Integer, Select

from evolve.storage import schema
from evolve.storage.under_way import shown_verdict


def read_frame(connection: Connection, statement: Select[Any]) -> pd.DataFrame:
    """The rows of a statement, one column for each of its own, with numbers where those are numbers."""
    # Column by column, since pandas takes rows many times more slowly; types are the statement's, also without rows.
    rows = connection.execute(statement).all()
    columns = {}
    for index, selected in enumerate(statement.selected_columns):
        # Not zip(*rows): an iterator for each row sets the garbage collector to work on everything that is loaded.
        values = [row[index] for row in rows]
        columns[selected.key] = np.array(values, dtype=_dtype(selected, values))
    return pd.DataFrame(columns)


def _dtype(selected: ColumnElement[Any], values: Sequence[Any]) -> str:
    if isinstance(selected.type, Integer):
        return "float64" if None in values else "int64"
    return "float64" if isinstance(selected.type, Float | schema.Real) else "object"


def shown_verdicts(trials: pd.DataFrame, *, has_runner: bool) -> list[str]:
    """What became of each of some trials in a word, also where it has no verdict.

    Args:
        trials: Rows of `queries.trial_rows`.
        has_runner: Whether somebody runs their study now.
    """
    return [
        shown_verdict(None if verdict != verdict else verdict, state, has_runner=has_runner)  # NaN is not itself
        for verdict, state in zip(trials["verdict"], trials["state"], strict=True)
    ]


def read_json(text: str | None) -> dict[str, Any]:
    """The JSON object of a column; empty where there is none, a note where it cannot be read."""
    if not text:
        return {}
    try:
        content = json.loads(text)
    except ValueError:
        return {"unreadable": text[:200]}
    return content if isinstance(content, dict) else {"value": content}
