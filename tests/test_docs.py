"""The commands on the pages of docs/ do what the pages say; those that train or serve are run elsewhere."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from evolve import cli
from tests.test_import_results import GOOD, NOT_A_NUMBER, evolve_csv

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("tune-my-data-set", "read-the-report", "why-did-it-diverge", "export-to-my-trainer")
KNOWN = {command.name or command.callback.__name__ for command in cli.app.registered_commands}


def commands(page: str) -> list[list[str]]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def is_quick(command: list[str]) -> bool:
    return command[1] not in ("train", "run", "dashboard") or "--dry-run" in command


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = evolve_csv((GOOD, {}), (GOOD, {"lr0": 0.02}), (NOT_A_NUMBER, {"lr0": 0.1}))
    (tmp_path / "evolve.csv").write_text(text)
    prepared = shlex.split("evolve import evolve.csv --name lr_sweep --model yolov3-tiny-compact --image-size 64")

    run = [each for each in commands(page) if is_quick(each)]
    for command in [prepared, *run]:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code in (0, None), f"{command}: {capsys.readouterr().err}"

    assert run


@pytest.mark.parametrize("page", [*PAGES, "../README"])
def test_every_command_that_is_written_exists(page):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    written = set(re.findall(r"(?:^|`|bin/)evolve ([a-z]+)", text, re.MULTILINE))

    assert written
    assert written <= KNOWN


def test_the_readme_links_only_to_what_is_there():
    readme = DOCS.parent / "README.md"

    for target in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
        assert (readme.parent / target).exists(), target
