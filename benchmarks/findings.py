"""The tables of docs/findings.md, from ablations and noise that a database holds; what people wrote around them stays.

    python -m benchmarks.findings runs/evolve.db [MORE.db ...] [--page docs/findings.md] [--study NAME ...]

A study's part of the page stands between two comments with its name. It is written anew where the study is in one of
the databases, and left as it is elsewhere; a study without a part gets one at the end of the page. Beside the page lies
a file .csv of the same name with a row for each training of an ablation, so that a table can be checked without the
database that it is of.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from pathlib import Path

from benchmarks.rows import rows_of, text_of
from dashboards.data.study_loading import load
from evolve.ablation.compared import Compared
from evolve.ablation.crossed import NoiseFound, noise_found
from evolve.ablation.verdicts import conclusion
from evolve.commands.aligning import markdown_table
from evolve.commands.effect_text import table_markdown
from evolve.commands.noise import NOISE_HEADS, noise_rows
from evolve.commands.output import opened_storage
from evolve.errors import EvolveError
from evolve.formatting import counted, duration, listed, moment
from evolve.storage.ablations import ablations, trainings_of
from evolve.storage.comparisons import comparison_of
from evolve.storage.noise import noise_studies
from evolve.study import DIGITS
from evolve.study.ablation import BASELINE
from evolve.study.hyp import write_whole
from evolve.study.naming import data_name

PAGE = Path(__file__).parent.parent / "docs" / "findings.md"
COLUMNS = ("study", "arm", "seed", "outcome", "fitness")
PACKAGES = ("torch", "numpy")  # whose versions are named; all others are in the database


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Circumstances under which the trainings of a study took place.

    Attributes:
        wall_seconds: Seconds from the beginning to the end of each of its runs, together; NaN where none is recorded.
        trained_seconds: Seconds of training and validating, over all workers.
        machines: Device, cores and versions, one for each that trained.
        ended: When the last trial ended, in seconds since 1970; NaN where none has.
    """

    wall_seconds: float
    trained_seconds: float
    machines: tuple[str, ...]
    ended: float

    @property
    def text(self) -> str:
        """Time, machine and date, for people."""
        wall = f"{duration(self.wall_seconds)} of wall time, " if isfinite(self.wall_seconds) else ""
        trained = f"{self.trained_seconds:,.0f} s of training and validating"
        return f"{wall}{trained}, on {listed(self.machines)}, until {moment(self.ended)}"


def circumstances(url: str, study: str) -> Circumstances:
    """What is stored about how a study was trained.

    Args:
        url: SQLAlchemy URL of the database.
        study: Name of the study.
    """
    with opened_storage(url, reads_only=True) as opened:
        view = load(opened.engine, study)
    ended = view.trials["ended"].max()
    return Circumstances(
        wall_seconds=sum(run.seconds for run in view.time.runs) or float("nan"),
        trained_seconds=view.time.spent.total,
        machines=tuple(dict.fromkeys(machine(facts) for _, facts, _ in view.environments)),
        ended=float(ended),
    )


def machine(facts: Mapping[str, object]) -> str:
    """A machine with its versions in a few words, of what is stored about it."""
    versions = [f"{package} {facts[package]}" for package in PACKAGES if package in facts]
    cores = [f"{facts['cores']} cores"] if "cores" in facts else []
    return ", ".join([str(facts.get("device", "a machine that is not recorded")), *cores, *versions])


def section(found: Compared, under: Circumstances) -> str:
    """The part of the page about one ablation.

    Args:
        found: What the ablation has come to.
        under: Circumstances under which it was trained.
    """
    study = found.study
    question = escape(found.question or " ".join((study.description or study.name).split()), quote=False)
    trained = counted(len(found.runs) - found.missing, "training")
    about = [f"`evolve ablate {study.name} --markdown`: {trained} in {under.text}."]
    if base := [run.value for run in found.runs if run.arm == BASELINE and run.value is not None]:
        about.append(f"The baseline reaches {sum(base) / len(base):.3f}, a mean of {counted(len(base), 'run')}.")
    if found.missing:
        about.append(f"**{found.missing} of {len(found.runs)} runs are missing: all of it may change.**")
    where = "" if study.data in DIGITS else f" (On {data_name(study.data)})"
    return "\n\n".join([f"## {question}{where}", " ".join(about), table_markdown(found), conclusion(found.effects)])


