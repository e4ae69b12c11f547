"""Decimal numbers that survive a conversion: ours -> another trainer's unit -> ours, to the last bit.

A factor such as 2/3 has no float. So conversions are done in fractions, a value is written with as many decimals as it
takes to get the very same float back, and files are read as the decimals they show.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

# What a float always holds, and what is asked for at most.
_FEWEST_DIGITS, _MOST_DIGITS = 15, 60
_ALL_DIGITS = Context(prec=_MOST_DIGITS)


def as_fraction(value: float) -> Fraction:
    """The number that people see when a float is printed."""
    return Fraction(repr(float(value)))


def scaled(value: float, factor: Fraction) -> str:
    """Shortest decimal text of value * factor from which division by the factor gives back the same float.

    Args:
        value: A finite number.
        factor: A factor above 0.
    """
    # From 2^53 on the decimal that people see may lie just between two floats.
    exact = as_fraction(value) if abs(value) < 2**53 else Fraction(value)
    return shortest(exact * factor, lambda read: float(read / factor) == value)


def plain(value: float) -> str:
    """Decimal text of a float, in a form that YAML 1.1 and darknet both read as a number."""
    return _text(Decimal(repr(float(value))))


def shortest(target: Fraction, is_exact: Callable[[Fraction], bool]) -> str:
    """Decimal text near a number, of 15 digits or as many more as it takes to pass a test, without trailing zeros.

    Args:
        target: Number to write.
        is_exact: Whether the number that was written reads back as it should.
    """
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        context = Context(prec=digits, Emin=-9999, Emax=9999)
        written = context.divide(Decimal(target.numerator), Decimal(target.denominator))
        if is_exact(Fraction(written)):
            return _text(written)
    raise AssertionError(f"no decimal with {_MOST_DIGITS} digits stands for {target}")


def _text(number: Decimal) -> str:
    number = number.normalize(_ALL_DIGITS) if number else Decimal(0)
    if number and not -5 <= number.adjusted() <= 15:
        mantissa, _, exponent = f"{number:e}".partition("e")
        # PyYAML reads 1e-7 as text: a float needs its point and the exponent its sign.
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+03d}"
    text = f"{number:f}"
    return text if "." in text else f"{text}.0"
