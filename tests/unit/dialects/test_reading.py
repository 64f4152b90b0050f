"""What every dialect's parser stands on: JSON in, checked fields or a sentence that says what would be right."""

from __future__ import annotations

import contextlib
import gc
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import BadRequest
from emberank.dialects.reading import body_object, choice, kind, optional_count, optional_text, refuse_unknown, shown, text_field, unknown_fields

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def sentence(call: object, *arguments: object) -> str:
    with pytest.raises(BadRequest) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.http_status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty; send a JSON object"),
        (b"{", "the body is not valid JSON: "),
        (b"not json", "the body is not valid JSON: "),
        (b'{"a": NaN}', "the body is not valid JSON: "),
        (b'{"a": Infinity}', "the body is not valid JSON: "),
        (b'{"a": 1e999}', "the body is not valid JSON: "),
        (b'{"a": "\xff"}', "the body is not valid JSON: "),
        (b'\xef\xbb\xbf{"a": 1}', "the body is not valid JSON: "),
        (b'{"a": "\\ud800"}', "the body is not valid JSON: "),
        (b'{"a": "\\udc00x"}', "the body is not valid JSON: "),
        (b'{"a": 1} trailing', "the body is not valid JSON: "),
        (b"{'a': 1}", "the body is not valid JSON: "),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "the body is not valid JSON: "),
        (b"[" * 1_000_000, "the body is not valid JSON: "),
        (b"[]", "the body must be a JSON object, not an array"),
        (b'"text"', "the body must be a JSON object, not a string"),
        (b"null", "the body must be a JSON object, not null"),
        (b"3", "the body must be a JSON object, not a number"),
        (b"true", "the body must be a JSON object, not a boolean"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_what_is_wrong(body: bytes, said: str) -> None:
    assert sentence(body_object, body).startswith(said)


def test_the_place_of_a_syntax_error_is_said() -> None:
    assert "(line 2, column " in sentence(body_object, b'{"a": 1,\n!}')


def test_paired_surrogates_zero_width_characters_and_emoji_are_text() -> None:
    assert body_object('{"a": "\\ud83d\\ude00\u200b👩‍🚀"}'.encode()) == {"a": "😀\u200b👩‍🚀"}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_bad_request(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(body_object(body), dict)


@pytest.mark.parametrize(
    ("value", "word"),
    [(None, "null"), (True, "a boolean"), (1, "a number"), (1.5, "a number"), ("", "a string"), ([], "an array"), ({}, "an object"), (b"", "something else")],
)
def test_every_json_value_has_a_word(value: object, word: str) -> None:
    assert kind(value) == word


@given(JSON)
def test_a_callers_value_is_shown_short_whatever_it_is(value: object) -> None:
    assert 0 < len(shown(value)) <= 84


def test_a_callers_value_is_quoted_and_cut() -> None:
    assert shown("bogus") == "'bogus'"
    assert shown(12) == "'12'"
    assert shown("x" * 81) == f"'{'x' * 80}…'"


def test_nesting_deeper_than_can_be_written_is_shown_as_its_kind() -> None:
    nested = body_object(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}")["a"]
    assert shown(nested) == "an array"


def test_unknown_fields_are_named_with_their_place_in_the_order_of_the_body() -> None:
    assert unknown_fields({"b": 1, "text": 2, "a": 3}, ("text",), "query.") == ["query.b", "query.a"]


@pytest.mark.claim("nim:ranking:unknown-field-sentence")
def test_an_unknown_field_is_refused_in_nims_words() -> None:
    known = ("model", "query", "passages", "truncate")
    assert sentence(refuse_unknown, ["return_documents"], known) == "return_documents: unknown field, expected one of model, query, passages, truncate"


def test_an_unknown_fields_name_is_cut() -> None:
    said = sentence(refuse_unknown, ["x" * 100_000], ("a",))
    assert said.startswith("x" * 80 + "…: unknown field")
    assert len(said) < 150


def test_no_unknown_field_is_no_error() -> None:
    refuse_unknown([], ("a",))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "query.text: missing field; it must be a string"),
        ({"text": None}, "query.text: missing field; it must be a string"),
        ({"text": 3}, "query.text must be a string, not a number"),
        ({"text": ["a"]}, "query.text must be a string, not an array"),
        ({"text": ""}, "query.text must not be blank or empty"),
        ({"text": " \t\n\u3000"}, "query.text must not be blank or empty"),
    ],
)
def test_a_required_text_is_a_string_with_something_in_it(fields: dict[str, object], said: str) -> None:
    assert sentence(text_field, fields, "text", "query.") == said


def test_a_required_text_comes_back_unchanged() -> None:
    assert text_field({"text": "  a "}, "text") == "  a "


def test_an_optional_text_may_be_absent_or_null_and_nothing_but_a_string() -> None:
    assert optional_text({}, "user") is None
    assert optional_text({"user": None}, "user") is None
    assert optional_text({"user": ""}, "user") == ""
    assert sentence(optional_text, {"user": 1}, "user") == "user must be a string, not a number"


def test_a_body_of_absurdly_many_fields_is_refused_and_a_large_one_is_read_without_looking_for_garbage() -> None:
    with pytest.raises(BadRequest, match="the body holds 1001 fields; no request has over 1000"):
        body_object(json.dumps({str(i): i for i in range(1001)}).encode())
    large = json.dumps({"documents": ["x" * 1000] * 400}).encode()
    assert len(body_object(large)["documents"]) == 400
    assert gc.isenabled()
    with pytest.raises(BadRequest):
        body_object(large[:-1])
    assert gc.isenabled()


def test_a_choice_is_one_of_the_set_and_null_is_absent() -> None:
    allowed = ("NONE", "END")
    assert choice({}, "truncate", allowed, "NONE") == "NONE"
    assert choice({"truncate": None}, "truncate", allowed, "END") == "END"
    assert choice({"truncate": "END"}, "truncate", allowed, "NONE") == "END"


@pytest.mark.parametrize(("value", "got"), [("end", "'end'"), (1, "'1'"), (True, "'true'"), (["END"], "an array"), ({"a": 1}, "an object")])
def test_a_choice_outside_the_set_lists_the_set(value: object, got: str) -> None:
    assert sentence(choice, {"truncate": value}, "truncate", ("NONE", "END"), "NONE") == f"truncate must be one of 'NONE', 'END'; got {got}"


@pytest.mark.parametrize(("value", "count"), [(None, None), (0, None), (0.0, None), (1, 1), (3.0, 3), (1e29, 2**53 - 1), (2**63, 2**53 - 1)])
def test_a_count_takes_null_and_zero_for_absent(value: object, count: int | None) -> None:
    assert optional_count({"top_n": value}, "top_n") == count


@pytest.mark.parametrize("value", [-1, -1.0, 1.5, True, False, "3", [3], {}, "x" * 1000])
def test_a_count_that_is_no_whole_number_from_one_on_is_refused(value: object) -> None:
    assert sentence(optional_count, {"top_n": value}, "top_n").startswith("top_n must be a whole number from 1 on; got ")
