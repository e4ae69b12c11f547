"""What share of diverged trials a remedy cures, and how sure that is."""

from __future__ import annotations

LEVEL = 0.95


def exact_interval(count: int, whole: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share that holds at least as often as its level says.

    Args:
        count: How many of them are so, 0 to `whole`.
        whole: How many were looked at; of none nothing is known.
        level: Between 0 and 1.

    Returns:
        Lower and upper end, 0..1.

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
