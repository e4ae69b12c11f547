"""Which study a word means: a name, its beginning, or the one trained last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.choosing import Choice, choose_study, exact_study
from tests.synthetic import Plan, add_study, new_engine


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A database in which the first study that was made has the trial that ended last."""
    engine = new_engine(tmp_path / "evolve.db")
    for name, trials in (("lr_sweep-raccoon", 4), ("lr_sweep", 1), ("lr_sweep-data", 0), ("gains-10ep", 2)):
        add_study(engine, Plan(name=name, num_trials=trials, log_steps=False))
    return engine


def test_a_whole_name_is_taken_even_where_others_begin_with_it(engine: Engine) -> None:
    assert choose_study(engine, "lr_sweep") == Choice(name="lr_sweep")


def test_the_only_name_that_begins_so_is_taken_and_said(engine: Engine) -> None:
    assert choose_study(engine, "gains") == Choice(name="gains-10ep", why="the only one that begins with gains")


def test_several_names_that_begin_so_are_listed(engine: Engine) -> None:
    with pytest.raises(StorageError, match=r"begin so: lr_sweep-data, lr_sweep-raccoon; write more .* latest"):
        choose_study(engine, "lr_sweep-")


def test_a_misspelt_name_is_answered_with_the_one_probably_meant(engine: Engine) -> None:
    with pytest.raises(StorageError, match=r"study lr_sweeep: is not in .*; did you mean 'lr_sweep'\? stored: gains"):
        choose_study(engine, "lr_sweeep")
    with pytest.raises(StorageError, match="is not in"):
        choose_study(engine, "")


def test_latest_is_the_study_whose_trial_began_or_ended_last(engine: Engine) -> None:
    assert choose_study(engine, "latest") == Choice(name="lr_sweep-raccoon", why="the one trained last")


def test_latest_is_a_study_just_made_though_it_has_no_trial(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(schema.study).where(schema.study.c.study_id == 3).values(created=2e9))

    assert choose_study(engine, "latest").name == "lr_sweep-data"


def test_a_study_that_is_called_latest_is_meant_by_its_name(engine: Engine) -> None:
    add_study(engine, Plan(name="latest", num_trials=0))

    assert choose_study(engine, "latest") == Choice(name="latest")


def test_signs_that_mean_something_to_sql_stand_for_themselves(engine: Engine) -> None:
    for word in ("%", "lr%", "_"):
        with pytest.raises(StorageError, match="is not in"):
            choose_study(engine, word)


def test_an_empty_database_says_that_there_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no study yet"):
        choose_study(new_engine(tmp_path / "empty.db"), "latest")


def test_where_whole_names_are_needed_a_part_is_refused_with_those_it_may_mean(engine: Engine) -> None:
    assert exact_study(engine, "lr_sweep") == "lr_sweep"
    with pytest.raises(StorageError, match=r"only a whole name is taken here.*; it may mean: gains-10ep$"):
        exact_study(engine, "gains")
    with pytest.raises(StorageError, match="only a whole name is taken"):
        exact_study(engine, "latest")
    with pytest.raises(StorageError, match=r"did you mean 'gains-10ep'"):
        exact_study(engine, "gain_10ep")


def add_confirmation(engine: Engine, *, created: float) -> None:
    """Adds what confirms gains-10ep."""
    add_study(engine, Plan(name="gains-10ep-confirm", num_trials=9, log_steps=False))
    ours = schema.study.c
    with engine.begin() as connection:
        newest = connection.scalar(select(func.max(ours.study_id)))
        config = json.dumps({"ablation": {"confirms": "gains-10ep"}})
        connection.execute(update(schema.study).where(ours.study_id == newest).values(config=config, created=created))


def test_what_confirms_a_study_is_meant_by_its_whole_name_alone(engine: Engine) -> None:
    add_confirmation(engine, created=2e9)

    assert choose_study(engine, "gains").name == "gains-10ep"
    assert choose_study(engine, "latest").name == "gains-10ep"
    assert choose_study(engine, "gains-10ep-confirm").name == "gains-10ep-confirm"


def test_what_confirms_a_removed_study_is_not_taken_for_what_confirms_a_new_one_of_its_name(engine: Engine) -> None:
    add_confirmation(engine, created=1e9)

    with pytest.raises(StorageError, match=r"2 studies in .* begin so: gains-10ep, gains-10ep-confirm"):
        choose_study(engine, "gains")
