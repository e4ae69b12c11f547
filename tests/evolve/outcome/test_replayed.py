"""What a replay shows: the first thing that is no number, and whether it went as before."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

from detector.observations import ModuleTraced, StepTraced
from evolve.outcome.replayed import Broken, compared, first_broken
from tests.evolve.outcome.test_forensics import SOUND, step

SOUND_MODULES = tuple(
    ModuleTraced(name=name, output_norm=1.0, gradient_norm=1.0, weight_gradient_norm=None)
    for name in ("blocks.0.conv", "blocks.0", "blocks.2.conv", "blocks.2")
)


def traced(number: int, *modules: ModuleTraced) -> StepTraced:
    return StepTraced(lane=0, step=number, modules=modules, places=(), pictures=(), labels=())


def changed(place: int, **values: float) -> tuple[ModuleTraced, ...]:
    return (*SOUND_MODULES[:place], replace(SOUND_MODULES[place], **values), *SOUND_MODULES[place + 1 :])


def test_the_first_output_that_is_no_number_is_named_before_any_gradient() -> None:
    modules = tuple(replace(each, gradient_norm=nan) for each in changed(2, output_norm=inf))

    found = first_broken([traced(4, *SOUND_MODULES), traced(5, *modules)], {5: step(5, loss=nan)})

    assert found == Broken(step=5, module="blocks.2.conv", what="output")
    assert found.text == "the output of blocks.2.conv at step 5"


def test_where_all_outputs_are_numbers_the_loss_is_named_with_its_terms() -> None:
    broken = step(5, loss=nan, terms=replace(SOUND, box=(nan, 0.1), cls=(0.0, inf)))

    assert first_broken([traced(5, *SOUND_MODULES)], {5: broken}) == Broken(
        step=5, module="loss", what="box and cls term"
    )


def test_where_the_loss_is_a_number_the_last_module_with_a_broken_gradient_is_the_first_to_break() -> None:
    modules = tuple(replace(each, gradient_norm=nan if place < 3 else 1.0) for place, each in enumerate(SOUND_MODULES))

    assert first_broken([traced(5, *modules)], {5: step(5)}) == Broken(step=5, module="blocks.2.conv", what="gradient")


def test_where_all_are_numbers_nothing_broke() -> None:
    assert first_broken([traced(5, *SOUND_MODULES)], {5: step(5)}) is None


def test_steps_that_are_equal_to_the_last_bit_are_said_to_be_and_times_do_not_count() -> None:
    steps = [step(0), step(1, seconds=9.0), step(2, loss=nan)]

    found = compared(steps, {0: step(0), 1: step(1), 2: step(2, loss=nan)})

    assert (found.steps, found.differs_at, found.largest) == (3, None, 0.0)
    assert found.text == "all 3 steps are those of the training, bit for bit"


def test_the_first_step_that_differs_is_named_with_how_much() -> None:
    stored = {number: step(number) for number in range(3)}

    found = compared([step(0), step(1, loss=1.2 * (1 + 1e-6)), step(2, grad_norm=4.0)], stored)

    assert found.differs_at == 1
    assert found.largest == 0.5
    assert "differs from step 1 on, by up to 0.5" in found.text
    assert compared([step(0, loss=inf)], stored).largest == inf
