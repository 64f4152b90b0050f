"""The fleet's values as JSON and back: nothing is lost, nothing that does not fit gets in."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import EndpointLoad, LoadReport, ModelRow, Revisions, Snapshot, TargetRow, UsageRecord, VersionRow, Wish
from emberank.dialects.fleet import SnapshotCall, decode_report, decode_snapshot, decode_wish, encode, read_snapshot_fields, snapshot_fields


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of the contract."""
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{each.name: values_of(hints[each.name]) for each in fields(hint)})
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return st.sampled_from(inner)
    if get_origin(hint) in (Union, UnionType):
        return st.none() | values_of(inner[0])
    if get_origin(hint) is tuple:
        return st.lists(values_of(inner[0]), max_size=3).map(tuple) if inner[1:] == (...,) else st.tuples(*map(values_of, inner))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=12),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
    }
    return plain[hint]


@given(values_of(Snapshot))
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode(snapshot)) == snapshot


@given(values_of(LoadReport))
def test_a_report_comes_back_as_it_was(report: LoadReport) -> None:
    assert decode_report(encode(report)) == report


@given(values_of(Wish))
def test_a_wish_comes_back_as_it_was(wish: Wish) -> None:
    assert decode_wish(encode(wish)) == wish


WORDS = st.text("abc-0129._", min_size=1, max_size=12)


@given(
    st.builds(
        SnapshotCall,
        gateway_id=WORDS,
        forge_id=st.text(max_size=8),
        known=values_of(Revisions).filter(lambda r: min(r.models, r.endpoints, r.principals) >= 0),
        wait_s=st.floats(0, 1e6),
    )
)
def test_what_a_snapshot_is_asked_with_comes_back_as_it_was(call: SnapshotCall) -> None:
    assert read_snapshot_fields(snapshot_fields(call)) == call


@given(values_of(Snapshot), st.data())
def test_a_field_that_is_missing_is_refused_unless_it_has_a_default(snapshot: Snapshot, data: st.DataObject) -> None:
    written = orjson.loads(encode(snapshot))
    each = data.draw(st.sampled_from(fields(Snapshot)))
    del written[each.name]
    if each.default is MISSING and each.default_factory is MISSING:
        with pytest.raises(BadRequest, match=f"{each.name} is missing"):
            decode_snapshot(orjson.dumps(written))
    else:
        assert getattr(decode_snapshot(orjson.dumps(written)), each.name) == each.default


@given(values_of(LoadReport))
def test_a_field_that_nobody_knows_is_passed_over_at_any_depth(report: LoadReport) -> None:
    def more(value: Any) -> Any:
        if isinstance(value, dict):
            return {"later": {"a": [1]}} | {name: more(item) for name, item in value.items()}
        return [more(item) for item in value] if isinstance(value, list) else value

    assert decode_report(orjson.dumps(more(orjson.loads(encode(report))))) == report


ROW = asdict(TargetRow(gpu_type="CPU", region="local", status="works", runnable=True))
MODEL = asdict(ModelRow(slug="m", id="o/m", task="rank", names=("m",), created=1, owner="o", versions=(VersionRow(name="v1", targets=()),)))
USAGE = asdict(
    UsageRecord(
        at_s=1.5, request_id="r", key_id="k", slug="m", version="v1", gpu_type="CPU", region="local", route="/v1/ranking", status=200, tokens=1, passages=1,
        chars=1, request_ms=1.0, model_ms=1.0, queue_ms=0.0, cold_start_ms=0.0, cost_usd=0.0,
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"forge_id": 1}, "forge_id must be a string, not a number"),
        ({"forge_id": None}, "forge_id must be a string, not null"),
        ({"revisions": []}, "revisions must be an object, not an array"),
        ({"revisions": {"models": 1.0}}, "revisions.models must be a whole number"),
        ({"revisions": {"models": True}}, "revisions.models must be a whole number"),
        ({"models": {}}, "models must be an array, not an object"),
        ({"models": [MODEL, {}]}, "models[1].slug is missing"),
        ({"models": [MODEL | {"task": "write"}]}, "models[0].task must be one of 'rank', 'embed'; got 'write'"),
        ({"models": [MODEL | {"names": ["a", 2]}]}, "models[0].names[1] must be a string, not a number"),
        ({"models": [MODEL | {"versions": [{"name": "v1", "targets": [ROW, ROW | {"runnable": 1}]}]}]}, "models[0].versions[0].targets[1].runnable must be true or false, not a number"),
        ({"models": [MODEL | {"versions": [{"name": "v1", "targets": [ROW | {"price_usd_per_hour": "1"}]}]}]}, "targets[0].price_usd_per_hour must be a number, not a string"),
        ({"endpoints": [{"phase": "HOT"}]}, "endpoints[0].id is missing"),
        ({"principals": [None]}, "principals[0] must be an object, not null"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(change: dict[str, Any], said: str) -> None:
    snapshot = {"forge_id": "f", "revisions": {}} | change
    with pytest.raises(BadRequest) as refused:
        decode_snapshot(orjson.dumps(snapshot))
    assert refused.value.message.endswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"usage": [USAGE | {"status": "200"}]}, "usage[0].status must be a whole number"),
        ({"key_last_used": [["k"]]}, "key_last_used[0] must be an array of 2 values"),
        ({"key_last_used": [["k", "1"]]}, "must be a number, not a string"),
        ({"number": None}, "number must be a whole number"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        decode_report(orjson.dumps({"gateway_id": "g", "number": 1} | change))
    assert refused.value.message.endswith(said)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"slug": NaN}', b'{"slug":"\\ud800"}', b'{"slug":"a"}' + b"[" * 100_000, b'{"a":' * 5000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_wish(body)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nothing_but_a_bad_request_comes_of_junk(body: bytes) -> None:
    for decode in (decode_snapshot, decode_wish, decode_report):
        try:
            decode(body)
        except BadRequest as refused:
            assert refused.message  # noqa: PT017


def test_a_part_that_has_not_changed_stays_none_and_an_empty_one_stays_empty() -> None:
    snapshot = Snapshot(forge_id="f", revisions=Revisions(models=3), models=(), endpoints=None)
    back = decode_snapshot(encode(snapshot))
    assert (back.models, back.endpoints, back.principals) == ((), None, None)


def test_whole_numbers_are_numbers_and_come_out_as_floats() -> None:
    report = decode_report(b'{"gateway_id":"g","number":1,"loads":[{"endpoint_id":"e","in_flight":0,"idle_s":3}]}')
    assert report.loads == (EndpointLoad(endpoint_id="e", in_flight=0, idle_s=3.0),)
    assert type(report.loads[0].idle_s) is float


def test_text_that_is_not_unicode_does_not_keep_the_rest_back() -> None:
    wish = Wish(slug="caf\udce9", region="local")
    assert decode_wish(encode(wish)) == Wish(slug="caf?", region="local")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"gateway": ""},
        {"gateway": "g", "models": "-1"},
        {"gateway": "g", "models": "1_0"},
        {"gateway": "g", "models": "٣"},
        {"gateway": "g", "endpoints": "9" * 30},
        {"gateway": "g", "wait": "inf"},
        {"gateway": "g", "wait": "nan"},
        {"gateway": "g", "wait": "-1"},
        {"gateway": "g", "wait": "soon"},
    ],
)
def test_a_query_that_does_not_fit_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        read_snapshot_fields(query)


def test_a_short_query_asks_for_everything_at_once() -> None:
    assert read_snapshot_fields({"gateway": "g"}) == SnapshotCall(gateway_id="g", forge_id="", known=Revisions(), wait_s=0.0)
