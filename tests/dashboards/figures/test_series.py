"""Facts about curves that share an axis: what a logarithmic axis leaves out, and what is downloaded of it."""

from __future__ import annotations

from math import isnan, nan

import numpy as np

from dashboards.figures.brush import figure_rows
from dashboards.figures.curves import Curve
from dashboards.figures.series import Series, arm_style, series


def rates(*values: float) -> Series:
    """Learning rates of the first steps, on a logarithmic axis where they span one."""
    y = np.asarray(values, dtype=np.float64)
    curve = Curve(number=0, verdict="converged", x=np.arange(len(y), dtype=np.float64), y=y)
    return Series(title="learning rate", curves=(("weights", curve),), is_log=True)


def test_a_zero_that_a_logarithmic_axis_leaves_out_is_downloaded_as_a_zero() -> None:
    (figure,) = series((rates(0.0, 0.001, 0.1, nan, 1.0),))

    rows = [row for row in figure_rows(figure) if row[0] == "weights"]
    assert isnan(figure.data[0].y[0])
    assert [float(str(row[3])) for row in rows[:3]] == [0.0, np.float32(0.001), np.float32(0.1)]
    assert isnan(float(str(rows[3][3])))


def test_an_axis_that_became_linear_has_a_place_for_zero() -> None:
    (figure,) = series((rates(0.0, 1.1, 1.2),))

    assert figure.layout.yaxis.type != "log"
    assert figure.data[0].y[0] == 0


def test_arms_differ_by_dashes_and_by_symbols_not_by_colour_alone() -> None:
    styles = [arm_style(slot) for slot in range(31)]

    first = styles[:5]
    assert len({style.dash for style in first}) == len({style.symbol for style in first}) == 5
    assert len({(style.dash, style.symbol) for style in styles}) == len(styles)
    assert "x" not in {style.symbol for style in styles}  # which marks a divergence
