"""Result files that other trainers leave behind, read cell by cell: a cell that does not fit has its place."""

from __future__ import annotations

from collections.abc import Sequence

from evolve.exchange.result_files.evolve_txt import read_evolve_txt
from evolve.exchange.result_files.headed import read_headed
from evolve.exchange.result_files.rows import METRICS, Results, Row
from evolve.exchange.result_files.tune_ndjson import read_tune_ndjson

__all__ = ["METRICS", "Results", "Row", "is_results", "read_results"]

_JSON_LINES = (".ndjson", ".jsonl")


def is_results(name: str) -> bool:
    """Whether a file is one of results, by its name's end; hyp files end in yaml or cfg."""
    return name.lower().endswith((".csv", ".txt", *_JSON_LINES))


def read_results(text: str, *, origin: str, columns: Sequence[str] = ()) -> Results:
    """Content of a result file.

    Args:
        text: Content of the file.
        origin: The file's name, whose end says how to read it.
        columns: Names of the hyperparameters of an evolve.txt, in order, where their number is none of the known.

    Raises:
        DialectError: It does not fit; names line and column.
    """
    if origin.lower().endswith(_JSON_LINES):
        return read_tune_ndjson(text, origin)
    return read_evolve_txt(text, origin, columns) if origin.lower().endswith(".txt") else read_headed(text, origin)
