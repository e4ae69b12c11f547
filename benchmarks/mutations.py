"""Ten thousand damaged files over all formats that are read: what was accepted, refused, slow or large.

    python -m benchmarks.mutations --count 10000 --seed 0

Prints a table by format on stdout, and every fault on stderr as it is found. Exit 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutations.campaign import HEADER, MAX_SECONDS, Tally, campaign
from tests.mutations.formats import formats


def main() -> int:
    """Runs the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="mutants over all formats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="formats whose name holds this word")
    asked = parser.parse_args()
    kinds = [kind for kind in formats() if asked.only in kind.name]
    mutants = -(-asked.count // len(kinds))
    tallies = []
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for place, kind in enumerate(kinds):
            tally = campaign(
                kind, Path(folder) / str(place), seed=asked.seed, numbers=range(mutants), most_seconds=MAX_SECONDS
            )
            tallies.append(tally)
            print(tally.row(), flush=True)
            for fault in tally.faults:
                print(fault, file=sys.stderr, flush=True)
    print(_all(tallies).row())
    return 1 if any(tally.faults for tally in tallies) else 0


def _all(tallies: list[Tally]) -> Tally:
    return Tally(
        name="all",
        mutants=sum(tally.mutants for tally in tallies),
        accepted=sum(tally.accepted for tally in tallies),
        refused=sum(tally.refused for tally in tallies),
        tracebacks=sum(tally.tracebacks for tally in tallies),
        misread=sum(tally.misread for tally in tallies),
        slowest=max(tally.slowest for tally in tallies),
        peak_mb=max(tally.peak_mb for tally in tallies),
    )


if __name__ == "__main__":
    sys.exit(main())
