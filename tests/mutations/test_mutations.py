"""A few hundred damaged files of every format: each is read as a person reads it, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.campaign import campaign
from tests.mutations.formats import Format, formats

COUNT = 20


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage on its own
@pytest.mark.parametrize("kind", formats(), ids=lambda kind: kind.name)
def test_damaged_files_are_read_right_or_refused(kind: Format, tmp_path: Path) -> None:
    tally = campaign(kind, tmp_path / "mutants", seed=0, numbers=range(COUNT))

    assert tally.mutants == tally.accepted + tally.refused == COUNT
    assert tally.faults == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage on its own
@pytest.mark.parametrize("kind", formats(), ids=lambda kind: kind.name)
def test_many_damaged_files_are_read_right_or_refused(kind: Format, tmp_path: Path) -> None:
    tally = campaign(kind, tmp_path / "mutants", seed=1, numbers=range(100))

    assert tally.faults == []
