"""What pages may ask of callbacks: which of them, about which parts of a page, with which kinds of values.

Anything else is answered 400 in words before a callback runs, so that a traceback in the log is a fault of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Annotated, Any, TypeAlias

from dash import Dash
from flask import Flask, Response, request
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from dashboards.state import AddressError

CALLBACKS = "/_dash-update-component"


def _is_text(text: str) -> str:
    text.encode()  # half a surrogate pair is none: UnicodeEncodeError, which is a ValueError
    return text


String: TypeAlias = Annotated[str, AfterValidator(_is_text)]
Text: TypeAlias = String | None
Texts: TypeAlias = list[String] | None
Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole: TypeAlias = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Flag: TypeAlias = Annotated[bool, Field(strict=True)]


class _ViewState(BaseModel):
    zooms: list[tuple[String, String, Number, Number]] = Field(default_factory=list)
    sorts: list[tuple[String, Whole, Flag]] = Field(default_factory=list)
    hidden: list[tuple[String, String]] = Field(default_factory=list)


class _Device(BaseModel):
    dark: Flag
    touch: Flag


class _Panel(BaseModel):
    key: String


class _Grid(BaseModel):
    panel: String
    index: Annotated[Whole, Field(ge=0)]


class _Order(BaseModel):
    colId: Annotated[str, Field(pattern=r"^c\d{1,6}$")]
    sort: str


class _Rows(BaseModel):
    startRow: Whole | None = None
    endRow: Whole | None = None
    sortModel: list[_Order] | None = None


# By a component's name, or its type and key, and the property.
_KINDS: dict[str, Any] = {
    "address.pathname": Text,
    "address.search": Text,
    "returned.data": tuple[String, Number] | Texts,
    "clock.n_intervals": Whole | None,
    "query.data": Text,
    "selection.data": Text,
    "version.data": Text,
    "view.data": _ViewState,
    "device.data": _Device | None,
    "panel.data-asked": Text,
    "panel.data-drawn": Text,
    "panel.id": _Panel,
    "grid.getRowsRequest": _Rows | None,
    "grid.id": _Grid,
    "filter verdicts.value": Texts,
    "filter states.value": Texts,
    "filter with.value": Texts,
    "filter text.value": Text,
    "filter seed.value": Whole | None,
    "range low.value": Text,
    "range high.value": Text,
    "range choices.value": Texts,
    "pair.value": Text,
    "note-save.n_clicks": Whole | None,
    "note-text.value": str | None,
    "note-tag.value": str | None,
}
KINDS: Mapping[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}


class AskedError(ValueError):
    """Something was asked for that no page asks for; the text says what."""


def check_asked(app: Dash) -> None:
    """Has the server answer 400 to what no page of ours asks of a callback."""

    server: Flask = app.server
    one_at_a_time = Lock()  # half a megabyte of empty objects takes twenty while it is checked at

    @server.before_request
    def _check() -> Response | None:
        if request.method != "POST" or request.path != CALLBACKS:
            return None
        body = request.get_data()
        try:
            with one_at_a_time:
                check_body(body, app.callback_map)
        except AskedError as error:
            return _bad(error)
        return None

    _tell_addresses(server)


def check_body(body: bytes, callbacks: Mapping[str, Any]) -> None:
    """Checks what is asked of a callback.

    Args:
        body: The bytes of the request.
        callbacks: What Dash knows of each callback, by its outputs.

    Raises:
        AskedError: It is not JSON, names no callback, or holds parts or values that the callback does not take.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AskedError(f"callback: this is not JSON that can be read: {error}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("output"), str):
        raise AskedError("callback: an object with the name of an output is needed")
    callback = callbacks.get(asked["output"])
    if callback is None or "callback" not in callback:
        raise AskedError(f"callback: there is none for {asked['output'][:200]!r}")
    _check_parts("inputs", asked.get("inputs"), callback["inputs"], has_values=True)
    _check_parts("state", asked.get("state", []), callback["state"], has_values=True)
    wanted = callback["output"]
    outputs = wanted if isinstance(wanted, list | tuple) else [wanted]
    given = asked.get("outputs")
    known = [{"id": output.component_id_str(), "property": output.component_property} for output in outputs]
    _check_parts("outputs", given if isinstance(given, list) else [given], known, has_values=False)
    changed = asked.get("changedPropIds", [])
    if not isinstance(changed, list) or not all(isinstance(name, str) for name in changed):
        raise AskedError("callback: changedPropIds is not a list of names")


def _check_parts(where: str, given: Any, known: Sequence[Mapping[str, str]], *, has_values: bool) -> None:
    if not isinstance(given, list) or len(given) != len(known):
        raise AskedError(f"callback: {where}: {len(known)} are needed")
    for part, expected in zip(given, known, strict=True):
        is_many = '["ALL"]' in expected["id"]
        if is_many is not isinstance(part, list):
            raise AskedError(f"callback: {where}: {expected['id']} is {'a list' if is_many else 'one'}")
        for each in part if is_many else [part]:
            _check_part(where, each, expected, has_values=has_values)


def _check_part(where: str, part: Any, expected: Mapping[str, str], *, has_values: bool) -> None:
    if not isinstance(part, dict):
        raise AskedError(f"callback: {where}: a part of a page is an object with id and property")
    what = str(expected["property"])
    # Of an output that several callbacks write, Dash tells each apart by what follows the sign.
    if str(part.get("property")).partition("@")[0] != what.partition("@")[0]:
        raise AskedError(f"callback: {where}: property of {expected['id']} must be {what}")
    identity = part.get("id")
    if not _is_one_of(identity, expected["id"]):
        raise AskedError(f"callback: {where}: {expected['id']} is needed")
    if not has_values:
        return
    kind = KINDS.get(f"{_name_of(identity)}.{what}")
    if kind is None:
        raise AskedError(f"callback: {where}: {_name_of(identity)[:200]!r} has no {what}")
    try:
        kind.validate_python(part.get("value"))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise AskedError(f"callback: {where}: {what} of {_name_of(identity)}: {found}") from None


def _is_one_of(identity: Any, expected: str) -> bool:
    """Whether an identity is the expected one, or fits its pattern."""
    if not expected.startswith("{"):
        return bool(identity == expected)
    pattern = json.loads(expected)
    if not isinstance(identity, dict) or set(identity) != set(pattern):
        return False
    return all(
        isinstance(identity[key], str | int) if isinstance(wanted, list) else identity[key] == wanted
        for key, wanted in pattern.items()
    )


def _name_of(identity: Any) -> str:
    if isinstance(identity, str):
        return identity
    kind = identity["type"]
    part = {"filter": "key", "range": "end"}.get(kind)
    return f"{kind} {identity[part]}" if part else str(kind)


def _tell_addresses(server: Flask) -> None:
    # A query that a page holds is an address; the callbacks that draw read it as they are asked.
    @server.errorhandler(AddressError)
    def _tell(error: AddressError) -> Response:
        return _bad(error)


def _bad(error: Exception) -> Response:
    return Response(f"{error}\n", status=400, mimetype="text/plain")
