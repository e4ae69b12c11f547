"""What a page shows, as an address: a link holds everything its sender saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, isnan
from urllib.parse import parse_qs, urlencode

from evolve import formatting

PROGRESS = ("running", "ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What is asked of one hyperparameter: a number between two ends, or one of some choices.

    Raises:
        ValueError: The ends are the wrong way round.
    """

    name: str
    low: float = -inf
    high: float = inf
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"range of {self.name}: {self.low:g} is not at or below {self.high:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which trials are shown; what is empty leaves all.

    Attributes:
        states: How far a trial is, as in `PROGRESS`, or Optuna's states, such as COMPLETE.
        verdicts: Verdicts of trials that are shown, such as diverged.
        ranges: Allowed values of hyperparameters; a trial without the hyperparameter is left out.
        text: Words that must all occur in number, verdict, reason, choices, notes or tags.
    """

    states: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether every trial passes."""
        return not (self.states or self.verdicts or self.ranges or self.text.strip())


MAX_ADDRESS = 16_000
MAX_SELECTED = 20_000
MAX_NUMBER = 2**31 - 1
MAX_FIELDS = 400
MAX_APART = 12  # trials of a study in a row that are written one by one where trials are compared
DIRECTIONS = ("asc", "desc")


class AddressError(ValueError):
    """An address that means nothing; the text says what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoom:
    """The part of an axis that a picture shows: figure, axis such as xaxis or yaxis2, and both ends."""

    figure: str
    axis: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """The order of a table: which table, which column counted from 0, and the direction."""

    table: str
    column: int
    is_descending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A curve of a picture that the reader took away by its entry in the legend."""

    figure: str
    curve: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageState:
    """What a page shows.

    Attributes:
        page: Path of the page, such as /study.
        study: Name of the study, on the pages of a study and of a trial.
        number, seed: Trial and training seed of the trial page; None is the usual seed.
        compared: Name of the study and number of the trial of each column; None in place of the number stands for the
            whole study.
        filters, pair: What the reader asked for: the rows shown depend on it.
        selected, zooms, sorts, hidden: What the reader marked, framed, ordered and took away.
    """

    page: str = "/"
    study: str = ""
    number: int = 0
    seed: int | None = None
    compared: tuple[tuple[str, int | None], ...] = ()
    filters: Filters = field(default_factory=Filters)
    pair: tuple[str, str] = ("", "")
    selected: tuple[int, ...] = ()
    zooms: tuple[Zoom, ...] = ()
    sorts: tuple[Sort, ...] = ()
    hidden: tuple[Hidden, ...] = ()

    @property
    def query(self) -> str:
        """Address without what only marks, frames and orders: what the rows depend on."""
        return to_address(replace(self, selected=(), zooms=(), sorts=(), hidden=()))


def to_address(state: PageState) -> str:
    """Path and search of a state."""
    return state.page + to_search(state)


def to_search(state: PageState) -> str:
    """The part of the address from the question mark on; empty if there is nothing to say."""
    pairs: list[tuple[str, str]] = []
    if state.page in ("/study", "/trial"):
        pairs.append(("study", state.study))
    if state.page == "/trial":
        pairs.append(("trial", str(state.number)))
    if state.seed is not None:
        pairs.append(("seed", str(state.seed)))
    pairs += [("with", text) for text in compared_texts(state.compared)]
    pairs += [("state", name) for name in state.filters.states]
    pairs += [("verdict", verdict) for verdict in state.filters.verdicts]
    pairs += [_range_pair(asked) for asked in state.filters.ranges]
    pairs += [("text", state.filters.text)] if state.filters.text.strip() else []
    pairs += [(key, name) for key, name in zip(("x", "y"), state.pair, strict=True) if name]
    pairs += [("selected", formatting.spans(state.selected))] if state.selected else []
    pairs += [("zoom", f"{zoom.low:.6g},{zoom.high:.6g},{zoom.axis},{zoom.figure}") for zoom in state.zooms]
    pairs += [("sort", f"{sort.column},{DIRECTIONS[sort.is_descending]},{sort.table}") for sort in state.sorts]
    pairs += [("hide", f"{hidden.figure},{hidden.curve}") for hidden in state.hidden]
    return f"?{urlencode(pairs)}" if pairs else ""


def from_address(address: str) -> PageState:
    """The state of an address such as `/study?study=lr_sweep`.

    Raises:
        AddressError: The address cannot be read.
    """
    if len(address) > MAX_ADDRESS:
        raise AddressError(f"address: {len(address)} characters; at most {MAX_ADDRESS} are read")
    page, _, search = address.partition("?")
    try:
        fields = parse_qs(search, keep_blank_values=False, max_num_fields=MAX_FIELDS)
        return PageState(
            page=page.rstrip("/") or "/",
            study=_last(fields, "study"),
            number=_whole("trial", _last(fields, "trial") or "0"),
            seed=_whole("seed", fields["seed"][-1]) if "seed" in fields else None,
            compared=compared_of(fields.get("with", ())),
            filters=_filters(fields),
            pair=(_last(fields, "x"), _last(fields, "y")),
            selected=tuple(numbers_of(_last(fields, "selected"))),
            zooms=tuple(_zoom(text) for text in fields.get("zoom", ())),
            sorts=tuple(_sort(text) for text in fields.get("sort", ())),
            hidden=tuple(_hidden(text) for text in fields.get("hide", ())),
        )
    except AddressError:
        raise
    except ValueError as error:
        raise AddressError(f"address: {error}") from error


