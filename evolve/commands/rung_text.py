"""How well rungs foretell the end of trials, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from evolve.study import Study
from evolve.study.methods import OF_RUNGS

if TYPE_CHECKING:
    from evolve.analysis import RankCorrelation

# Below it, stopping or pausing by rank costs good trials more often than it saves epochs.
LEAST_CORRELATION = 0.7


def rung_line(engine: Engine, study: Study) -> str:
    """Rank correlations by rung, with a warning where they are too low; empty where too few trials tell.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Study whose trials are looked at; the line is empty where it is no search.
    """
    from evolve.storage.foretelling import foretelling

    if study.ablation is not None or study.noise is not None:
        return ""
    return rung_text(study, foretelling(engine, study))


def rung_text(study: Study, found: Mapping[int, RankCorrelation]) -> str:
    """Rank correlations that are known as a line, with a warning where they are too low; empty where there are none.

    Args:
        study: Search that the correlations are of.
        found: Rank correlation of the fitness at a rung with that at the end, by the number of epochs at the rung.
    """
    if not found:
        return ""
    values = "; ".join(f"after {rung}: {correlation.text}" for rung, correlation in found.items())
    text = f"order of trials against their order after {study.epochs} epochs, rank correlation {values}"
    if study.pruner != "none":
        text += "; of those that trained through alone, which lowers it"
    low = [
        rung
        for rung, correlation in found.items()
        if isfinite(correlation.value) and correlation.value < LEAST_CORRELATION
    ]
    if not low:
        return text
    if study.pruner in OF_RUNGS:
        return f"{text}. Below {LEAST_CORRELATION:g}: {study.pruner} may stop the best; median or none is safer"
    return f"{text}. Below {LEAST_CORRELATION:g}: not for pruners that decide so early, as {' and '.join(OF_RUNGS)} do"
