"""Colours, labels and axes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.data.trial_sets import VERDICTS
from dashboards.figures import theme
from dashboards.figures.series import COLORS
from tests.dashboards.questions.test_pictures import HOSTILE


def luminance(color):
    """Relative luminance of a colour such as #0072B2, after WCAG 2.2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(color, other):
    low, high = sorted([luminance(color), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_lines_stand_out_on_a_dark_card():
    drawn = {theme.ACCENT, *(theme.style(verdict).color for verdict in VERDICTS), *COLORS}

    for color in drawn:
        assert contrast(theme.recoloured(color), theme.CARDS["dark"]) >= 4.5, color
    assert contrast(theme.ACCENT, theme.CARDS["light"]) >= 4.5
    assert len({theme.recoloured(color) for color in drawn}) == len(drawn)


def test_labels_of_axes_have_the_page_behind_them():
    for name, is_dark in (("light", False), ("dark", True)):
        behind = theme.template(is_dark=is_dark)["layout"]["annotationdefaults"]["bgcolor"]

        assert behind.startswith(theme.CARDS[name])


@pytest.mark.parametrize("text", [HOSTILE, "a\n\tb", "x" * 500, "", "%{y}", "&lt;b&gt;"])
def test_a_label_is_one_short_line_without_markup(text):
    found = theme.label(text)

    assert not {"<", ">", "\n", "\t"} & set(found)
    assert "%{" not in found
    assert len(text) <= 80 or found.endswith("…")


def test_no_two_verdicts_look_alike():
    looks = [theme.style(verdict) for verdict in VERDICTS]

    assert len({(look.color, look.symbol) for look in looks}) == len(VERDICTS)
    assert len({look.symbol for look in looks}) == len(VERDICTS)
    assert len({look.color for look in looks[:5]}) == 5


def test_a_verdict_of_a_later_version_is_still_drawn():
    assert theme.style("melted") == theme.style("unjudged")


@pytest.mark.parametrize(("low", "high"), [(1e-6, 10.0), (0.01, 0.03), (0.5, 2e7), (1.0, 1.0)])
def test_logarithmic_axes_have_a_few_round_labels_in_range(low, high):
    axis = theme.log_axis(low, high)
    shown = [tick for tick in axis["tickvals"] if low / 2 <= tick <= high * 2]

    assert 1 <= len(shown) <= 8
    assert len(axis["tickvals"]) == len(axis["ticktext"])


def test_templates_differ_in_ink_and_leave_the_background_to_the_page():
    light, dark = theme.template(is_dark=False)["layout"], theme.template(is_dark=True)["layout"]

    assert light["font"]["color"] != dark["font"]["color"]
    assert light["paper_bgcolor"] == dark["paper_bgcolor"] == "rgba(0,0,0,0)"


@given(low=st.floats(1e-9, 1e9), ratio=st.floats(1, 1e6))
def test_an_axis_of_measurements_has_two_numbers_at_least(low: float, ratio: float) -> None:
    axis = theme.log_axis_over([low, float("nan"), low * ratio])

    if axis:
        assert sum(low <= tick <= low * ratio for tick in axis["tickvals"]) >= 2
    else:
        assert ratio < 5.1, "a wide range is logarithmic"
