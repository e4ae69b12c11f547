"""How many processes train at once, and with how many threads each."""

from __future__ import annotations

import pytest

from evolve.run.machine import available_cores
from evolve.run.run import Crew, Run
from evolve.study.file import read_study


def crew(*, trials: int, workers: int | None = None, device: str = "cpu") -> Crew:
    study = read_study("lr_sweep", {"trials": trials}).preview()
    return Run(study=study, storage_url="sqlite://", workers=workers).crew(device)


def test_a_single_training_has_the_threads_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert crew(trials=1) == crew(trials=1, workers=1)
    assert crew(trials=1).threads == available_cores()


def test_cores_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert crew(trials=100).workers == available_cores()
    assert crew(trials=100).threads == 1
    assert crew(trials=100, device="cuda:0").workers == 1


def test_whoever_sets_a_number_of_threads_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    assert crew(trials=1).threads == 1
