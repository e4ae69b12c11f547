"""What a training's page shows of classes, objectness and pictures, and what it says where nothing is recorded."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, update

from dashboards.blocks import Album, Empty, Marked, Photo
from dashboards.data.reader import Reader
from dashboards.data.study_loading import load
from dashboards.data.trial import TrialView
from dashboards.figures.overlay import overlay_address
from dashboards.live.app import make_app, page_of
from dashboards.panels import STUDY, TRAINING
from dashboards.questions import classes, objectness, pictures
from dashboards.report import render, write_report
from dashboards.state import PageState
from evolve.storage import schema
from evolve.storage.database import Storage
from tests.dashboards.examples import HOSTILE
from tests.places import DATA
from tests.shown import drawn
from tests.synthetic import Plan, add_study, new_engine
from tests.synthetic_seeing import WATCHED

TRAINED = Plan(name="trained", num_trials=1, verdicts=["converged"], space={}, epochs=4)
OLD = DATA / "evolve-schema-1.db.gz"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = new_engine(tmp_path_factory.mktemp("seeing") / "study.db")
    add_study(engine, TRAINED)
    add_study(engine, Plan(name="searched", num_trials=2, verdicts=["converged"] * 2))
    add_study(engine, replace(TRAINED, name="not recorded", log_steps=False))
    return engine


def view_of(engine: Engine, name: str = "trained") -> TrialView:
    view = Reader(str(engine.url)).view(PageState(page="/trial", study=name, number=0))
    assert isinstance(view, TrialView)
    return view


def test_each_class_with_labels_has_its_curve_and_every_class_its_row(engine: Engine) -> None:
    found = classes.rows(view_of(engine))

    assert isinstance(found, classes.ByClass)
    assert [name for name, _ in found.curves[0].curves] == ["one", "zero"]  # the worst first; two has no label
    assert [row[:3] for row in found.last.rows] == [
        (name, split, labels) for name, labels in (("zero", 40), ("one", 20), ("two", 0)) for split in ("val", "test")
    ]
    with engine.connect() as connection:
        stored = connection.execute(
            select(schema.class_scores.c.map50).where(
                schema.class_scores.c.trial_id == 1,
                schema.class_scores.c.class_index == 0,
                schema.class_scores.c.split == "val",
            )
        ).scalars()
        assert found.curves[0].curves[1][1].y.tolist() == list(stored)


def test_of_many_classes_the_worst_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "many.db")
    add_study(engine, TRAINED)
    table = schema.class_scores
    with engine.begin() as connection:
        connection.execute(table.delete())
        keys = {"trial_id": 1, "seed": 0, "split": "val", "epoch": 0, "objects": 1}
        scores = dict.fromkeys(("precision", "recall", "map50_95"), 0.5)
        rows = [keys | scores | {"class_index": index, "map50": index / 20} for index in range(20)]
        connection.execute(insert(table), rows)
    found = classes.rows(view_of(engine))

    assert isinstance(found, classes.ByClass)
    assert len(found.curves[0].curves) == classes.MAX_CURVES
    assert found.curves[0].slots == tuple(range(classes.MAX_CURVES))
    assert "The 8 of 20 classes with the lowest AP50" in repr(classes.blocks(found))
    assert len(found.last.rows) == 20


def test_objectness_is_shown_by_scale_for_matched_predictions_and_others(engine: Engine) -> None:
    found = objectness.rows(view_of(engine))
    spread = objectness.spread_rows(view_of(engine))

    assert not isinstance(found, Empty) and not isinstance(spread, Empty)
    assert [each.stride for each in found] == [32, 16]
    assert found[0].matched["epoch"].tolist() == [1, 2, 3, 4]
    assert found[0].matched["objectness_mean"].is_monotonic_increasing
    assert (found[0].others["places"] == 900).all()
    np.testing.assert_allclose(spread[0].shares.sum(0), 1)
    assert [epoch for epoch, _ in spread[0].densities] == [1, 2, 3, 4]
    figure = objectness.draw_spread(spread)[2]
    assert [trace.visible for trace in figure.data] == [False, False, False, True]
    for place, step in enumerate(figure.layout.sliders[0].steps):
        assert list(np.flatnonzero(step.args[0]["visible"])) == [place]


def test_pictures_have_what_was_found_after_each_epoch(engine: Engine) -> None:
    album, batch = pictures.rows(view_of(engine)), pictures.batch_rows(view_of(engine))

    assert isinstance(album, Album) and isinstance(batch, Album)
    assert [photo.jpeg for photo in album.photos] == [picture.jpeg for picture in WATCHED]
    assert [title for title, _ in album.pages] == [f"after epoch {epoch} ({epoch} of 4)" for epoch in (1, 2, 3, 4)]
    assert [each.text for each in album.pages[0][1][0]] == ["zero 0.91", "one 0.15"]
    assert [len(found) for _, found in album.pages[1:3] for found in found] == [2, 1, 2, 0]
    assert len(batch.photos) == len(batch.pages) == 1


def test_what_is_drawn_over_a_picture_is_well_formed_whatever_a_class_is_called() -> None:
    marked = [Marked(corners=(0, 100, 500, 900), name=name, slot=1, score=0.9) for name in (HOSTILE, "</svg>&")]
    label = Marked(corners=(0, 0, 0, 0), name=HOSTILE, slot=0)

    address = overlay_address(Photo(jpeg=b"", width=40, height=20, labels=()), [*marked, label])

    drawing = ElementTree.fromstring(b64decode(address.partition(",")[2]))
    assert drawing.attrib["viewBox"] == "0 0 520 260"
    assert {each.tag.rpartition("}")[2] for each in drawing.iter()} == {"svg", "g", "rect", "text"}


def test_a_training_has_a_report_without_a_word_of_search(engine: Engine, tmp_path: Path) -> None:
    page = write_report(engine, "trained", tmp_path / "report.html").read_text()

    assert re.findall(r'<section id="([^"]+)"', page) == [panel.key for panel in TRAINING]
    assert "hyperparameter was searched" not in page and "hyperparameter is searched" not in page
    assert page.count("<img") == 2 * 4 + 1  # pictures by epoch, and the first batch
    assert 'src="http' not in page
    searched = render(load(engine, "searched"))
    sections = re.findall(r'<section id="([^"]+)"', searched)
    assert sections == [panel.key for panel in STUDY if panel.key in sections or not panel.is_optional]


def test_the_page_of_a_training_has_the_same_panels_and_csv_of_its_pictures(engine: Engine) -> None:
    state = PageState(page="/study", study="trained")
    reader = Reader(str(engine.url))

    assert "cannot be drawn" not in drawn(reader, state)
    assert len(page_of(reader, state)) == 4
    client = make_app(str(engine.url)).server.test_client()
    answer = client.get("/data/study/pictures/0.csv?study=trained")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.status_code == 200
    assert [row["when"] for row in rows[:4]] == ["labelled"] * 4
    assert {"when": "after epoch 1 (1 of 4)", "picture": "1", "class": "zero", "score": "0.91"}.items() <= rows[
        4
    ].items()


def test_what_is_not_recorded_is_said(engine: Engine) -> None:
    view = view_of(engine, "not recorded")

    for rows in (classes.rows, objectness.rows, objectness.spread_rows, pictures.rows, pictures.batch_rows):
        found = rows(view)
        assert isinstance(found, Empty) and "not recorded" in found.text


def test_an_older_database_says_so_before_and_after_it_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with gzip.open(OLD) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)

    for _ in range(2):
        reader = Reader(f"sqlite:///{path}")
        shown = drawn(reader, PageState(page="/trial", study="old", number=0))
        assert shown.count("recorded for this training") == 5
        assert "cannot be drawn" not in shown
        reader.close()
        Storage(f"sqlite:///{path}").close()


def test_a_picture_of_another_study_is_not_shown(engine: Engine) -> None:
    assert isinstance(pictures.rows(view_of(engine, "searched")), Album)
    with engine.begin() as connection:
        own = schema.picture.c.study_id == 2
        assert connection.execute(update(schema.picture).where(own).values(study_id=77)).rowcount
    assert isinstance(pictures.rows(view_of(engine, "searched")), Empty)
