"""The map of the project is of the project: every file it names is there, and it names every package.

And no file has the marks that a merge leaves where it could not decide.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.places import ROOT

PAGE = (ROOT / "docs/design.md").read_text(encoding="utf-8")


def named() -> Iterator[tuple[str, str]]:
    """Each file or folder that the page names, with the folder that a bare name is in: the heading's, or the line's."""
    heading = ""
    for line in PAGE.splitlines():
        if line.startswith("#"):
            heading = next(iter(re.findall(r"`([\w/]+/)`", line)), "")
            continue
        folder = heading
        for name in re.findall(r"`([\w/.]+(?:\.py|\.md|/))`", line):
            yield folder, name
            if "/" in name and not heading:
                folder = name[: name.rfind("/") + 1]


def test_every_file_that_the_page_names_is_there() -> None:
    found = list(named())

    missing = [name for folder, name in found if not any((ROOT / place / name).exists() for place in (folder, ""))]
    assert len(found) > 200
    assert missing == []


def test_the_page_names_every_package() -> None:
    packages = [
        path.parent for top in ("detector", "evolve", "dashboards") for path in ROOT.glob(f"{top}/**/__init__.py")
    ]

    nested = {"versions", "pages"}  # parts of a package that is named, where they are found
    unnamed = [str(path) for path in packages if f"{path.name}/`" not in PAGE and path.name not in nested]
    assert unnamed == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout, whose files git names")
def test_no_file_has_marks_of_an_undecided_merge() -> None:
    marks = [f"^[ \t]*{character * 7}( |$)" for character in "<>"]
    words = ["git", "-C", str(ROOT), "grep", "--line-number", "--extended-regexp", *(f"-e{mark}" for mark in marks)]
    found = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout) == (1, ""), found.stderr or found.stdout