def noise_section(found: NoiseFound, under: Circumstances) -> str:
    """The part of the page about one study of noise.

    Args:
        found: What the study has come to.
        under: Circumstances under which it was trained.
    """
    study = found.study
    data = data_name(study.data)
    trained = f"{data}, {study.model} at {study.image_size} px, {found.basis}"
    about = f"`evolve noise {study.name}`: {trained}, in {under.text}."
    if found.shares is None:
        return "\n\n".join([f"## How much is noise on {data}?", about, f"Nothing was found: {found.reason}."])
    table = "\n".join(markdown_table(NOISE_HEADS, noise_rows(found.shares), left=(0,)))
    return "\n\n".join([f"## How much is noise on {data}?", about, table, found.text])


def rewritten(page: str, sections: Mapping[str, str]) -> str:
    """A page with these parts in place of its own of the same names; others are added at its end.

    Args:
        page: Text of the page as it is.
        sections: Text of each part, by the name of its study.
    """
    for name, text in sections.items():
        begin, end = f"<!-- found: {name} -->", f"<!-- end of {name} -->"
        part = f"{begin}\n{text}\n{end}"
        known = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if known.search(page):
            page = known.sub(lambda _, part=part: part, page, count=1)
        else:
            page = f"{page.rstrip()}\n\n{part}\n"
    return page


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the page says of a study.

    Attributes:
        name: Name of the study.
        text: Text of its part of the page.
        rows: Rows of its trainings, with a cell for each of COLUMNS; none of a study of noise, which has no arms.
    """

    name: str
    text: str
    rows: tuple[Sequence[object], ...] = ()


def found_in(url: str, names: Sequence[str]) -> Iterator[Part]:
    """Parts of the ablations of a database that have begun, oldest first, then of its studies of noise.

    Args:
        url: SQLAlchemy URL of the database.
        names: Names of the studies that are wanted; none means all.
    """
    with opened_storage(url, reads_only=True) as opened:
        studies = [study for study in ablations(opened.engine) if not names or study.name in names]
        crossed = [study for study in noise_studies(opened.engine) if not names or study.name in names]
        compared = [comparison_of(opened, study) for study in studies]
        noise = [noise_found(study, trainings_of(opened.engine, study.name)) for study in crossed]
    for study, ablation in reversed([*zip(studies, compared, strict=True)]):
        if ablation.missing < len(ablation.runs):
            rows = tuple(
                (study.name, run.arm, run.seed, run.outcome, "" if run.value is None else f"{run.value:.6f}")
                for run in ablation.runs
            )
            yield Part(name=study.name, text=section(ablation, circumstances(url, study.name)), rows=rows)
    for found in reversed(noise):
        yield Part(name=found.study.name, text=noise_section(found, circumstances(url, found.study.name)))


def write_trainings(path: Path, parts: Iterable[Part]) -> None:
    """Writes the trainings of these studies to a file, in place of those that it has of them."""
    by_study = {part.name: [*part.rows] for part in parts}
    kept = [[row[column] for column in COLUMNS] for row in rows_of(path) if row["study"] not in by_study]
    write_whole(path, text_of([COLUMNS, *kept, *(row for rows in by_study.values() for row in rows)]))


def main() -> None:
    """Rewrites the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("databases", nargs="+", help="files, or URLs of SQLAlchemy")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--study", action="append", default=[], help="this one alone; may be repeated")
    asked = parser.parse_args()
    urls = [text if "://" in text else f"sqlite:///{text}" for text in asked.databases]
    try:
        parts = {part.name: part for url in urls for part in found_in(url, asked.study)}
    except EvolveError as error:
        sys.exit(str(error))
    if unknown := [name for name in asked.study if name not in parts]:
        sys.exit(f"--study: {unknown}: no ablation or noise of that name has begun there; there are {list(parts)}")
    texts = {name: part.text for name, part in parts.items()}
    write_whole(asked.page, rewritten(asked.page.read_text(encoding="utf-8"), texts))
    write_trainings(asked.page.with_suffix(".csv"), parts.values())
    print(f"{asked.page}: {listed(list(parts), limit=20) or 'nothing'} written")


if __name__ == "__main__":
    main()
