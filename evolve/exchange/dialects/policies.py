"""darknet's policies of the learning rate, both ways (pjreddie/darknet src/network.c, get_current_rate).

steps, poly to 0, exp and constant are ours. Its numbers are of updates, ours shares of the training, so a place of ours
comes back as that of the update it falls on.
"""

from __future__ import annotations

from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction
from math import ceil, log, prod

from detector.families.updates import STEPS_AT
from evolve.exchange.dialects.cfg import numbers_of
from evolve.exchange.dialects.context import Context
from evolve.exchange.dialects.exact import as_fraction, plain, shortest
from evolve.exchange.dialects.table import Case, Key

_PRECISE = DecimalContext(prec=60)
_POLICIES = {"steps": "steps", "exponential": "exp", "constant": "constant", "linear": "poly", "poly": "poly"}
POLICIES = ("steps", "exp", "poly", "constant")


def images_an_update(context: Context) -> int:
    """Images of an update, which is what `batch` is there."""
    return context.batch_size * context.accumulation


def updates(context: Context) -> int:
    """Updates of the whole training, at least one."""
    return round(Fraction(context.epochs * context.images, images_an_update(context))) or 1


# Ours -> theirs


def has_policy(case: Case) -> bool:
    """Whether a policy of darknet is our schedule: poly falls to 0, steps in steps, exp evenly, constant not at all."""
    schedule, lrf = case.values.schedule, case.values.lrf
    return lrf == 1 or schedule in ("steps", "constant", "exponential") or (schedule in ("linear", "poly") and lrf == 0)


def powers(case: Case) -> tuple[float | None, float | None]:
    """What the schedule and what the warm-up want `power` to be; None where they do not read it."""
    values = case.values
    of_schedule = {"linear": 1.0, "poly": values.poly_power}.get(values.schedule) if values.lrf < 1 else None
    is_warming = values.warmup_epochs > 0 or values.warmup_steps > 0
    return of_schedule, (4.0 if values.warmup == "quartic" else 1.0) if is_warming else None


def write_power(case: Case) -> str:
    """The one key that the burn-in and the policy poly share."""
    of_schedule, of_warmup = powers(case)
    power = of_warmup if of_schedule is None else of_schedule
    if power is None:
        return "1"
    return f"{power:.0f}" if power.is_integer() else plain(power)


def write_policy(_key: Key, case: Case) -> str:
    """The policy's name; constant where nothing falls."""
    return _policy(case)


def _policy(case: Case) -> str:
    return "constant" if case.values.lrf == 1 else _POLICIES.get(case.values.schedule, "steps")


def _drops(case: Case) -> list[tuple[int, str]]:
    """Update and factor of each drop; none where the policy has none."""
    values, last = case.values, updates(case.context) - 1
    if _policy(case) != "steps":
        return []
    first, second = (ceil(as_fraction(at) * last) for at in (values.step_at_1, values.step_at_2))
    if values.step_share in (0, 1):
        return [(first if values.step_share else second, plain(values.lrf))]
    factors = _factors(values.lrf, values.step_share)
    return sorted(zip((first, second), factors, strict=True), key=lambda drop: drop[0])


def _factors(lrf: float, share: float) -> tuple[str, str]:
    """Two decimals whose product reads back as lrf, the first of them lrf ^ share."""
    if lrf == 0:
        return "0.0", "0.0"
    if share == 0.5:
        root = Fraction(_PRECISE.sqrt(Decimal(repr(lrf))))
        both = shortest(root, lambda read: float(read * read) == lrf)
        return both, both
    first = plain(lrf**share)
    return first, shortest(as_fraction(lrf) / Fraction(first), lambda read: float(read * Fraction(first)) == lrf)


def write_steps(_key: Key, case: Case) -> str:
    """Updates at which the rate drops; empty where the policy has none."""
    return ",".join(str(update) for update, _ in _drops(case))


def write_scales(_key: Key, case: Case) -> str:
    """Factors of the drops."""
    return ",".join(factor for _, factor in _drops(case))


def write_gamma(_key: Key, case: Case) -> str:
    """Factor of each update under exp, so that the last one has lrf; empty under other policies."""
    lrf, last = case.values.lrf, updates(case.context) - 1
    if _policy(case) != "exp":
        return ""
    if lrf == 0 or last == 0:
        return plain(lrf)
    exponent = _PRECISE.divide(_PRECISE.ln(Decimal(repr(lrf))), Decimal(last))
    return shortest(Fraction(_PRECISE.exp(exponent)), lambda read: _power(read, last) == lrf)


def _power(base: Fraction, exponent: int) -> float:
    if base == 0 or exponent < 1:
        return float(base) if exponent else 1.0
    decimal = _PRECISE.divide(Decimal(base.numerator), Decimal(base.denominator))
    return float(_PRECISE.power(decimal, exponent))


# Theirs -> ours


def read_policy(_key: Key, case: Case) -> str:
    """Our schedule; poly of power 1 is linear."""
    return _schedule(case)


def _schedule(case: Case) -> str:
    ours = {"steps": "steps", "exp": "exponential", "poly": "poly"}.get(case.text("policy"), "linear")
    return "linear" if ours == "poly" and case.number("power") == 1 else ours


def read_lrf(_key: Key, case: Case) -> float:
    """What is left of the rate at the end."""
    policy = case.text("policy")
    if policy == "steps":
        return float(prod(numbers_of(case.source, "scales"), start=Fraction(1)))
    if policy == "exp":
        return _power(case.number("gamma"), max(int(case.number("max_batches")) - 1, 0))
    return 1.0 if policy == "constant" else 0.0


def read_poly_power(case: Case) -> float:
    """The power of poly; ours by default where it is another policy."""
    return float(case.number("power")) if _schedule(case) == "poly" else case.values.poly_power


def read_step(case: Case, number: int) -> float:
    """Where one of two drops is, as a share of the training."""
    usual, total = STEPS_AT[number], case.number("max_batches")
    found = _told_drops(case)
    if found is None or number >= len(found) or total <= 0:
        return usual
    step = found[number][0]
    # Shares that are the same update stay those that people know.
    return (
        usual
        if ceil(as_fraction(usual) * (total - 1)) == step
        else float(min(max(step / total, Fraction(0)), Fraction(1)))
    )


def read_share(case: Case) -> float:
    """The first drop's share of both."""
    found = _told_drops(case)
    if found is None or len(found) == 1:
        return 0.5 if found is None else 1.0
    first, second = (factor for _, factor in found)
    if first == second or not first:
        return 0.5
    return log(first) / (log(first) + log(second))


def _told_drops(case: Case) -> list[tuple[Fraction, Fraction]] | None:
    """Update and factor of one or two drops; None where there are others than ours can say."""
    if case.text("policy") != "steps":
        return None
    found = [*zip(*(numbers_of(case.source, name) for name in ("steps", "scales")), strict=False)]
    factors = [factor for _, factor in found]
    if len(found) not in (1, 2) or not all(0 <= factor <= 1 for factor in factors):
        return None
    return None if factors[0] and not factors[-1] and len(found) == 2 else found


def falls_otherwise(case: Case) -> bool:
    """Whether a policy of steps is none of ours: more than two drops, one upwards, or one to 0 after another."""
    return case.text("policy") == "steps" and _told_drops(case) is None
