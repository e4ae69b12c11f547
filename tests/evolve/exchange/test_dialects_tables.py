"""What the tables of the dialects promise together: one declaration serves both ways, notes, refusals and presets."""

from dataclasses import replace
from fractions import Fraction

import pytest

from detector.hyperparameters import Hyperparameters, allowed_choices, names
from evolve.errors import StudyError
from evolve.exchange.dialects import TABLES, Context, engine, from_dialect, preset, to_dialect, yolov3
from evolve.exchange.dialects.engine import Tabled
from evolve.exchange.dialects.exact import scaled
from evolve.exchange.dialects.table import Fixed, Table, renamed, same

EVERY_TABLE = pytest.mark.parametrize("name", TABLES)


@EVERY_TABLE
def test_a_number_that_a_table_says_nothing_of_is_named_where_it_is_not_the_default(name):
    bare, context = Tabled(replace(TABLES[name], absent={})), Context(model="yolov3-tiny", classes=3, image_size=320)
    usual = Hyperparameters(lrf=0.0001 if name == "yolov3-early" else 0.0)

    said, silent = (bare.to_dialect(replace(usual, ema_decay=decay), context).notes for decay in (0.75, 0.999))

    assert [note for note in said if "ema_decay 0.75" in note and "no keys for these" in note]
    assert not [note for note in silent if "ema_decay" in note]


@EVERY_TABLE
def test_a_key_stands_in_a_table_once(name):
    keys = [key.name for key in TABLES[name].keys]

    assert len(keys) == len(set(keys))


@EVERY_TABLE
def test_a_preset_is_what_the_trainer_does_and_says_what_differs(name):
    found = preset(name, Context(model="yolov3-tiny", classes=3, image_size=320))

    assert found.notes[0].startswith("preset: ")
    assert not any(note.startswith("missing keys") for note in found.notes)
    for fixed in TABLES[name].fixed:
        if fixed.ours in names() and isinstance(fixed.value, bool | float | str):
            if fixed.value not in (allowed_choices(fixed.ours) or (fixed.value,)):
                continue  # a choice that we do not have yet
            assert getattr(found.values, fixed.ours) == fixed.value


def test_the_preset_of_yolov3_has_its_effective_gains():
    values = preset("yolov3", Context(model="yolov3-tiny", classes=4, image_size=320, batch_size=24)).values

    assert (values.box, values.noobj, values.cls) == pytest.approx((0.05 * 1.5, 0.25 * 1.5, 0.5 * 4 / 80 * 1.5))
    assert values.weight_decay == pytest.approx(0.0005 * 24 * 3 / 64)


def test_the_presets_of_v8_and_darknet_are_their_published_trainings():
    early, cfg = preset("yolov3-early", Context()).values, preset("darknet", Context()).values

    assert (early.schedule, early.lrf, early.weight_decay) == ("cosine", 0.05, 0.000484)
    assert (cfg.schedule, cfg.lr0, cfg.nesterov, cfg.lrf) == ("steps", 0.001, False, pytest.approx(0.01))


def test_a_preset_of_our_own_does_not_exist():
    with pytest.raises(StudyError, match="unknown dialect 'native'"):
        preset("native", Context())


def test_a_choice_that_we_do_not_have_is_noted_both_ways():
    fixed = (Fixed("activation", "mish", "is Mish there."), Fixed("box_loss", "eiou", "is EIoU there."))
    dialect = Tabled(Table(name="new", keys=tuple(same(lr0="0.5")), fixed=fixed))

    export = dialect.to_dialect(Hyperparameters(), Context())
    back = dialect.from_source(dialect.read("lr0: 0.2\n", "h"), Context())

    assert {"activation: is Mish there.", "box_loss ciou: is EIoU there."} <= {*export.notes}
    assert [note for note in back.notes if "cannot be chosen here" in note] == [
        "activation mish: cannot be chosen here; is Mish there.",
        "box_loss eiou: cannot be chosen here; is EIoU there.",
    ]


def test_a_choice_that_we_have_is_made_in_an_import_and_noted_in_an_export_that_differs():
    export = to_dialect("yolov3", Hyperparameters(box_loss="giou"), Context())
    same = to_dialect("yolov3", Hyperparameters(box_loss="ciou"), Context())

    assert from_dialect("yolov3", export.text(), Context(), origin="h").values.box_loss == "ciou"
    assert any(note.startswith("box_loss giou: a box is learned by") for note in export.notes)
    assert not any(note.startswith("box_loss") for note in same.notes)


def test_a_choice_that_we_get_is_made_in_an_import_and_noted_only_where_it_differs(monkeypatch):
    fixed = Fixed("schedule", "cosine", "always falls by a cosine there.")  # stands for a choice that is new here
    dialect = Tabled(Table(name="new", keys=tuple(same(lr0="0.5")), fixed=(fixed,)))
    values = Hyperparameters(schedule="cosine")

    imported = dialect.from_source(dialect.read("lr0: 0.2\n", "h"), Context())

    assert (imported.values, imported.notes) == (replace(values, lr0=0.2), ())
    assert not any(note.startswith("schedule") for note in dialect.to_dialect(values, Context()).notes)
    assert "schedule linear: always falls by a cosine there." in dialect.to_dialect(Hyperparameters(), Context()).notes


def test_ours_that_a_table_has_never_heard_of_are_noted_once_they_differ_from_their_defaults():
    dialect = Tabled(Table(name="new", keys=(renamed("learning_rate", "lr0", "0.5"),)))

    (usual,) = dialect.to_dialect(Hyperparameters(), Context()).notes
    (unusual,) = dialect.to_dialect(Hyperparameters(box=2.0), Context()).notes

    assert "box_loss ciou" in usual and "box 2" not in usual
    assert ", box 2, " in unusual


def test_a_sentence_is_silent_where_one_of_its_facts_is_none():
    table = Table(name="new", keys=(), facts={"nothing": lambda _case: None}, how=("{nothing} is here", "a {name}"))
    table = replace(table, facts={**table.facts, "name": lambda _case: "new"})

    assert Tabled(table).to_dialect(Hyperparameters(), Context()).how == ("a new",)


def test_a_number_that_is_shown_between_two_floats_is_scaled_like_any_other():
    value, factor = 1.954626846850297e16, Fraction(4207, 1239)

    assert float(Fraction(scaled(value, factor)) / factor) == value


def test_defaults_that_tests_and_result_files_use_are_those_of_the_table():
    assert yolov3.TABLE.defaults == yolov3.DEFAULTS
    assert engine.Tabled(yolov3.TABLE).preset(Context()).values.lr0 == float(yolov3.DEFAULTS["lr0"])
