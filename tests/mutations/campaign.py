"""Reads mutants one by one and counts what became of them."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random

from tests.mutations.formats import Format
from tests.mutations.mutating import mutated

MAX_SECONDS = 2.0
MAX_MEMORY_MB = 300
GIVEN_UP_AFTER = 20  # seconds
MAX_LINE = 1500  # characters of a sentence; the longest lists what is known
MAX_LINES = 70


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the mutants of a format.

    Attributes:
        name: Of the format.
        mutants, accepted, refused: Counts.
        faults: Mutants that were misread, ended in a traceback, took too long or too much memory, each in words with
            the number by which `mutant` makes it again.
        slowest: Seconds of processor time.
        peak_mb: Memory above that before the first mutant.
    """

    name: str
    mutants: int = 0
    accepted: int = 0
    refused: int = 0
    tracebacks: int = 0
    misread: int = 0
    slowest: float = 0.0
    peak_mb: float = 0.0
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A line of a Markdown table."""
        counts = f"{self.mutants} | {self.accepted} | {self.refused} | {self.tracebacks} | {self.misread}"
        return f"| {self.name} | {counts} | {self.slowest:.2f} | {self.peak_mb:.0f} |"


HEADER = (
    "| format | mutants | accepted | refused | tracebacks | misread | slowest, s | peak, MB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def mutant(kind: Format, seed: int, number: int) -> bytes:
    """Mutant `number` of a format."""
    random = Random(f"{seed} {kind.name} {number}")
    return mutated(random.choice(kind.seeds), kind.kind, random)


def campaign(kind: Format, folder: Path, *, seed: int, numbers: Sequence[int], most_seconds: float = inf) -> Tally:
    """Reads mutants of a format.

    Args:
        kind: The format.
        folder: A folder for it alone.
        seed: Of the whole campaign.
        numbers: Of the mutants.
        most_seconds: Of processor time a mutant may take; tests leave the clock to the benchmark.
    """
    tally = Tally(name=kind.name)
    kind.prepare(folder)
    file = folder / kind.file
    for valid in kind.seeds:  # also loads what is loaded once
        file.write_bytes(valid)
        assert kind.misread(valid, kind.read(folder)) == ""
    start = _memory_mb(is_peak=False)
    for number in numbers:
        data = mutant(kind, seed, number)
        file.write_bytes(data)
        _forget_peak()
        began = time.process_time()
        fault = _read(kind, folder, data, tally)
        seconds, peak = time.process_time() - began, _memory_mb(is_peak=True) - start
        tally.mutants += 1
        tally.slowest, tally.peak_mb = max(tally.slowest, seconds), max(tally.peak_mb, peak)
        if seconds > most_seconds or peak > MAX_MEMORY_MB:
            fault = f"{seconds:.1f} s, {peak:.0f} MB {fault}"
        if fault:
            tally.faults.append(f"{kind.name}, mutant {number} of seed {seed}: {fault}")
    return tally


def _read(kind: Format, folder: Path, data: bytes, tally: Tally) -> str:
    """What is wrong with how a mutant was read; empty if nothing is."""
    try:
        with _given_up():
            understood = kind.read(folder)
    except kind.errors as error:
        tally.refused += 1
        return _unclear(str(error), folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        tally.tracebacks += 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error!s:.200} at {Path(last.filename).name}:{last.lineno}"
    tally.accepted += 1
    if difference := kind.misread(data, understood):
        tally.misread += 1
        return f"misread: {difference}"
    return ""


def _unclear(text: str, folder: Path) -> str:
    lines = text.splitlines()
    if not lines or str(folder) not in text:
        return f"names no file: {text:.200}"
    if len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE or "\0" in text or " object at 0x" in text:
        return f"no clear sentence: {text:.200}"
    return ""


@contextmanager
def _given_up() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError(f"not read after {GIVEN_UP_AFTER} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(GIVEN_UP_AFTER)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _memory_mb(*, is_peak: bool) -> float:
    wanted = "VmHWM:" if is_peak else "VmRSS:"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) / 1024
    return 0.0


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak is then that of all mutants so far
