"""The commands of docs/export-to-my-trainer.md do what the page says; those that train are run elsewhere."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from evolve import cli
from tests.test_import_results import GOOD, NOT_A_NUMBER, evolve_csv

PAGE = Path(__file__).parents[1] / "docs" / "export-to-my-trainer.md"
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = evolve_csv((GOOD, {}), (GOOD, {"lr0": 0.02}), (NOT_A_NUMBER, {"lr0": 0.1}))
    (tmp_path / "evolve.csv").write_text(text)
    prepared = shlex.split("evolve import evolve.csv --name lr_sweep --model yolov3-tiny-compact --image-size 64")

    for command in [prepared, *(each for each in COMMANDS if each[1] not in ("train", "run"))]:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code in (0, None), f"{command}: {capsys.readouterr().err}"

    assert "policy=steps" in (tmp_path / "net.cfg").read_text()
    assert {each[1] for each in COMMANDS} == {"export", "explain", "import", "train", "show", "report", "run"}
