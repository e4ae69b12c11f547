"""How long a training in another process is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a worker may keep its driver waiting before it is killed.

    Attributes:
        silent_seconds: Seconds without a heartbeat, as when the worker is stopped or the machine is out of memory.
        stuck_seconds: Seconds without a record of its training, while the worker lives; loading program and data is
            part of that.
        hurried_seconds: Seconds without a record of its training once the time of the study is up.
        times_longest: Multiple of the longest wait for a record so far that is allowed, where that is more.
        trial_seconds: Seconds that one trial may train at one go; None for no limit.
    """

    silent_seconds: float = 60.0
    stuck_seconds: float = 1800.0
    hurried_seconds: float = 60.0
    times_longest: float = 20.0
    trial_seconds: float | None = None

    def overdue_reason(self, *, without_record: float | None, trained: float, longest: float, is_hurried: bool) -> str:
        """Why a training that lives is not waited for any longer; empty where it is.

        Args:
            without_record: Seconds since the training's last record; None where it has none to give, as while it is
                decided on.
            trained: Seconds since the training was given to its worker.
            longest: Longest wait for a record so far, in seconds.
            is_hurried: Whether the time of the study is up.
        """
        most = max(self.hurried_seconds if is_hurried else self.stuck_seconds, self.times_longest * longest)
        if without_record is not None and without_record > most:
            return f"worker process got no further for {without_record:.0f} s and was killed"
        if self.trial_seconds is not None and trained > self.trial_seconds:
            return f"training took longer than budget.trial_seconds, {self.trial_seconds:g} s, and was killed"
        return ""
