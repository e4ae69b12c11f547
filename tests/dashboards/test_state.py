"""A page as an address, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.live.controls import view_state_of, with_view_state
from dashboards.state import (
    MAX_SELECTED,
    AddressError,
    Filters,
    Hidden,
    PageState,
    Range,
    Sort,
    Zoom,
    from_address,
    numbers_of,
    to_address,
)
from evolve import formatting


@given(
    name=st.text(min_size=1, max_size=30),
    selected=st.sets(st.integers(0, 500), max_size=40),
    verdicts=st.sets(st.text(min_size=1, max_size=8), max_size=3),
    low=st.floats(-1e6, 1e6),
    column=st.integers(0, 99),
    is_descending=st.booleans(),
)
def test_an_address_holds_the_whole_state(
    name: str, selected: set[int], verdicts: set[str], low: float, column: int, is_descending: bool
) -> None:
    state = PageState(
        page="/study",
        study=name,
        filters=Filters(
            verdicts=tuple(verdicts),
            ranges=(Range(name=name, low=float(f"{low:.10g}")), Range(name="a,b&c", choices=("x", name))),
            text="two words",
        ),
        pair=(name, ""),
        selected=tuple(sorted(selected)),
        zooms=(Zoom(figure="history-0", axis="xaxis", low=-1.5, high=20.0),),
        sorts=(Sort(table="trials-0", column=column, is_descending=is_descending),),
        hidden=(Hidden(figure="history-0", curve=name),),
    )

    assert from_address(to_address(state)) == state
    assert with_view_state(
        PageState(selected=state.selected), formatting.spans(selected), view_state_of(state)
    ) == replace(PageState(), selected=state.selected, zooms=state.zooms, sorts=state.sorts, hidden=state.hidden)
    assert state.query == to_address(replace(state, selected=(), zooms=(), sorts=(), hidden=()))


@given(numbers=st.sets(st.integers(0, 2000)))
def test_numbers_are_written_as_runs_and_read_back(numbers: set[int]) -> None:
    assert numbers_of(formatting.spans(numbers)) == sorted(numbers)


def test_as_many_numbers_as_are_allowed_are_read_and_one_more_is_refused() -> None:
    assert len(numbers_of(f"1-{MAX_SELECTED}")) == MAX_SELECTED
    for text in (f"0-{MAX_SELECTED}", f"0,2-{MAX_SELECTED + 1}"):
        with pytest.raises(AddressError, match=f"more than {MAX_SELECTED:,} trials"):
            numbers_of(text)


@pytest.mark.parametrize(
    "address",
    [
        "/study?selected=9-1",
        "/study?selected=0-999999999",
        "/study?selected=x",
        "/trial?study=a&trial=-1",
        "/trial?study=a&trial=99999999999999999999",
        "/study?range=1,0,lr0",
        "/study?range=nan,1,lr0",
        "/study?range=lr0",
        "/study?zoom=1,inf,xaxis,history-0",
        "/study?sort=2,up,trials-0",
        "/study?sort=-2,asc,trials-0",
        "/study?hide=history-0",
        "/compare?with=abc",
        "/study?study=" + "x" * 20_000,
        "/study?" + "&".join(["state=a"] * 1000),
    ],
)
def test_an_address_that_means_nothing_is_refused_in_words(address: str) -> None:
    with pytest.raises(AddressError, match=r"\w+"):
        from_address(address)
