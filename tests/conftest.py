"""What several test modules share because it takes seconds to make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.once import made_once
from tests.processes import share_server

share_server()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of the weights of a small training of digits; not to be written to."""
    from tests.trained import trained_weights  # torch takes seconds to import

    return made_once(tmp_path_factory, "trained", trained_weights) / "weights.pt"
