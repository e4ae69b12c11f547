"""First load of a study's page beside optuna-dashboard on the same database: seconds and bytes, compressed as sent.

Ours is what a browser asks for when the page opens: its frame, and the panels in sight; then all panels of the page.
optuna-dashboard's is the study with its trials, which its page cannot do without. Its program is named by
--optuna-dashboard or found on the path; without it ours is measured alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution

from dashboards.panels import STUDY
from dashboards.questions.panel import Panel
from tests.processes import free_port
from tests.synthetic import Plan, add_study, new_engine

CASES = ((1_000, 30), (10_000, 10))
IN_SIGHT = ("summary", "history")
STARTUP_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load: what was loaded, how many seconds it took, and how many kilobytes were sent."""

    what: str
    seconds: float
    kilobytes: float


def study_file(folder: Path, num_trials: int, num_params: int) -> Path:
    """A database with one study of that many trials and hyperparameters."""
    path = folder / f"{num_trials}.db"
    names = [f"p{index}" for index in range(num_params - 1)]
    space: dict[str, BaseDistribution] = {"lr0": FloatDistribution(1e-4, 10.0, log=True)}
    space |= {name: FloatDistribution(0, 1) for name in names}
    engine = new_engine(path)
    add_study(engine, Plan(name="large", num_trials=num_trials, space=space, log_steps=False))
    engine.dispose()
    return path


@contextmanager
def ours(path: Path) -> Iterator[str]:
    """Address of our dashboard over a file, as a process of its own like the other."""
    command = [sys.executable, "-m", "evolve.cli", "dashboard", "--storage", f"sqlite:///{path}"]
    with subprocess.Popen([*command, "--port", "0", "--no-browser"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.terminate()


@contextmanager
def theirs(program: str, path: Path) -> Iterator[str]:
    """Address of optuna-dashboard over a file."""
    port = free_port()
    command = [program, f"sqlite:///{path}", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_open(port: int) -> None:
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"optuna-dashboard did not open port {port} within {STARTUP_SECONDS} s")


def fetch(url: str, body: dict[str, object] | None = None) -> int:
    """Bytes of an answer as they are sent."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        return len(answer.read())


class Caller:
    """Asks our server what a page's script asks: what there is to ask is read from the server itself."""

    def __init__(self, address: str) -> None:
        self.address = address
        with urllib.request.urlopen(f"{address}/_dash-dependencies") as answer:  # noqa: S310
            self.callbacks = json.load(answer)

    def page(self) -> int:
        """Bytes of the study's page without its panels."""
        return self._ask("page.children", {}, {"pathname": "/study", "search": "?study=large"})

    def panels(self, keys: tuple[str, ...]) -> int:
        """Bytes of the panels with these keys."""
        return sum(self._panel(panel) for panel in STUDY if panel.key in keys)

    def _panel(self, panel: Panel) -> int:
        own = {"type": "panel", "key": panel.key, "lines": "yes" if panel.follows_selection else "no"}
        device = {"dark": False, "touch": False}
        said = {"query": "/study?study=large", "device": device, "selection": "", "view": {}, "id": own}
        return self._ask('"panel"}.children', own, said | {"data-asked": "now", "data-drawn": ""})

    def _ask(self, output: str, own: dict[str, str], said: dict[str, Any]) -> int:
        found = next(
            callback
            for callback in self.callbacks
            if output in callback["output"] and not callback["clientside_function"]
        )

        def known(part: dict[str, Any]) -> dict[str, Any]:
            name = own if part["id"].startswith("{") else part["id"]
            value = said.get(part["property"], said.get(part["id"]))
            return {"id": name, "property": part["property"], "value": value}

        inputs, state = ([known(part) for part in found[kind]] for kind in ("inputs", "state"))
        name = json.dumps(own, separators=(",", ":"), sort_keys=True) if own else inputs[0]["id"]
        outputs = [target.rpartition(".") for target in found["output"].strip(".").split("...")]
        body = {
            "output": found["output"],
            "outputs": [{"id": own or component, "property": what} for component, _, what in outputs],
            "inputs": inputs,
            "state": state,
            "changedPropIds": [f"{name}.{inputs[0]['property']}"],
        }
        return fetch(f"{self.address}/_dash-update-component", body)


def timed(what: str, load: Callable[[], int]) -> Measured:
    """How long a load took and how much it sent."""
    started = time.perf_counter()
    size = load()
    return Measured(what=what, seconds=time.perf_counter() - started, kilobytes=size / 1000)


def measure_ours(path: Path) -> list[Measured]:
    """First load with nothing in memory, then every panel of the page."""
    with ours(path) as address:
        caller = Caller(address)
        first = timed("ours, first load", lambda: caller.page() + caller.panels(IN_SIGHT))
        whole = timed("ours, every panel", lambda: caller.panels(tuple(panel.key for panel in STUDY)))
        return [first, whole]


def measure_theirs(program: str, path: Path) -> list[Measured]:
    """The study with all its trials, as its page asks for it."""
    with theirs(program, path) as address:
        return [timed("optuna-dashboard", lambda: fetch(f"{address}/api/studies/1?after=0"))]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optuna-dashboard", default=shutil.which("optuna-dashboard"), help="its program")
    program = parser.parse_args().optuna_dashboard
    print(f"{platform.machine()}, Python {platform.python_version()}, one request after the other")
    print(f"{'trials':>7} {'values':>7}  {'page':<20} {'s':>7} {'kB sent':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for num_trials, num_params in CASES:
            path = study_file(Path(folder), num_trials, num_params)
            found = measure_ours(path) + (measure_theirs(program, path) if program else [])
            for load in found:
                print(f"{num_trials:>7,} {num_params:>7}  {load.what:<20} {load.seconds:>7.2f} {load.kilobytes:>9,.0f}")


if __name__ == "__main__":
    main()
