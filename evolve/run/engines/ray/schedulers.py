"""Schedulers of Tune's by name."""

from __future__ import annotations

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from evolve.errors import unknown_text
from evolve.run.engines.ray.scheduling import EPOCH, FITNESS
from evolve.study.study import SCHEDULERS

# As in `evolve.search.pruners`: with 4, Tune's default, trainings of 10 epochs have two rungs.
_REDUCTION = 3


def make_scheduler(name: str, *, epochs: int) -> TrialScheduler | None:
    """The scheduler, asked with the fitness after each epoch but the last; None for none.

    - asha: not among the best third of those that got as far, asked at epochs 1, 3, 9, ... (Li et al. 2020,
      arXiv:1810.05934). It does not wait: a trial is compared with those that have come by so far.

    Raises:
        ValueError: There is no such scheduler.
    """
    if name not in SCHEDULERS:
        raise ValueError(unknown_text("scheduler", name, SCHEDULERS))
    if name == "none":
        return None
    return AsyncHyperBandScheduler(
        time_attr=EPOCH,
        metric=FITNESS,
        mode="max",
        max_t=epochs,
        grace_period=1,
        reduction_factor=_REDUCTION,
        stop_last_trials=False,
    )
