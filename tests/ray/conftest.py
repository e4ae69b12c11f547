"""A Ray cluster of two nodes on this machine, for a module at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.places import ROOT

CPUS = 2  # of each node


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two CPUs each; only what was started here is ended."""
    import ray
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="evolve-ray-", dir="/tmp")  # of sockets: a path of theirs may have 107 characters
    settings: dict[str, Any] = {"num_cpus": CPUS, "object_store_memory": 150 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # which the nodes' processes inherit
        patch.setenv("RAY_TMPDIR", folder)
        started = Cluster(initialize_head=True, head_node_args=settings | {"include_dashboard": False})
        try:
            started.add_node(**settings)
            yield started
        finally:
            ray.shutdown()
            started.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
