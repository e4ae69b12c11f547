"""The map of norms by module and step: what is broken is marked, what is 0 or never was is not drawn as a number."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from dashboards.figures.module_map import module_map
from detector.observations import ModuleTraced, StepTraced


def traced(step: int, *norms: tuple[str, float, float | None]) -> StepTraced:
    modules = tuple(
        ModuleTraced(name=name, output_norm=output, gradient_norm=gradient, weight_gradient_norm=None)
        for name, output, gradient in norms
    )
    return StepTraced(lane=0, step=step, modules=modules, places=(), pictures=(), labels=())


STEPS = (
    traced(7, ("blocks.0", 100.0, 0.0), ("blocks.2", 1.0, 10.0)),
    traced(8, ("blocks.0", 1e5, None), ("blocks.2", inf, nan)),
)


def test_a_norm_is_shown_by_its_power_of_ten_with_the_first_module_at_the_top() -> None:
    figure = module_map(STEPS, "output_norm", title="norm of the output")

    cells = figure.data[0]
    assert list(cells.x) == [7, 8] and list(cells.y) == ["blocks.0", "blocks.2"]
    assert [row[0] for row in cells.z] == [2.0, 0.0] and cells.z[0][1] == pytest.approx(5)
    assert figure.layout.yaxis.autorange == "reversed"


def test_what_is_no_finite_number_has_a_cross_and_what_is_zero_or_missing_has_none() -> None:
    output, gradient = (module_map(STEPS, f"{norm}_norm", title="norm") for norm in ("output", "gradient"))

    assert [*zip(output.data[1].x, output.data[1].y, strict=True)] == [(8, "blocks.2")]
    assert [*zip(gradient.data[1].x, gradient.data[1].y, strict=True)] == [(8, "blocks.2")]
    assert all(isnan(cell) for cell in gradient.data[0].z[0])
    assert list(gradient.data[0].customdata[0]) == ["0", "none"]


def test_modules_without_such_a_norm_are_left_out() -> None:
    assert list(module_map(STEPS, "weight_gradient_norm", title="norm").data[0].y) == []


def test_a_step_that_ended_early_has_fewer_modules_than_the_last() -> None:
    figure = module_map((traced(6, ("blocks.0", 3.0, None)), *STEPS), "output_norm", title="norm of the output")

    assert isnan(figure.data[0].z[1][0]) and list(figure.data[0].customdata[1]) == ["none", "1", "inf"]
