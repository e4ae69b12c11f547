"""Whether trainings are as long as they should be: still improving, saturated long before, or overfitting.

Source: Godbole, Dahl, Gilmer, Shallue & Nado 2023, Deep Learning Tuning Playbook, on training curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, isfinite

import numpy as np

from evolve.findings.search import Finding, Search, Tried
from evolve.formatting import counted, score

LEAST_EPOCHS = 8  # a quarter of fewer is a single step of a curve
LONGER = 2
SAME = 0.02  # of the last fitness: less is not told apart
SPARE = 1.25  # of the epochs that were needed
MOST_NEEDED = 0.5  # of the epochs there were
LOSS_GREW, LOSS_FELL = 0.05, 0.05


def still_improving(search: Search) -> Iterator[Finding]:
    """The best trial and most of the best quarter still gained in their last quarter."""
    least = search.study.thresholds.still_rising
    gains = [_late_gain(tried.curve) for tried in _whole(search)]
    rising = sum(gain > least for gain in gains)
    if not gains or gains[0] <= least or 2 * rising <= len(gains):
        return
    epochs = search.study.epochs
    yield Finding(
        key="longer",
        text=(
            f"the best trial added {gains[0]:.0%} of its fitness in the last quarter of {counted(epochs, 'epoch')}, "
            f"and {rising} of the best {len(gains)} more than {least:.0%}: train {LONGER * epochs}"
        ),
        evidence={"gain": gains[0], "rising": rising, "of": len(gains), "epochs": epochs},
        changes={"epochs": LONGER * epochs},
    )


def saturated(search: Search) -> Iterator[Finding]:
    """All of the best quarter were as good as at their end before half of their epochs were over."""
    epochs = search.study.epochs
    needed = [_needed(tried.curve) for tried in _whole(search)]
    if not needed or max(needed) > MOST_NEEDED * epochs:
        return
    enough = ceil(SPARE * max(needed))
    yield Finding(
        key="shorter",
        text=(
            f"after {max(needed)} of {counted(epochs, 'epoch')} all of the best {len(needed)} trials were within "
            f"{SAME:.0%} of their last fitness: {enough} epochs leave time for more trials"
        ),
        evidence={"needed": max(needed), "epochs": epochs, "trials": len(needed)},
        changes={"epochs": enough},
    )


def overfitting(search: Search) -> Iterator[Finding]:
    """The best trial's validation loss rose while its training loss fell, and its fitness gained nothing of it."""
    if not search.trained or not search.losses or len(search.best.curve) < LEAST_EPOCHS:
        return
    curve = search.best.curve
    train_E = np.sum([list(term.train) for term in search.losses.values()], axis=0)
    val_E = np.sum([list(term.val) for term in search.losses.values()], axis=0)
    if len(val_E) != len(curve) or not (np.isfinite(train_E).all() and np.isfinite(val_E).all()):
        return
    turn = int(np.argmin(val_E))
    grew, fell = float(val_E[-1] / val_E[turn] - 1), float(1 - train_E[-1] / train_E[turn])
    gained = curve[-1] - curve[turn]
    is_late = len(curve) - 1 - turn < len(curve) // 4
    if is_late or grew <= LOSS_GREW or fell <= LOSS_FELL or gained > SAME * curve[-1]:
        return
    term = max(search.losses, key=lambda name: search.losses[name].val[-1] - search.losses[name].val[turn])
    yield Finding(
        key="overfitting",
        text=(
            f"the best trial, {search.best.number}, overfits: since epoch {turn} its validation loss rose by "
            f"{grew:.0%}, most in {term}, its training loss fell by {fell:.0%}, and its fitness went from "
            f"{score(curve[turn])} to {score(curve[-1])}: end after {turn + 1} epochs, or augment more"
        ),
        evidence={"epoch": turn, "validation_loss_grew": grew, "training_loss_fell": fell, "gained": gained},
        changes={"epochs": turn + 1},
    )


def _whole(search: Search) -> list[Tried]:
    """The best quarter, where each has a curve of the study's length that ends above the ground."""
    top, floor = search.top, max(search.study.thresholds.floor, 0.0)
    epochs = search.study.epochs
    is_known = all(
        len(tried.curve) == epochs and all(map(isfinite, tried.curve)) and tried.curve[-1] > floor for tried in top
    )
    return list(top) if is_known and epochs >= LEAST_EPOCHS and len(top) > 1 else []


def _late_gain(curve: Sequence[float]) -> float:
    return (curve[-1] - curve[-1 - len(curve) // 4]) / curve[-1]


def _needed(curve: Sequence[float]) -> int:
    """Epochs after which a curve never again was further from its end than is told apart."""
    away = [epoch for epoch, fitness in enumerate(curve) if abs(fitness - curve[-1]) > SAME * curve[-1]]
    return 1 + (away[-1] + 1 if away else 0)
