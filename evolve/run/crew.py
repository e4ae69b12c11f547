"""Who trains the trials of a study: which engine, how many processes on which devices, how many trials side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evolve.errors import StudyError
from evolve.run.machine import available_cores, threads_for
from evolve.study import BLIND_SAMPLERS, PROMOTION
from evolve.study.population import NAME as POPULATION

ENGINES = ("auto", "serial", "processes", "ray")
AUTO = "auto"
# Samplers that look back learn little from trials that have not ended when they ask: so many rounds at least.
LEAST_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person says of where trials are trained.

    Attributes:
        engine: One of `ENGINES`; auto takes a cluster where an address is given, else processes.
        workers: Number of processes that train; None for one a core on the CPU and one for each GPU.
        lanes: Number of trials side by side in each process, or `auto` to measure what is fastest; None for auto on a
            GPU and 1 on a CPU, where only the smallest networks gain by it and numbers would follow from what was
            measured.
        address: Address of a Ray cluster to train on; empty for none.

    Raises:
        StudyError: The engine or the lanes are not known, or the engine does not go with the workers, lanes or address.
    """

    engine: str = AUTO
    workers: int | None = None
    lanes: int | str | None = None
    address: str = ""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise StudyError(f"--engine: {self.engine!r} is not one of {', '.join(ENGINES)}")
        if self.address and self.engine not in (AUTO, "ray"):
            raise StudyError(f"--address: is for --engine ray, not {self.engine}")
        if self.engine == "serial" and (self.workers or 1) > 1:
            raise StudyError(f"--workers {self.workers}: the serial engine trains in one process; use --lanes")
        if (self.engine == "ray" or self.address) and self.lanes not in (None, 1):
            raise StudyError(f"--lanes {self.lanes}: on Ray each process trains one trial; leave it out")
        if isinstance(self.lanes, str) and self.lanes != AUTO:
            raise StudyError(f"--lanes: {self.lanes!r} is not auto or a whole number of at least 1")

    @property
    def has_processes(self) -> bool:
        """Whether worker processes of this machine train, and not this process or a cluster."""
        return self.engine == "processes" or (self.engine == AUTO and not self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who trains: processes on devices, and how many trials side by side in each.

    Attributes:
        engine: Name of the engine: serial, processes or ray.
        devices: torch's name of the device of each process, one for each process that trains.
        threads: Number of threads that torch uses in each process.
        lanes: Number of trials side by side in each process, or auto for a number that has to be measured.
        most_lanes: Most lanes of a process that are of use; more would have nothing to train, or leave the sampler too
            little to learn from.
    """

    engine: str
    devices: tuple[str, ...]
    threads: int
    lanes: int | str
    most_lanes: int

    @property
    def workers(self) -> int:
        """Number of processes that train at once."""
        return len(self.devices)


def crew(asked: Asked, devices: Sequence[str], *, trials: int, sampler: str, pruner: str = "none") -> Crew:
    """Who trains a study.

    Args:
        asked: Engine, processes and lanes, as far as a person has named them.
        devices: torch's names of the devices there are, at least one.
        trials: Number of trials in the study's budget, or of those that may train at once where the sampler asks in
            rounds.
        sampler: Name of the study's sampler.
        pruner: Name of the study's pruner.

    Raises:
        StudyError: The sampler or the pruner does not go with the engine.
    """
    engine = "processes" if asked.has_processes else "ray" if asked.engine == AUTO else asked.engine
    if engine == "ray" and sampler == POPULATION:
        text = "trials of a population go on from each other's checkpoints on the disk of this machine"
        raise StudyError(f"--engine ray: {text}; take --engine processes, or PBT of Ray Tune's own")
    if engine == "ray" and pruner == PROMOTION:
        text = "trials that are promoted go on from their checkpoints on the disk of this machine"
        raise StudyError(f"--engine ray: {text}; take --engine processes, or pruner: asha, which stops them")
    on_gpu = devices[0].startswith("cuda")
    wanted = 1 if engine == "serial" else asked.workers or (len(devices) if on_gpu else available_cores())
    # No more than there are trials: one training alone has all cores to itself.
    workers = min(wanted, trials)
    rounds = 1 if sampler in (*BLIND_SAMPLERS, POPULATION) else LEAST_ROUNDS
    most = max(-(-trials // workers) // rounds, 1)
    lanes: int | str = asked.lanes or (AUTO if on_gpu and engine != "ray" else 1)
    return Crew(
        engine=engine,
        devices=tuple(devices[place % len(devices)] for place in range(workers)),
        threads=threads_for(workers),
        lanes=1 if most == 1 and lanes == AUTO else lanes,
        most_lanes=most,
    )
