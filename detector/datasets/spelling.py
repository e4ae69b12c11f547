"""Class names that look like a slip in writing another one: rare, and one edit away from a frequent name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, takewhile
from pathlib import Path

from detector.datasets.audit import Audit, Entry

MAX_RARE = 2  # labels of a class whose name may be a slip
MIN_RATIO = 10  # labels of the name that was meant, for each of the slip
MIN_LETTERS = 4  # of both names: cat, bat and car are different things

Place = tuple[Path, int | None]  # label file and line


def note_misspelt(names: Sequence[str], entries: Iterable[Entry], audit: Audit) -> None:
    """Tell about classes with one or two labels whose name is almost that of a class with ten times as many.

    A name that differs from a more frequent one in upper case, blanks, `-` or `_` alone is told however many labels
    it has.

    Args:
        names: Class names by index.
        entries: Images and their labels.
        audit: Collects both names, their numbers of labels, and the label files of the rarer one.
    """
    places: dict[int, list[Place]] = defaultdict(list)
    for entry in entries:
        for labelled in entry.objects:
            places[labelled.label].append((entry.label_file or entry.image, labelled.line))
    counts = {label: len(of) for label, of in places.items()}
    for rare, frequent in _meant({label: folded(names[label]) for label in counts}, counts):
        meant = f"almost like class {names[frequent]} ({_labels(counts[frequent])})"
        message = f"class {names[rare]} ({_labels(counts[rare])}) is named {meant}; in {_files(places[rare])}"
        audit.finding("rare_class", *places[rare][0], message)


def _meant(names: Mapping[int, str], counts: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Classes that seem misspelt, each with the most frequent one that may be meant.

    Args:
        names: Folded name of each class that has labels.
        counts: Number of its labels.
    """

    def rank(label: int) -> tuple[int, int]:
        return -counts[label], label

    by_count = sorted(counts, key=rank)
    rare: dict[int, list[int]] = defaultdict(list)
    for label in by_count:
        for rest in _rests(names[label]) if counts[label] <= MAX_RARE else ():
            rare[rest].append(label)
    same: dict[str, int] = {}
    close: dict[int, int] = {}
    for label in by_count:
        meant = min(same.setdefault(names[label], label), close.get(label, label), key=rank)
        if meant != label:
            yield label, meant
        for rest in _rests(names[label]) if rare and counts[label] >= MIN_RATIO else ():
            for other in rare.get(rest, ()):
                if counts[label] >= MIN_RATIO * counts[other] and is_one_edit(names[other], names[label]):
                    close.setdefault(other, label)


def _rests(name: str) -> set[int]:
    """Hashes of a name without up to two letters at any place, digits aside; names one edit apart have one in common.

    A letter that is changed is left out of both, one more out of one of them, and two exchanged out of both.
    """
    before = list(accumulate(name, lambda rest, letter: hash((rest, letter)), initial=0))
    after = list(accumulate(reversed(name), lambda rest, letter: hash((rest, letter)), initial=0))[::-1]
    return {
        hash((before[place], after[place + gap]))
        for gap in range(3)
        for place in range(len(name) + 1 - gap)
        if not any(map(str.isdigit, name[place : place + gap]))
    }


def folded(name: str) -> str:
    """A name without what does not tell two apart: upper case, blanks, `-` and `_`."""
    return "".join(letter for letter in name.casefold() if not letter.isspace() and letter not in "-_")


def is_one_edit(one: str, two: str) -> bool:
    """Whether one letter more, less or changed, or two exchanged, make one folded name of the other.

    False for names under four letters, and where a digit is what differs: those are numbered, not misspelt.
    """
    if min(len(one), len(two)) < MIN_LETTERS:
        return False
    for _ in ("start", "end"):  # what both have in common at the start, then, turned round, at the end
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
        one, two = one[common:][::-1], two[common:][::-1]
    if any(letter.isdigit() for letter in one + two):
        return False
    return max(len(one), len(two)) <= 1 or (len(one) == 2 and one == two[::-1])


def _labels(count: int) -> str:
    return f"{count} {'label' if count == 1 else 'labels'}"


def _files(places: Sequence[Place]) -> str:
    files = list(dict.fromkeys(file.name for file, _ in places))
    return ", ".join(files[:MAX_RARE]) + (f" and {len(files) - MAX_RARE} more" if len(files) > MAX_RARE else "")
