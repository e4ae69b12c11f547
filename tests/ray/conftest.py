"""Ray clusters of several nodes on this machine, one for a module; only what is started here is ended."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.places import ROOT

CPUS = 2  # of each node of `cluster`
NODE: dict[str, Any] = {"object_store_memory": 150 * 2**20}
QUICK = {"include_dashboard": False, "_system_config": {"prestart_worker_first_driver": False}}


@contextmanager
def head(**settings: Any) -> Iterator[Any]:
    """A cluster of one node, to which others can be added."""
    import ray
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-tests-", dir="/tmp")  # of sockets: a path of theirs may have 107 characters
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # which the nodes' processes inherit
        patch.setenv("RAY_TMPDIR", folder)
        started = Cluster(initialize_head=True, head_node_args=NODE | QUICK | settings)
        try:
            yield started
        finally:
            ray.shutdown()
            started.shutdown()
            time.sleep(1)  # processes that end still write
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two CPUs each."""
    with head(num_cpus=CPUS) as started:
        started.add_node(num_cpus=CPUS, **NODE)
        yield started
