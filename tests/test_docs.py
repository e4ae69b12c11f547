"""Every command of README and docs does what the page says, in an empty folder and in one that has been used.

Commands run word for word. What is smaller than a person's is around them: `photos` is twenty scenes of digits, and
./studies holds the shipped studies with two trials of a few steps, which a name means before the package's.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from evolve import cli
from evolve.study.file import available_studies
from evolve.study.naming import derived_name_of_training
from tests.evolve.commands.test_my_data import write_voc
from tests.evolve.exchange.test_import_results import GOOD, NOT_A_NUMBER, evolve_csv
from tests.places import ROOT
from tests.processes import evolve, running
from tests.small_study import SMALL

PAGES = (
    "README.md",
    "docs/tune-my-data-set.md",
    "docs/read-the-report.md",
    "docs/why-did-it-diverge.md",
    "docs/export-to-my-trainer.md",
    "docs/does-it-help.md",
)
KNOWN = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
TINY = {"model": "yolov3-tiny-compact", "image_size": 64, "budget": {"trials": 2}, "thresholds": {"floor": 0.0}}
IMPORT = "evolve import evolve.csv --name {} --model yolov3-tiny-compact --image-size 64"


def commands(page: str) -> list[list[str]]:
    """The lines of a page's blocks that run our command, as a shell would split them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    found = [line for language, block in blocks if language in ("", "sh") for line in block.splitlines()]
    lines = [line.strip().removeprefix(".venv/bin/") for line in found]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("evolve ")]


def on_this_machine(page: str) -> list[list[str]]:
    """Those of them that need no cluster, which tests/ray has."""
    return [command for command in commands(page) if "--address" not in command]


def prepare(folder: Path, page: str) -> None:
    write_voc(folder / "photos", 20, data="digits-1")
    (folder / "studies").mkdir()
    for name, path in available_studies():
        study = yaml.safe_load(path.read_text()) | TINY
        study |= {"updates": 8} if "updates" in study else {"epochs": 1}
        if study.get("sampler") == "screening":  # whose trials are rows, for two changes eight of them
            changes = dict([*study["space"].items()][:2])
            study |= {"space": changes, "budget": {"trials": 9}}
        if "ablation" in study:  # whose trials are its arms, of six seeds at least
            study |= with_one_batch(study) | {"ablation": {"one_factor": {"lr0": [0.02]}, "seeds": 6}, "budget": {}}
        if "noise" in study:  # whose trials are the levels of a source
            noise = {"sources": ["initialisation", "order"], "levels": 2}
            study |= with_one_batch(study) | {"noise": noise, "budget": {}}
        (folder / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(study))
    (folder / "evolve.csv").write_text(evolve_csv((GOOD, {}), (GOOD, {"lr0": 0.02}), (NOT_A_NUMBER, {"lr0": 0.1})))
    if "diverge" in page:  # what is looked into there has to have been trained
        (folder / "studies" / "lr_sweep.yaml").write_text(SMALL)
        evolve(folder, "run", "--study", "lr_sweep")
    elif "tune" not in page:
        run_here(shlex.split(IMPORT.format("lr_sweep")))


def with_one_batch(study: dict[str, Any]) -> dict[str, Any]:
    """Keys of a study of digits by which an epoch is a single batch."""
    return {"batch_size": 64, "hyperparameters": (study.get("hyperparameters") or {}) | {"train_share": 0.1}}


def run_here(command: list[str], *, may_exist: str = "") -> None:
    """Runs a command that neither trains nor serves in this process, which has everything imported.

    Args:
        command: As a shell would split it.
        may_exist: What a refusal must say where the command may find that it has been run before; empty where not.
    """
    before, sys.argv = sys.argv, command
    try:
        with redirect_stderr(StringIO()) as said, pytest.raises(SystemExit) as stopped:
            cli.main()
    finally:
        sys.argv = before
    if stopped.value.code not in (0, None):
        assert may_exist and re.search(may_exist, said.getvalue()), (command, said.getvalue())


def run(folder: Path, command: list[str], *, may_exist: str = "") -> None:
    if command[1] == "dashboard":
        serve_shortly(folder, command)
    elif command[1] in ("run", "train", "ablate", "confirm", "replay", "cure"):
        evolve(folder, *command[1:])
    else:
        run_here(command, may_exist=may_exist)


def serve_shortly(folder: Path, command: list[str]) -> None:
    """Starts the dashboard until it says its address, then ends it as Ctrl-C does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROWSER", "true")  # which shows nothing
        with running(folder, *command[1:]) as served:
            served.wait_until(lambda: "\n" in served.said())
            assert served.said().startswith("dashboard  http://127.0.0.1:")
            served.send(signal.SIGINT)
            assert served.ended(60).returncode == 0


def run_page(folder: Path, page: str, *, times: int) -> None:
    """Runs a page from top to bottom in an empty folder, and again in what that has left."""
    prepare(folder, page)
    found = on_this_machine(page)
    assert found
    for command in found:
        run(folder, command)
    for command in found * (times - 1):
        run(folder, command, may_exist="already|is not empty|nothing to export")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_evolve_takes(page: str) -> None:
    program: Any = get_command(cli.app)

    for _, name, *words in commands(page):
        program.commands[name].make_context(name, list(words))  # refuses what it does not know


def test_the_main_job_runs_from_top_to_bottom_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run_page(tmp_path, "README.md", times=1)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(900)
def test_a_page_runs_from_top_to_bottom_in_an_empty_folder_and_then_in_a_used_one(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run_page(tmp_path, page, times=2)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_written_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    written = set(re.findall(r"(?:^|`|bin/)evolve\s([a-z]+)", text, re.MULTILINE))

    assert written
    assert written <= KNOWN


def test_the_lines_of_the_page_that_load_weights_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path, "docs/tune-my-data-set.md")
    evolve(tmp_path, "run", "--study", "my_data", "--data", "photos")
    weights = next((tmp_path / "runs").glob("*/weights/seed-0-best.pt"))
    text = (ROOT / "docs/tune-my-data-set.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    named = derived_name_of_training(Path("best.yaml"), {"epochs": 30})

    assert "evolve train --hyp best.yaml --epochs 30 " in text and f'"runs/{named}/weights/seed-0-best.pt"' in block
    scope: dict[str, object] = {}
    exec(re.sub(r'"runs/.*?\.pt"', repr(str(weights)), block), scope)

    assert scope["best"].names == ("digit",)  # type: ignore[attr-defined]


def test_the_readme_links_only_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target
