"""What share of diverged trials a remedy cures, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evolve.outcome.verdict import TRAINED_THROUGH, Verdict

LEVEL = 0.95
SUFFIX = "-cured"  # of the name of the study in which remedies are tried
_KEY = "trial."  # with the number of a diverged trial, of the decision that says what is tried for it


def decision_key(number: int) -> str:
    """Key under which the study of cures says what it tries for a diverged trial."""
    return f"{_KEY}{number}"


def cure_numbers(decisions: Mapping[str, object]) -> dict[int, int]:
    """Numbers of the trials of a study of cures, by the numbers of the diverged trials that they are to cure.

    Args:
        decisions: Decisions of the study of cures by key, in their order; others than those of `decision_key` are
            passed over.
    """
    numbers = [key.removeprefix(_KEY) for key in decisions if key.startswith(_KEY)]
    return {int(number): place for place, number in enumerate(number for number in numbers if number.isdecimal())}


def is_cured(verdict: str) -> bool | None:
    """Whether a remedy cured, by the verdict of the trial that tried it; None where it has not trained to an end."""
    if verdict in TRAINED_THROUGH:
        return True
    return False if verdict == Verdict.DIVERGED else None


def cured_share(verdicts: Iterable[str]) -> tuple[int, int]:
    """How many trials were cured, and how many were trained to an end."""
    known = [cured for cured in map(is_cured, verdicts) if cured is not None]
    return sum(known), len(known)


def exact_interval(count: int, whole: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share that holds at least as often as its level says.

    Args:
        count: Number of cases that are so, 0 to `whole`.
        whole: Number of cases that were looked at; where it is 0, the interval is the whole range.
        level: Probability with which the interval holds the share at least, between 0 and 1.

    Returns:
        Lower and upper end of the interval, 0..1.

    Raises:
        ValueError: The count is not within 0..whole.

    Source: Clopper & Pearson 1934.
    """
    if not 0 <= count <= whole:
        raise ValueError(f"count: {count} is outside 0..{whole}")
    if whole == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(count, whole).proportion_ci(confidence_level=level, method="exact")
    return float(interval.low), float(interval.high)


def share_text(count: int, whole: int) -> str:
    """A share with its interval, such as `9 of 10 (90 %, 95 % interval 55 to 100 %)`."""
    if whole == 0:
        return "0 of 0"
    low, high = exact_interval(count, whole)
    return f"{count} of {whole} ({count / whole:.0%}, {LEVEL:.0%} interval {low:.0%} to {high:.0%})"
