"""Joining a Ray cluster or starting one on this machine, and what fits there."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import ray

from evolve.errors import EvolveError
from evolve.run.engines.ray.folders import drop, own_folder
from evolve.run.machine import available_cores

# Records are small and gone at once; Ray would take a third of the memory for its object store.
_OBJECT_STORE_BYTES = 256 * 2**20
# Of processes that Tune, whose processes have an environment of their own, would not use.
_NOTHING_BEFOREHAND = {"prestart_worker_first_driver": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Cores and GPUs that one trial takes.

    Attributes:
        cpus: Processor cores, above 0; parts of one are allowed.
        gpus: GPUs, at least 0; parts of one are allowed.

    Raises:
        ValueError: A number is out of its range.
    """

    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if not self.cpus > 0:
            raise ValueError(f"cpus of a trial: {self.cpus:g} is not above 0")
        if not self.gpus >= 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise ValueError(f"gpus of a trial: {self.gpus:g} is not a whole number or a part of one")

    def to_mapping(self) -> dict[str, float]:
        """The resources as Tune takes them, by Ray's names."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray that is joined, or our own, which ends with us.

    Attributes:
        own_folder: Folder of the Ray that was started here; None where one was joined.
        is_left_alone: Whether this process had joined before and stays joined.
    """

    own_folder: Path | None = None
    is_left_alone: bool = False

    @classmethod
    def joined(cls, address: str, resources: Resources, workers: int | None) -> Cluster:
        """Joins the cluster at an address; without one, the Ray that this process has joined already, or a new one.

        Raises:
            EvolveError: There is no cluster at the address.
        """
        _keep_stdout_clean()
        if not address and ray.is_initialized():
            return cls(is_left_alone=True)
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        with _signals_kept():
            if address:
                if address.startswith("ray://"):
                    text = "goes through a proxy; run on a node of the cluster, and give the address of its head"
                    raise EvolveError(f"--address {address}: {text}")
                try:
                    ray.init(address=address, ignore_reinit_error=True, **quiet | {"include_dashboard": None})
                except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                    reason = " ".join(str(error).split())
                    raise EvolveError(f"--address {address}: no Ray cluster can be joined there: {reason}") from error
                return cls()
            folder = own_folder()
            cores = max(available_cores(), ceil((workers or 1) * resources.cpus))
            quiet |= {"num_cpus": cores, "object_store_memory": _OBJECT_STORE_BYTES, "_temp_dir": str(folder)}
            quiet["_system_config"] = _NOTHING_BEFOREHAND
            ray.init(address="local", **quiet)
        return cls(own_folder=folder)

    def leave(self) -> None:
        """Ends our own Ray; one that was joined goes on without this process."""
        if not self.is_left_alone:
            ray.shutdown()
        if self.own_folder is not None:
            drop(self.own_folder)


def fitting(resources: Resources) -> int:
    """Number of trials that the nodes of the joined cluster have room for at once, counting what others use as free.

    Raises:
        EvolveError: No node has room for a trial.
    """
    nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
    found = sum(_fitting(node, resources) for node in nodes)
    if not found:
        has = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise EvolveError(
            f"a trial wants {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, and no node of the Ray cluster has "
            f"them; nodes: {has or 'none'}"
        )
    return found


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]


def _fitting(node: dict[str, float], resources: Resources) -> int:
    # Ray counts in ten-thousandths; without rounding, 0.3 would fit into 0.9 but twice.
    return min(int(node.get(kind, 0.0) / wanted + 1e-6) for kind, wanted in resources.to_mapping().items())


def _keep_stdout_clean() -> None:
    """Ray prints on stdout what becomes of its processes; that is for results, and we say ourselves what is lost."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    with suppress(ImportError):  # where another version of Ray keeps it elsewhere, it prints
        from ray._private.ray_logging import stdout_deduplicator

        stdout_deduplicator.skip_re = re.compile(".")


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray ends the process at SIGTERM; ours says how a run is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)
