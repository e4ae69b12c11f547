"""Class names that look like a slip in writing another one: rare, and one edit away from a frequent name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
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
    by_count = sorted(places, key=lambda label: (-len(places[label]), label))
    for rank, rare in enumerate(by_count):
        for frequent in by_count[:rank]:
            few, many = len(places[rare]), len(places[frequent])
            is_rare = few <= MAX_RARE and many >= MIN_RATIO * few
            if is_same_folded(names[rare], names[frequent]) or (is_rare and is_one_edit(names[rare], names[frequent])):
                meant = f"almost like class {names[frequent]} ({_labels(many)})"
                message = f"class {names[rare]} ({_labels(few)}) is named {meant}; in {_files(places[rare])}"
                audit.finding("rare_class", *places[rare][0], message)
                break


def is_same_folded(name: str, other: str) -> bool:
    """Whether two names are the same but for upper case, blanks, `-` and `_`."""
    return _folded(name) == _folded(other)


def is_one_edit(name: str, other: str) -> bool:
    """Whether one letter more, less or changed, or two exchanged, make one name of the other.

    False for names under four letters, and where a digit is what differs: those are numbered, not misspelt.
    """
    one, two = _folded(name), _folded(other)
    if min(len(one), len(two)) < MIN_LETTERS:
        return False
    for _ in ("start", "end"):  # what both have in common at the start, then, turned round, at the end
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
        one, two = one[common:][::-1], two[common:][::-1]
    if any(letter.isdigit() for letter in one + two):
        return False
    return max(len(one), len(two)) <= 1 or (len(one) == 2 and one == two[::-1])


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if not letter.isspace() and letter not in "-_")


def _labels(count: int) -> str:
    return f"{count} {'label' if count == 1 else 'labels'}"


def _files(places: Sequence[Place]) -> str:
    files = list(dict.fromkeys(file.name for file, _ in places))
    return ", ".join(files[:MAX_RARE]) + (f" and {len(files) - MAX_RARE} more" if len(files) > MAX_RARE else "")
