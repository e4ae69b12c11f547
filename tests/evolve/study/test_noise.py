"""Facts about studies of noise: what is crossed, and what may not stand beside it."""

from __future__ import annotations

from typing import Any

import pytest

from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.noise import levels_of


def study(noise: dict[str, Any], **changes: Any) -> Study:
    return Study.from_mapping({"name": "s", "noise": noise} | changes, origin="s.yaml")


def test_every_level_of_a_source_meets_every_level_of_the_others() -> None:
    found = study({})
    assert found.noise is not None

    met = {found.noise.levels_of(number, seed) for number in range(found.budget.trials) for seed in found.seeds}

    assert len(met) == 27 and {level for levels in met for level in levels} == {0, 1, 2}


def test_a_source_that_is_not_varied_keeps_seed_0_and_the_last_is_the_trials_number() -> None:
    found = study({"sources": ["order", "initialisation"], "levels": 2})
    assert found.noise is not None

    met = [found.noise.levels_of(number, seed) for number in range(2) for seed in found.seeds]

    assert met == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


@pytest.mark.parametrize("sources", [["split", "order"], ["split", "order", "initialisation"]])
def test_all_seeds_of_a_trial_have_one_split_wherever_the_file_names_it(sources: list[str]) -> None:
    found = study({"sources": sources, "levels": 2})
    assert found.noise is not None

    splits = [{found.noise.levels_of(number, seed).split for seed in found.seeds} for number in range(2)]

    assert splits == [{0}, {1}] and len(found.noise.sources) == len(sources)


def test_other_studies_have_one_seed_for_initialisation_and_order_and_the_split_of_always() -> None:
    assert levels_of(None, 5, 7) == (7, 7, 0)


def test_a_stored_study_of_noise_is_the_one_that_was_written() -> None:
    written = study({"levels": 4}, budget={"seconds": 60})

    assert Study.from_json(written.to_json()) == written
    assert (written.budget.trials, len(written.seeds), dict(written.space)) == (4, 16, {})


@pytest.mark.parametrize(
    ("noise", "changes", "said"),
    [
        ({"sources": ["split"]}, {}, "noise.sources: ['split'] are not two or three different ones"),
        ({"sources": ["order", "luck"]}, {}, "noise.sources.1: 'luck' is not one of 'initialisation', 'order' or"),
        ({"levels": 1}, {}, "noise.levels: 1 is not at least 2"),
        ({"level": 3}, {}, "noise: unknown key 'level'"),
        ({}, {"space": {"lr0": {"low": 0.1, "high": 1}}}, "is given beside noise, which decides it; leave it out"),
        ({}, {"seeds": [0, 1]}, "seeds: [0, 1] is given beside noise"),
        ({}, {"budget": {"trials": 9}}, "budget.trials: 9 is not the 3 that noise needs"),
        ({}, {"budget": 5}, "budget: 5 is not a mapping"),
        ({}, {"ablation": {"one_factor": {"lr0": [0.1]}}}, "ablation: is given beside noise"),
    ],
)
def test_what_cannot_be_crossed_is_refused_with_its_place(
    noise: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(StudyError) as raised:
        study(noise, **changes)

    assert said in str(raised.value)
