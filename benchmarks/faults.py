"""The long campaign of faults: how often a run may be killed, and what that costs.

    python -m benchmarks.faults [--kills 200] [--seed 0] [--storage URL] [--fake] [--ray]

Every study of six trainings runs until it is done, under kills of the driver, its process group or a worker, at
random moments or chosen calls (see tests/faults/campaign.py), in every engine. With one trial at a time it must equal
one that nobody disturbed. With --fake trainings take milliseconds, all else is real, and a fault some seconds. --ray
adds Ray's engine, whose every start takes seconds. With --storage each study has a database of its own on that server,
made and dropped here.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.faults.campaign import STORED, Fault, Findings, Setting, differences, disturbed, faults

PLACES = (("processes", 1, 1), ("serial", 1, 1), ("processes", 1, 3), ("processes", 2, 2), ("serial", 1, 2))
RAYS = (("ray", 1, 1), ("ray", 2, 1))
SEARCHES = (("tpe", "asha"), ("tpe", "none"), ("random", "median"))
FAKE_SECONDS = (0.5, 3.0)
RAY_SECONDS = (3.0, 14.0)  # of which its start takes the first
MOST_A_STUDY = 12


@contextmanager
def database(server: str | None, folder: Path, name: str) -> Iterator[str]:
    """URL of an empty database: a file, or a new one of a server."""
    if server is None:
        yield f"sqlite:///{folder}/{name}.db"
        return
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    for command in (f"drop database if exists {name} with (force)", f"create database {name}"):
        with engine.connect() as connection:
            connection.execute(text(command))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    engine.dispose()


def study(folder: Path, setting: Setting, chosen: Iterator[Fault], server: str | None, *, most: int) -> Findings:
    """One study under faults, compared with an undisturbed one where they can be compared."""
    with database(server, folder, "killed") as url, database(server, folder, "whole") as whole:
        found = disturbed(folder / "killed", setting, url, chosen, most=most)
        if setting.is_repeatable:
            found.problems += disturbed(folder / "whole", setting, whole, iter(()), most=0).problems
            found.problems += differences(url, whole)
    return found


def settings_of(places: Sequence[tuple[str, int, int]], *, is_real: bool) -> list[Setting]:
    """Every search in every engine."""
    return [
        Setting(sampler=sampler, pruner=pruner, engine=engine, workers=workers, lanes=lanes, is_real=is_real)
        for sampler, pruner in SEARCHES
        for engine, workers, lanes in places
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", help="a PostgreSQL server, as postgresql+psycopg://USER@HOST/postgres")
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--ray", action="store_true")
    arguments = parser.parse_args()
    chosen = by_ray = faults(arguments.seed)
    if arguments.fake:
        chosen = faults(arguments.seed, calls=STORED, within=FAKE_SECONDS)
        by_ray = faults(arguments.seed, calls=STORED, within=RAY_SECONDS)
    settings = settings_of(PLACES + RAYS * arguments.ray, is_real=not arguments.fake)
    hits, problems, started = Counter[str](), 0, time.monotonic()
    print(f"seed {arguments.seed}; torch {version('torch')}, optuna {version('optuna')}, {platform.machine()}")
    print(f"{'study':<40}{'kills':>6}{'problems':>10}{'seconds':>9}")
    number = 0
    while hits.total() < arguments.kills:
        setting, since = settings[number % len(settings)], time.monotonic()
        most = min(MOST_A_STUDY, arguments.kills - hits.total())
        with TemporaryDirectory() as folder:
            own = by_ray if setting.engine == "ray" else chosen
            found = study(Path(folder), setting, own, arguments.storage, most=most)
        hits.update("chosen call" if fault.call else f"{fault.signal.name} {fault.target}" for fault in found.faults)
        row = f"{len(found.faults):>6}{len(found.problems):>10}{time.monotonic() - since:>9.0f}"
        print(f"{setting.text:<40}{row}", flush=True)
        for problem in found.problems:
            print(f"    {problem}", flush=True)
        problems, number = problems + len(found.problems), number + 1
    print(f"{hits.total()} kills in {number} studies, {problems} problems, {time.monotonic() - started:.0f} s")
    print(", ".join(f"{count} {what}" for what, count in sorted(hits.items())))


if __name__ == "__main__":
    main()
