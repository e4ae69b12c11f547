"""`evolve audit`: a table, a page, a corrected copy, and an exit status that a build can go by."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from dashboards.audit_page import MOST_LISTED, render
from detector.audited import Audited
from detector.findings import Finding, Severity
from evolve.cli import app
from evolve.errors import EvolveError
from evolve.run.auditing import DRAWN_PIXELS, MOST_DRAWN_OF_KIND, Auditing
from evolve.run.data import survey
from tests.dashboards.test_report import HOSTILE, Page
from tests.detector.datasets.damages import VOC, YOLO, copy, edit, every, label, whole, write

Audit = Callable[..., Result]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Runs `evolve audit photos` in a folder with nine pictures."""
    monkeypatch.chdir(tmp_path)
    whole(tmp_path / "made", YOLO).rename(tmp_path / "photos")
    return lambda *arguments: CliRunner().invoke(app, ["audit", "photos", *arguments], catch_exceptions=False)


def test_a_data_set_without_errors_passes_unless_warnings_count(audit: Audit) -> None:
    done = audit()
    lines = done.stdout.splitlines()

    assert (done.exit_code, audit("--strict").exit_code) == (0, 1)
    assert lines[0].startswith("data    photos: train 6 images, 6 boxes, val 3 images, 3 boxes. splits as data.yaml")
    assert lines[1] == "found   0 errors, 2 warnings, 0 notes"
    assert "warning      2  few images         split has too few images to learn or to measure much" in lines
    assert lines[-2:] == ["page    audit-photos.html", "next    evolve run --study my_data --data photos --dry-run"]
    assert Path("audit-photos.html").stat().st_size > 1e6  # with the script that draws its figures


def test_errors_fail_and_all_of_them_are_named_for_machines(audit: Audit) -> None:
    label("x\n" * 40)(Path("photos"))
    write("images/train/b.jpg", b"")(Path("photos"))
    text, done = audit(), audit("--json")
    result = json.loads(done.stdout)

    assert (text.exit_code, done.exit_code) == (1, 1)
    assert "error       40  bad label" in text.stdout and f"{'':16}and 37 more" in text.stdout
    assert result["severities"] == {"error": 41, "warning": 2, "note": 0}
    assert result["findings"][0] == {
        "severity": "error",
        "kind": "bad_label",
        "file": "photos/labels/train/a.txt",
        "line": 1,
        "message": "'x'; allowed: five numbers: class, centre x, centre y, width, height",
        "images": ["photos/images/train/a.jpg"],
        "boxes": [],
    }
    assert [finding["line"] for finding in result["findings"][:40]] == list(range(1, 41))


def test_a_corrected_copy_is_written_and_what_was_done_is_listed(audit: Audit) -> None:
    every(label("0 1.5 .5 .1 .1"), copy("images/train/c.jpg", "images/val/h.jpg"))(Path("photos"))
    done = audit("--fix", "fixed", "--html", "page.html")

    assert done.exit_code == 0
    assert "fixed   fixed: 2 changes; splits as they were" in done.stdout
    assert "  outside: photos/labels/train/a.txt:1: box" in done.stdout and "; left out" in done.stdout
    assert done.stdout.splitlines()[-1] == "next    evolve run --study my_data --data fixed --dry-run"
    assert len(list(Path("fixed").rglob("*.jpg"))) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--fix", "photos"), "--fix photos: is there already"), (("--image-size", "16"), "--image-size 16: allowed: 32")],
)
def test_what_is_not_allowed_is_a_sentence(arguments: tuple[str, ...], message: str, audit: Audit) -> None:
    with pytest.raises(EvolveError, match=message):
        audit(*arguments)


def test_a_larger_image_size_makes_small_boxes_large_enough(audit: Audit) -> None:
    label("0 .5 .5 .03 .03")(Path("photos"))

    assert "small boxes" in audit("--image-size", "160").stdout
    assert "small boxes" not in audit("--image-size", "640").stdout


def test_names_that_are_no_text_are_shown_with_marks_in_their_place(audit: Audit) -> None:
    for folder, suffix in (("images/train", b".jpg"), ("labels/train", b".txt")):
        place = os.fsencode(f"photos/{folder}/")
        Path(os.fsdecode(place + b"a" + suffix)).rename(os.fsdecode(place + b"\xff\x1b[31m" + suffix))
    Path(os.fsdecode(b"photos/labels/train/\xff\x1b[31m.txt")).write_text("x")
    done = audit()

    assert done.exit_code == 1
    assert "??[31m.txt:1: 'x'" in done.stdout and "\x1b" not in done.stdout


