"""Rungs of a training: numbers of epochs after which trials are compared.

Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning (arXiv:1810.05934), section 3.
"""

from __future__ import annotations

REDUCTION = 3  # one in three of a rung goes on: with 4, the usual choice for long trainings, 10 epochs have two rungs
MOST_RUNGS = 4
# In the first epochs rates warm up, and the order of trials means little: benchmarks/promotion.py.
LEAST_EPOCHS = 3


def rungs_below(epochs: int, *, reduction: int = REDUCTION, least: int = LEAST_EPOCHS) -> tuple[int, ...]:
    """Epochs of each rung below the whole training, the lowest first; none where that is too short.

    Args:
        epochs: Epochs of a whole training, at least 1.
        reduction: Each rung has so many times the epochs of the one below it, rounded down.
        least: Fewest epochs of the lowest rung, where it is not the only one.

    Example: 30 epochs have rungs after 3 and 10, and 6 epochs have one after 2.
    """
    highest, *lower = (epochs // reduction**power for power in range(1, MOST_RUNGS + 1))
    return tuple(sorted({part for part in lower if part >= least} | ({highest} if highest else set())))
