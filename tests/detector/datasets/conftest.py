"""A data set of photographs in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.datasets.label_files import FORMATS
from tests.detector.datasets.photographs import Folder, folder_of, noise_file


@pytest.fixture(params=FORMATS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """Photographs a to h as JPEG with one box each, the last two in val, in one format after another."""
    splits = {"train": "abcdef", "val": "gh"}
    listed = {split: [noise_file(tmp_path / "made", stem) for stem in stems] for split, stems in splits.items()}
    return folder_of(tmp_path / "set", request.param, listed)
