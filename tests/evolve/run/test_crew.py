"""How many processes train at once, and with how many threads each."""

from __future__ import annotations

import pytest
import torch

from evolve.errors import StudyError
from evolve.run.crew import Asked, Crew
from evolve.run.crew import crew as crew_of
from evolve.run.detection import devices_of
from evolve.run.engines.crash import is_out_of_memory
from evolve.run.events import LanesChosen
from evolve.run.machine import available_cores
from evolve.run.measuring import choose_lanes, climb
from evolve.study.file import read_study


def crew(*, trials: int, devices: tuple[str, ...] = ("cpu",), sampler: str = "random", **asked: object) -> Crew:
    return crew_of(Asked(**asked), devices, trials=trials, sampler=sampler)  # type: ignore[arg-type]


def test_a_single_training_has_the_threads_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert crew(trials=1) == crew(trials=1, workers=1)
    assert crew(trials=1).threads == available_cores()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(), True),
        (Asked(engine="processes"), True),
        (Asked(engine="serial"), False),
        (Asked(engine="ray"), False),
        (Asked(address="auto"), False),
    ],
    ids=str,
)
def test_only_where_worker_processes_train_is_their_parent_started(asked: Asked, expected: bool) -> None:
    assert asked.has_processes is expected
    assert (crew_of(asked, ["cpu"], trials=2, sampler="random").engine == "processes") is expected


def test_cores_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert crew(trials=100).workers == available_cores()
    assert crew(trials=100).threads == 1
    assert crew(trials=100, devices=("cuda:0",)).workers == 1


def test_whoever_sets_a_number_of_threads_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    assert crew(trials=1).threads == 1


def test_each_gpu_has_a_worker_and_more_workers_share_them() -> None:
    two = ("cuda:0", "cuda:1")

    assert crew(trials=100, devices=two).devices == two
    assert crew(trials=100, devices=two, workers=3).devices == ("cuda:0", "cuda:1", "cuda:0")
    assert crew(trials=1, devices=two).devices == ("cuda:0",)


def test_cuda_stands_for_every_gpu_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)

    assert devices_of("cuda") == ["cuda:0", "cuda:1"]
    assert devices_of("cuda:1") == ["cuda:1"]
    assert devices_of("cpu") == ["cpu"]


def test_what_torch_says_when_memory_runs_out_is_known() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"))
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**54, dtype=torch.float64)
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(RuntimeError("a shape is wrong"))


def test_lanes_are_measured_on_a_gpu_and_one_on_a_cpu_unless_asked_for() -> None:
    assert crew(trials=100, devices=("cuda:0",)).lanes == "auto"
    assert crew(trials=100).lanes == 1
    assert crew(trials=100, lanes="auto").lanes == "auto"
    assert crew(trials=100, lanes=3).lanes == 3


def test_lanes_leave_the_sampler_rounds_to_learn_from() -> None:
    assert crew(trials=16, workers=2, sampler="random").most_lanes == 8
    assert crew(trials=16, workers=2, sampler="tpe").most_lanes == 2
    assert crew(trials=4, workers=2, sampler="tpe", lanes="auto").lanes == 1


def test_an_address_means_ray_and_nothing_else() -> None:
    assert crew(trials=4, address="auto").engine == "ray"
    with pytest.raises(StudyError, match="--address: is for --engine ray, not serial"):
        Asked(engine="serial", address="auto")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"engine": "threads"}, "--engine: 'threads' is not one of auto, serial, processes, ray"),
        ({"engine": "serial", "workers": 2}, "--workers 2: the serial engine trains in one process; use --lanes"),
        ({"lanes": "many"}, "--lanes: 'many' is not auto or a whole number of at least 1"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(asked: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError) as error:
        Asked(**asked)  # type: ignore[arg-type]

    assert str(error.value) == message


def rates(by_lanes: dict[int, float]) -> tuple[list[tuple[int, int]], object]:
    """What was measured, and what measures it; a number of lanes that is missing does not fit into memory."""
    tried: list[tuple[int, int]] = []

    def rate_pair(few: int, many: int) -> tuple[float, float]:
        tried.append((few, many))
        if many not in by_lanes:
            raise MemoryError
        return by_lanes[few], by_lanes[many]

    return tried, rate_pair


@pytest.mark.parametrize(
    ("by_lanes", "most", "lanes", "reason"),
    [
        ({1: 100, 2: 160, 4: 200, 8: 204}, 64, 4, "8 bring +2%"),
        ({1: 100, 2: 90}, 64, 1, "2 bring -10%"),
        ({1: 100, 2: 107, 4: 108}, 64, 1, "4 bring +1%"),  # 7 % in all is not worth it
        ({1: 100, 2: 160, 4: 300}, 4, 4, "more than 4 have nothing to train or nothing to learn from"),
        ({1: 100, 2: 160, 4: 300}, 64, 4, "8 do not fit into memory"),
    ],
)
def test_lanes_are_doubled_as_long_as_that_pays(by_lanes: dict[int, float], most: int, lanes: int, reason: str) -> None:
    tried, rate_pair = rates(by_lanes)

    chosen = climb(rate_pair, most)  # type: ignore[arg-type]

    assert (chosen.lanes, chosen.reason) == (lanes, reason)
    assert chosen.rates == pytest.approx(by_lanes)
    assert tried[0] == (1, 2)


def test_lanes_are_measured_with_the_network_and_the_data_of_the_study() -> None:
    study = read_study("lr_sweep", {"trials": 16}).preview()

    chosen = choose_lanes(study, "cpu", threads=1, most=2)

    assert isinstance(chosen, LanesChosen)
    assert set(chosen.rates) == {1, 2} and min(chosen.rates.values()) > 10
    assert chosen.text.startswith(f"lanes {chosen.lanes}: ") and "images/s by number of lanes: 1: " in chosen.text
