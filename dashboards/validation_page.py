"""Weights measured on a split, as one HTML file."""

from __future__ import annotations

from pathlib import Path

from dashboards.document import document, sections_of, write_document
from dashboards.panels import VALIDATION
from evolve.formatting import counted
from evolve.outcome.validated import Validated


def write_validation(done: Validated, path: Path) -> Path:
    """Writes the page of a measurement and returns its path.

    Args:
        done: Weights that were measured, with their scores.
        path: File to write or replace; its folder is made if need be.
    """
    details = (done.weights, f"{done.data}, {done.split}", counted(done.found.images, "image"), f"{done.image_size} px")
    return write_document(path, document("Weights on labelled images", details, sections_of(VALIDATION, done)))
