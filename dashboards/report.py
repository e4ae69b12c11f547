"""A study as one HTML file."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from sqlalchemy import Engine

from dashboards.data.study import StudyView
from dashboards.data.study_loading import load
from dashboards.document import document, sections_of, write_document
from dashboards.panels import STUDY
from evolve.formatting import moment


def write_report(engine: Engine, study_name: str, path: Path) -> Path:
    """Writes the report of a study and returns its path; a reader never sees half a file.

    Args:
        engine: A database with Optuna's tables and ours.
        study_name: Name of the study in Optuna's tables.
        path: File to write or replace; its folder is made if need be.

    Raises:
        StudyNotFoundError: There is no such study.
    """
    return write_document(path, render(load(engine, study_name)))


def render(view: StudyView) -> str:
    """The report as HTML."""
    facts = view.facts
    last = max(
        (when for when in (*view.trials["started"], *view.trials["ended"]) if isfinite(when)), default=facts.created
    )
    details = (facts.text("model"), facts.text("data"), f"as of {moment(last)}" if isfinite(last) else "")
    return document(facts.name, details, sections_of(STUDY, view))
