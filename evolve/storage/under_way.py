"""Who runs a study, as far as one can tell who only looks; and what is said of a trial that has not ended."""

from __future__ import annotations

from sqlalchemy import FromClause

from evolve.storage import schema
from evolve.storage.optuna_tables import STUDIES

# A runner says several times in so long that it lives.
ALIVE_SECONDS = 90
_WORDS = {"RUNNING": "running", "WAITING": "waiting", "PRUNED": "pruned", "FAIL": "failed"}


def is_alive(heartbeat: float | None, now: float) -> bool:
    """Whether a holder has been heard of lately.

    Args:
        heartbeat: When it last said that it lives, in seconds since 1970; None or NaN where none has.
        now: Present time in seconds since 1970.
    """
    return heartbeat is not None and now - heartbeat < ALIVE_SECONDS


def studies_and_holders() -> FromClause:
    """Optuna's studies, each with our row of it and the row of its lease, where there are any."""
    ours, lease = schema.study, schema.lease
    joined = STUDIES.outerjoin(ours, ours.c.study_id == STUDIES.c.study_id)
    return joined.outerjoin(lease, lease.c.study_id == STUDIES.c.study_id)


def is_run(config: str | None, heartbeat: float | None, now: float) -> bool:
    """Whether somebody runs a study, as far as one who only looks can tell.

    Of a study that evolve does not have it is not known: another program may run it, so the answer is yes.

    Args:
        config: The study as evolve stores it; None where evolve does not have it.
        heartbeat: When the holder of its lease last said that it lives, in seconds since 1970; None where nobody has.
        now: Present time in seconds since 1970.
    """
    return config is None or is_alive(heartbeat, now)


def shown_verdict(verdict: str | None, state: str, *, has_runner: bool) -> str:
    """What became of a trial in a word, also of one that has no verdict.

    One that began and has not ended is running as long as somebody runs its study. Else nobody trains it: it was
    interrupted, and goes on where the study does.

    Args:
        verdict: The verdict as it is stored; None where there is none.
        state: Optuna's word for how far the trial is.
        has_runner: Whether somebody runs the study now, as `is_run` says.
    """
    if verdict is not None:
        return verdict
    return "interrupted" if state == "RUNNING" and not has_runner else _WORDS.get(state, "unjudged")
