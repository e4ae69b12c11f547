"""What callbacks are asked, and what is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.live.app import make_app
from dashboards.live.connections import MAX_BODY
from dashboards.state import MAX_SELECTED
from tests.dashboards.live.serving import NAME


def bodies(large_url: str) -> list[dict[str, Any]]:
    """What pages ask of each callback that the server answers, with values as they are."""
    values: dict[str, Any] = {
        "address.pathname": "/study",
        "address.search": f"?study={NAME}",
        "returned.data": [],
        "clock.n_intervals": 1,
        "query.data": f"/study?study={NAME}",
        "selection.data": "1-3",
        "view.data": {"zooms": [["history-0", "xaxis", 0, 9.5]], "sorts": [["t-0", 1, True]], "hidden": [["a", "b"]]},
        "device.data": {"dark": False, "touch": False},
        "panel.data-asked": "now",
        "panel.id": {"type": "panel", "key": "trials", "lines": "no"},
        "grid.getRowsRequest": {"startRow": 0, "endRow": 9, "sortModel": [{"colId": "c1", "sort": "desc"}]},
        "grid.id": {"type": "grid", "panel": "trials", "index": 0},
        "filter.value": ["converged"],
        "note-save.n_clicks": 1,
        "note-text.value": "",
    }
    own: dict[str, Any] = {kind: values[f"{kind}.id"] for kind in ("panel", "grid")}
    own |= {"filter": {"type": "filter", "key": "verdicts"}, "message": {"type": "message", "key": "filters"}}

    def part(identity: str, what: str) -> Any:
        if not identity.startswith("{"):
            return {"id": identity, "property": what, "value": values.get(f"{identity}.{what}")}
        pattern = json.loads(identity)
        kind = pattern["type"]
        found = {"id": own.get(kind), "property": what, "value": values.get(f"{kind}.{what}")}
        return found if ["MATCH"] in pattern.values() else [found] if kind in own else []

    found = []
    for output, callback in make_app(large_url).callback_map.items():
        if "callback" not in callback:
            continue
        wanted = callback["output"] if isinstance(callback["output"], list) else [callback["output"]]
        outputs = [part(each.component_id_str(), each.component_property) for each in wanted]
        inputs, state = (
            [part(each["id"], each["property"]) for each in callback[kind]] for kind in ("inputs", "state")
        )
        first = inputs[0] if isinstance(inputs[0], dict) else inputs[3]
        name = first["id"] if isinstance(first["id"], str) else json.dumps(first["id"], separators=(",", ":"))
        found.append(
            {
                "output": output,
                "outputs": outputs if isinstance(callback["output"], list) else outputs[0],
                "inputs": inputs,
                "state": state,
                "changedPropIds": [f"{name}.{first['property']}"],
            }
        )
    return found


def ask(client: Any, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/_dash-update-component", data=data, content_type="application/json")


def test_every_callback_answers_what_pages_ask(large_url: str) -> None:
    client = make_app(large_url).server.test_client()
    asked = bodies(large_url)

    assert len(asked) == 6
    for body in asked:
        answer = ask(client, body)
        assert answer.status_code in (200, 204), (body["output"], answer.text)


def test_the_largest_selection_fits_into_a_body(large_url: str) -> None:
    scattered = ",".join(str(10**6 + 2 * each) for each in range(MAX_SELECTED))
    (body,) = (each for each in bodies(large_url) if "data-drawn" in each["output"])
    body["inputs"][0]["value"] = json.dumps([f"/study?study={NAME}", "version", {}, scattered])
    for part in body["state"]:
        part["value"] = scattered if part["id"] == "selection" else part["value"]

    assert len(json.dumps(body)) < MAX_BODY
    assert ask(make_app(large_url).server.test_client(), body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"output":' * 50_000,
        b"1" * 100_000,
        b"[]",
        b"null",
        b"{}",
        b'{"output": 5}',
        b'{"output": "nothing.children"}',
        b'{"output": "device.data", "inputs": [{"id": "page", "property": "id"}]}',
    ],
    ids=range(12),
)
def test_junk_is_answered_400_in_words(large_url: str, body: bytes) -> None:
    answer = ask(make_app(large_url).server.test_client(), body)

    assert answer.status_code == 400
    assert answer.text.startswith("callback: ")


JUNK: tuple[Any, ...] = (
    None,
    5,
    -1,
    10**400,
    1e308,
    float("nan"),
    True,
    "",
    "x",
    "\ud800",
    "/study?selected=9-1",
    [],
    [5],
    [[]],
    [None],
    {},
    {"zooms": 5},
    {"zooms": [[1]]},
    {"type": "panel"},
    {"startRow": "x"},
    {"sortModel": [{"colId": "x"}]},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in what is asked something stands."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


def with_junk(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = with_junk(value[path[0]], path[1:], junk)
    return changed


def test_no_wrong_value_anywhere_reaches_a_callback_as_a_fault(
    large_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app(large_url).server.test_client()
    random_junk = random.Random(0)
    statuses: dict[int, int] = {}
    for body in bodies(large_url):
        for path in places(body):
            for junk in random_junk.sample(JUNK, 4):
                answer = ask(client, with_junk(body, path, junk))
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code in (200, 204, 400), (body["output"], path, junk)

    assert statuses[400] > 100
    assert "Traceback" not in caplog.text


def test_hosts_and_origins_that_are_none_are_refused(large_url: str) -> None:
    client = make_app(large_url).server.test_client()
    for host in ("[", "[::1", "]", "127.0.0.1:x", "a b", ""):
        assert client.get("/", headers={"Host": host}).status_code in (200, 400, 421)
    for origin in ("http://[", "null", "", "http://"):
        headers = {"Origin": origin}
        assert client.post("/_dash-update-component", json={}, headers=headers).status_code == 403
