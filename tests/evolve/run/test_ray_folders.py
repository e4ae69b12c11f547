"""Folders of Ray's are gone with the process that made them, however that ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.processes import environment

pytest.importorskip("ray")
MAKE = """
import os, sys
from pathlib import Path
from evolve.run.engines.ray import folders
folders._PARENT = Path(sys.argv[1])
print(folders.own_folder(), flush=True)
sys.stdin.read()
"""


def maker(parent: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE, str(parent)]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment(), cwd=ROOT)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolve.run.engines.ray import folders

    monkeypatch.setattr(folders, "_PARENT", tmp_path)
    killed, living = maker(tmp_path), maker(tmp_path)
    theirs = [Path(each.stdout.readline().strip()) for each in (killed, living) if each.stdout is not None]
    killed.kill()
    killed.communicate()
    written_late = tmp_path / "evolve-ray-late"
    written_late.mkdir()
    os.utime(written_late, (time.time() - 3600,) * 2)
    just_made = tmp_path / "evolve-ray-new"
    just_made.mkdir()

    mine = folders.own_folder()

    try:
        assert mine.is_dir() and not theirs[0].exists() and theirs[1].is_dir()
        assert just_made.is_dir() and not written_late.exists()
    finally:
        living.kill()
        living.communicate()
        folders.drop(mine)
    assert not mine.exists()
