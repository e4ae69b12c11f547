"""Misspelt classes: rare, and one edit away from a frequent one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.datasets.audit import Audit, Entry, LabelledObject
from detector.datasets.label_files import FORMATS
from detector.datasets.spelling import MAX_RARE, MIN_RATIO, folded, is_one_edit, note_misspelt
from tests.detector.datasets.photographs import BOX, folder_of, found, noise_file


@pytest.mark.parametrize(
    ("one", "other", "is_slip"),
    [
        ("racoon", "raccoon", True),
        ("raccoon", "racoon", True),
        ("racoons", "racoon", True),
        ("raccoon", "raccoom", True),
        ("xraccoon", "raccoon", True),
        ("racocon", "raccoon", True),
        ("rcoon", "raccoon", False),
        ("raccoon", "badger", False),
        ("cat", "bat", False),
        ("class1", "class2", False),
        ("type1", "type12", False),
    ],
)
def test_one_edit_makes_a_slip_unless_the_name_is_short_or_numbered(one: str, other: str, is_slip: bool) -> None:
    assert is_one_edit(one, other) == is_one_edit(other, one) == is_slip


def test_names_that_differ_in_case_and_blanks_are_the_same_folded() -> None:
    assert folded("Red Panda") == folded("red_panda") and folded("cat ") == folded("Cat")
    assert folded("red panda") != folded("red pandas")


def _entries(counts: dict[int, int]) -> list[Entry]:
    return [
        Entry(
            image=Path(f"{label}-{number}.jpg"),
            label_file=Path(f"{label}-{number}.xml"),
            objects=(LabelledObject(label=label, box=(0.0, 0.0, 1.0, 1.0), line=3),),
        )
        for label, count in counts.items()
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("rare", "counts", "message"),
    [
        ("racoon", (1, 20), "class racoon (1 label) is named almost like class raccoon (20 labels); in 0-0.xml"),
        (
            "racoon",
            (2, 20),
            "class racoon (2 labels) is named almost like class raccoon (20 labels); in 0-0.xml, 0-1.xml",
        ),
        ("racoon", (2, 19), None),
        ("racoon", (3, 90), None),
        ("racoon", (0, 90), None),
        ("badger", (1, 90), None),
        (
            "Raccoon",
            (5, 6),
            "class Raccoon (5 labels) is named almost like class raccoon (6 labels); in 0-0.xml, 0-1.xml and 3 more",
        ),
    ],
)
def test_a_rare_class_named_almost_like_a_frequent_one_is_told(
    rare: str, counts: tuple[int, int], message: str | None
) -> None:
    audit = Audit()
    note_misspelt((rare, "raccoon"), _entries(dict(enumerate(counts))), audit)

    expected = [] if message is None else [("rare_class", "0-0.xml", 3, message)]
    assert [(found.kind, found.file, found.line, found.message) for found in audit.findings] == expected


def _meant(names: list[str], counts: list[int]) -> dict[str, str]:
    """The name that is meant by each that looks like a slip, by comparing it with all that are more frequent."""
    by_count = sorted((label for label, count in enumerate(counts) if count), key=lambda label: (-counts[label], label))
    meant: dict[str, str] = {}
    for rank, rare in enumerate(by_count):
        for frequent in by_count[:rank]:
            is_rare = counts[rare] <= MAX_RARE and counts[frequent] >= MIN_RATIO * counts[rare]
            one, other = folded(names[rare]), folded(names[frequent])
            if one == other or (is_rare and is_one_edit(one, other)):
                meant.setdefault(names[rare], names[frequent])
    return meant


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("ab", min_size=4, max_size=5) | st.text("ab1B_", max_size=7),
        st.sampled_from([0, 1, 2, 3, 10, 19, 20, 21]),
        max_size=24,
    )
)
@example({"11a11": 1, "1111": 10})
def test_findings_are_those_of_comparing_every_name_with_all_others(counts: dict[str, int]) -> None:
    names, audit = list(counts), Audit()
    note_misspelt(names, _entries(dict(enumerate(counts.values()))), audit)
    told = [found.message.split(" ") for found in audit.findings]

    assert {words[1]: words[words.index("like") + 2] for words in told} == _meant(names, list(counts.values()))


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_misspelt_class_of_an_annotation_is_a_finding_of_the_data_set(format_name: str, tmp_path: Path) -> None:
    listed = {stem: noise_file(tmp_path / "made", stem) for stem in "abcdefgh"}
    for stem, one in listed.items():
        boxes, labels = ((BOX,), (1,)) if stem == "b" else ((BOX, (0.0, 0.0, 9.0, 9.0)), (0, 0))
        listed[stem] = replace(one, boxes=boxes, labels=labels)
    splits = {"train": list(listed.values())[:6], "val": list(listed.values())[6:]}
    dataset = folder_of(tmp_path / "set", format_name, splits, names=("raccoon", "racoon")).open()
    file = {"yolo": "b.txt", "voc": "b.xml", "coco": "instances_train.json", "listing": "train.txt"}[format_name]

    assert found(dataset) == [
        ("rare_class", file, f"class racoon (1 label) is named almost like class raccoon (14 labels); in {file}")
    ]
    assert dataset.summary()["splits"]["train"]["boxes_by_class"] == {"raccoon": 10, "racoon": 1}