def compared_texts(compared: Iterable[tuple[str, int | None]]) -> list[str]:
    """What is compared, as the address and the chooser hold it: 7:STUDY, :STUDY for all of it, or 2-9,12:STUDY.

    Args:
        compared: Name of the study and number of the trial of each column, None for all of the study. Many rising
            trials of a study are one text.
    """
    runs: list[tuple[str, list[int | None]]] = []
    for name, number in compared:
        before = runs[-1] if runs else None
        last = before[1][-1] if before else None
        if before and before[0] == name and number is not None and last is not None and number > last:
            before[1].append(number)
        else:
            runs.append((name, [number]))
    # A colon parts numbers and name, so that a whole study is written without a number.
    return [text for name, numbers in runs for text in _compared_texts(name, numbers)]


def _compared_texts(name: str, numbers: Sequence[int | None]) -> list[str]:
    if len(numbers) > MAX_APART:
        return [f"{formatting.spans(number for number in numbers if number is not None)}:{name}"]
    return [f"{'' if number is None else number}:{name}" for number in numbers]


def compared_of(texts: Iterable[str]) -> tuple[tuple[str, int | None], ...]:
    """Study and trial of each column that texts name, as `compared_texts` writes them.

    Raises:
        AddressError: One of them is not such a text, or they name too many.
    """
    found = [column for text in texts for column in _compared(text)]
    if len(found) > MAX_SELECTED:
        raise AddressError(f"with: {len(found):,} trials; at most {MAX_SELECTED:,} are compared")
    return tuple(found)


def numbers_of(text: str, key: str = "selected") -> list[int]:
    """The numbers that a text such as 2-9,12 names.

    Args:
        text: Numbers and rising ranges of numbers, separated by commas; empty for none.
        key: Name of the text in errors.

    Raises:
        AddressError: It is no such text, or names too many numbers.
    """
    found: list[int] = []
    for part in text.split(",") if text else ():
        low, _, high = part.partition("-")
        first, last = _whole(key, low), _whole(key, high or low)
        if not 0 <= last - first < MAX_SELECTED - len(found):
            raise AddressError(f"{key}: {part!r} is not a rising range, or more than {MAX_SELECTED:,} trials")
        found.extend(range(first, last + 1))
    return found


def _compared(text: str) -> list[tuple[str, int | None]]:
    numbers, colon, name = text.partition(":")
    if not colon:
        raise AddressError(f"with: {text!r} is not NUMBER:STUDY or :STUDY")
    return [(name, number) for number in numbers_of(numbers, "with")] if numbers else [(name, None)]


def _filters(fields: Mapping[str, Sequence[str]]) -> Filters:
    return Filters(
        states=tuple(fields.get("state", ())),
        verdicts=tuple(fields.get("verdict", ())),
        ranges=tuple(_range(text) for text in fields.get("range", ()))
        + tuple(_choice(text) for text in fields.get("choice", ())),
        text=_last(fields, "text")[:200],
    )


def _range_pair(asked: Range) -> tuple[str, str]:
    if asked.choices:
        return "choice", urlencode([("n", asked.name), *(("c", choice) for choice in asked.choices)])
    return "range", f"{_end(asked.low)},{_end(asked.high)},{asked.name}"


def _range(text: str) -> Range:
    low, high, name = _parts(text, "range", 3)
    return Range(name=name, low=_number(low, -inf), high=_number(high, inf))


def _choice(text: str) -> Range:
    fields = parse_qs(text, max_num_fields=MAX_FIELDS)
    if not fields.get("n") or not fields.get("c"):
        raise AddressError(f"choice: {text!r} is not n=NAME&c=CHOICE")
    return Range(name=fields["n"][0], choices=tuple(fields["c"]))


def _zoom(text: str) -> Zoom:
    low, high, axis, figure = _parts(text, "zoom", 4)
    ends = _number(low, inf), _number(high, inf)
    if not all(isfinite(end) for end in ends):
        raise AddressError(f"zoom: {text!r}: ends must be finite")
    return Zoom(figure=figure, axis=axis, low=ends[0], high=ends[1])


def _sort(text: str) -> Sort:
    column, direction, table = _parts(text, "sort", 3)
    if direction not in DIRECTIONS:
        raise AddressError(f"sort: {direction!r} is neither asc nor desc")
    return Sort(table=table, column=_whole("sort", column), is_descending=direction == "desc")


def _hidden(text: str) -> Hidden:
    figure, curve = _parts(text, "hide", 2)
    return Hidden(figure=figure, curve=curve)


def _parts(text: str, key: str, count: int) -> list[str]:
    parts = text.split(",", count - 1)
    if len(parts) != count:
        raise AddressError(f"{key}: {text!r} has {len(parts)} parts separated by commas; it needs {count}")
    return parts


def _end(value: float) -> str:
    return f"{value:.10g}" if isfinite(value) else ""


def _number(text: str, missing: float) -> float:
    value = float(text) if text else missing
    if isnan(value):
        raise AddressError(f"{text!r} is not a number")
    return value


def _whole(key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > MAX_NUMBER:
        raise AddressError(f"{key}: {text[:40]!r} is not a whole number from 0 to {MAX_NUMBER}")
    return int(text)


def _last(fields: Mapping[str, Sequence[str]], key: str) -> str:
    return fields[key][-1] if key in fields else ""
