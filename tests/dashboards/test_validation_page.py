"""The page of weights that were measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dashboards.blocks import Empty, Prose
from dashboards.document import write_document
from dashboards.panels import VALIDATION
from dashboards.questions import validated
from detector.observations import Picture
from detector.scores import AllScores, OperatingPoint, Part, Validation
from detector.telemetry import Scores
from evolve.cli import app
from evolve.outcome.validated import Mistaken, Validated

SCORES = Scores(precision=0.5, recall=0.6, map50=0.4, map50_95=0.2)


def point(score: float, nms_iou: float = 0.45) -> OperatingPoint:
    return OperatingPoint(
        score=score, nms_iou=nms_iou, precision=score, recall=1 - score, f1=score, false_positives_per_image=1 - score
    )


def measured(names: tuple[str, ...]) -> Validated:
    """A measurement with as many objects of each class as its place says, none of the first."""
    parts = tuple(Part(objects=index, scores=SCORES) for index in range(len(names)))
    curve = tuple(point(step / 100) for step in range(1, 100))
    found = Validation(
        images=3,
        objects=sum(part.objects for part in parts),
        scores=AllScores(overall=SCORES, classes=parts, sizes=parts[:1] * 3),
        sweep=tuple(point(score, overlap) for overlap in (0.45, 0.6) for score in (0.1, 0.5)),
        best=point(0.5, 0.6),
        curve=curve,
        class_curves=(curve,) * len(names),
        confusion=tuple(tuple(range(len(names) + 1)) for _ in range(len(names) + 1)),
    )
    picture = Picture(jpeg=b"jpeg", width=64, height=48, boxes=((100, 100, 300, 300, 0),))
    mistaken = Mistaken(image="a.jpg", labels=3, picture=picture, false=((500, 500, 900, 900, 1, 700),))
    return Validated(
        weights="w.pt", data="d", split="val", image_size=64, nms_iou=0.45, names=names, found=found, worst=(mistaken,)
    )  # fmt: skip


def test_every_panel_has_something_to_show() -> None:
    for panel in VALIDATION:
        assert not any(isinstance(block, Empty) for block in panel.draw(measured(("cat", "dog")))), panel.key


def test_the_worst_images_are_shown_with_what_is_missed_and_what_is_false() -> None:
    album, table = validated.WORST.draw(measured(("cat", "dog")))

    assert [mark.text for mark in album.photos[0].labels] == ["cat"]
    assert [mark.text for mark in album.pages[0][1][0]] == ["dog 0.70"]
    assert table.rows == ((1, "a.jpg", 3, 1, 1),)


def test_where_nothing_is_wrong_nothing_is_shown() -> None:
    (block,) = validated.WORST.draw(replace(measured(("cat", "dog")), worst=()))

    assert isinstance(block, Empty)


def test_classes_without_objects_have_no_curve() -> None:
    figures = validated.CURVE.draw(measured(("cat", "dog", "cow")))

    assert [trace.name for trace in figures[1].data] == ["dog", "cow"]
    assert [trace.name for trace in figures[2].data] == ["dog", "cow"]


def test_of_very_many_classes_those_with_most_objects_are_drawn_and_it_is_said() -> None:
    done = measured(tuple(f"class {index}" for index in range(20)))

    *figures, note = validated.CURVE.draw(done)

    assert [trace.name for trace in figures[1].data] == [f"class {index}" for index in range(8, 20)]
    assert note == Prose("The 12 classes with most objects are drawn; 7 more are not.")
    assert isinstance(validated.CONFUSION.draw(done)[0], Empty)


def test_where_nothing_is_shown_precision_over_recall_has_no_point() -> None:
    done = measured(("cat", "dog"))
    bare = tuple(replace(each, precision=float("nan")) if each.score > 0.5 else each for each in done.found.curve)

    figure = validated.precision_over_recall(replace(done, found=replace(done.found, class_curves=(bare, bare))))

    assert max(figure.data[0].y) == pytest.approx(0.5)
    assert len(figure.data[0].x) == 50


def test_val_writes_a_page_that_needs_nothing_else_and_escapes_names(weights: Path, tmp_path: Path) -> None:
    page = tmp_path / "a" / "val.html"

    done = CliRunner().invoke(app, ["val", str(weights), "--data", "digits-1", "--html", str(page), "--json"])

    assert json.loads(done.stdout)["objects"] > 0
    assert f"page  {page}" in done.stderr
    text = page.read_text()
    assert [f'id="{panel.key}"' in text for panel in VALIDATION] == [True] * len(VALIDATION)
    assert not re.search(r'(src|href)="(?!#|data:)', text.split("<script", 1)[0])


def test_it_is_said_at_which_score_and_suppression_each_number_is() -> None:
    done = measured(("cat", "dog"))

    note, *tables = validated.CLASS.draw(done)
    tiles = {tile.label: tile.detail for tile in validated.headline(done).tiles}

    assert note.text.startswith("Precision and recall of each row are at its own best F1")
    assert note.text.endswith("Suppression at IoU 0.45.")
    assert all("precision, at own best F1" in [column.heading for column in table.columns] for table in tables)
    assert tiles["mAP50"] == tiles[validated.SCORES["map50_95"]] == "suppression at IoU 0.45"
    assert tiles["best F1"] == "score 0.5, suppression at IoU 0.6"
    assert validated.CURVE.draw(done)[-1].text.startswith("Suppression at IoU 0.45")


def test_class_names_are_text_on_the_page(tmp_path: Path) -> None:
    from dashboards.validation_page import write_validation

    text = write_validation(measured(("<b>cat", "dog</script>")), tmp_path / "val.html").read_text()

    assert "<b>cat" not in text
    assert "dog</script>" not in text


def test_a_full_disk_says_which_page_it_has_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    with pytest.raises(OSError, match=r"No space left on device: '.*val\.html'"):
        write_document(tmp_path / "val.html", "<html></html>")

    assert list(tmp_path.iterdir()) == []
