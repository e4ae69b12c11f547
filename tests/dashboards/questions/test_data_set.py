"""Pictures of what a data set holds."""

from __future__ import annotations

from dashboards.questions import data_set
from detector.audited import Audited


def test_classes_whose_names_begin_alike_have_a_bar_each_with_the_whole_name_beside_it() -> None:
    boxes = {"construction worker with helmet": 7, "construction worker without": 5, "dog": 9}
    found = Audited(source="a", image_size=64, summary={"splits": {"train": {"boxes_by_class": boxes}}})

    figure = data_set.class_figure(found)

    (bars,) = figure.data
    assert (list(bars.y), list(bars.x)) == ([0, 1, 2], [9, 7, 5])
    assert list(bars.text) == ["dog", "construction worker with helmet", "construction worker without"]
    assert list(figure.layout.yaxis.tickvals) == [0, 1, 2]
    assert list(figure.layout.yaxis.ticktext) == ["dog", *["construction work…"] * 2]