# The page


def _page(root: Path) -> Page:
    auditing = Auditing(str(root), image_size=64)
    return Page(render(auditing.result, auditing.drawn()))


def test_the_page_draws_findings_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    every(label("0 1.5 .5 .1 .1"), copy("images/train/c.jpg", "images/val/h.jpg"))(root)
    page = _page(root)
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    images = [Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]

    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == [
        *("found", "pictures", "findings", "data", "anchors")
    ]
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert [image.size for image in images] == [(96, 64), (192, 64)]  # a pair stands side by side
    assert sum(tag == "figure" and "plot" in str(attributes.get("class")) for tag, attributes in page.tags) == 4
    assert not [value for _, attributes in page.tags for value in attributes.values() if str(value).startswith("http")]


def test_text_of_the_data_is_never_html(tmp_path: Path) -> None:
    root = whole(tmp_path, VOC)
    names = (root / "classes.txt").read_text()
    hostile = HOSTILE.replace("\n", " ")
    (root / "classes.txt").write_text(names.replace("dog", hostile))
    for stem in "bdfh":
        edit(f"Annotations/{stem}.xml", "dog", hostile.replace("&", "&amp;").replace("<", "&lt;"))(root)
    (root / "Annotations/a.xml").rename(root / "Annotations/<script>x.xml")
    page = _page(root)

    assert len(page.scripts) == len(_page(whole(tmp_path / "plain", VOC)).scripts)
    assert not [script for script in page.scripts if "<script>alert" in script]
    assert "<script>alert(1)</script>" in page.text and "<script>x.xml" in page.text


def test_of_many_findings_some_are_drawn_and_as_many_as_a_page_bears_listed(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    (root / "labels/train/a.txt").write_text("0 1.5 .5 .1 .1\n" + "".join(f"0 {n}.5 .5 .1 .1\n" for n in (1.1,) * 20))
    label("\n".join(f"0 1.{n:03} .5 .001 .1" for n in range(100, 130)))(root)
    auditing = Auditing(str(root), image_size=64)

    assert len([shown for shown in auditing.drawn() if shown.finding.kind == "outside"]) == MOST_DRAWN_OF_KIND
    many = tuple(Finding(kind="bad_label", file="a", line=line, message="") for line in range(MOST_LISTED + 5))
    assert "The first 2,000 of 2,005" in Page(render(Audited(source="a", image_size=64, findings=many), ())).text


def test_a_data_set_that_cannot_be_opened_has_a_page_that_says_why(tmp_path: Path) -> None:
    page = _page(tmp_path / "nothing")

    assert "Nothing could be opened." in page.text and "No such file" in page.text


def test_pictures_are_no_larger_than_is_said(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    Image.new("RGB", (900, 300), "red").save(root / "images/train/a.jpg")
    label("0 1.5 .5 .1 .1")(root)
    (shown,) = [shown for shown in Auditing(str(root), image_size=64).drawn() if shown.finding.kind == "outside"]

    assert max(Image.open(BytesIO(shown.jpeg)).size) == DRAWN_PIXELS
    assert f"at most {DRAWN_PIXELS} pixels" in _page(root).text


# Before a study


def test_a_study_is_told_the_same_with_boxes_seen_at_its_own_image_size(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    every(label("0 .5 .5 .03 .03"), copy("images/train/c.jpg", "images/val/h.jpg"))(root)
    checked = survey(str(root), skip_unreadable=False)
    small, large = checked.at(64), checked.at(640)

    assert small.summary["findings"] == {"few_images": 2, "leak": 1, "small_boxes": 1}
    assert large.summary["findings"] == {"few_images": 2, "leak": 1}
    assert small.at(640) == large
    assert [sorted(row) for row in large.as_rows()] == [["file", "kind", "line", "message"]] * 3


def test_what_an_audit_calls_an_error_is_what_stops_a_study(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    label("0 .5 .5\n9 .5 .5 .1 .1")(root)
    errors = [each for each in Auditing(str(root), image_size=64).result.findings if each.severity is Severity.ERROR]

    with pytest.raises(EvolveError) as stopped:
        survey(str(root), skip_unreadable=False)
    assert len(errors) == 2
    assert all(f"{error.place}: {error.message}" in str(stopped.value) for error in errors)
