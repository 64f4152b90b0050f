"""The native route's body: a NIM body and where it wants to run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emberank.contract.errors import BadRequest
from emberank.dialects import forge
from emberank.dialects.forge import ANYWHERE, Asked, Pin
from emberank.dialects.nim import Rules

BODY = {"query": {"text": "which way?"}, "passages": [{"text": "two roads"}]}
STRICT = Rules(ranking_unknown_fields="reject")


def rank(rules: Rules = STRICT, **fields: Any) -> Asked[Any]:
    return forge.parse_ranking(json.dumps(BODY | fields).encode(), rules)


def test_the_pages_own_request_is_a_nim_ranking_with_a_version() -> None:
    asked = rank(model="nvidia-llama-3-2-nv-rerankqa-1b-v2", truncate="END", model_version="v1")
    assert asked.call.model == "nvidia-llama-3-2-nv-rerankqa-1b-v2"
    assert asked.call.truncate == "END"
    assert asked.pin == Pin("v1", None, None)
    assert asked.ignored == ()


def test_a_pin_is_version_gpu_and_region() -> None:
    assert rank(model_version="v1", gpu_type="B200", region="us-central1").pin == Pin("v1", "B200", "us-central1")
    assert rank(version="v2").pin == Pin("v2", None, None)
    assert rank(version="v2", model_version="v2").pin == Pin("v2", None, None)


def test_without_one_it_may_run_anywhere() -> None:
    assert rank().pin is ANYWHERE


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_null_and_blank_are_absent_as_scripts_send_them(blank: str | None) -> None:
    assert rank(model_version=blank, gpu_type=blank, region=blank).pin == ANYWHERE


def test_embeddings_have_pins_too() -> None:
    asked = forge.parse_embeddings(b'{"input": "text", "gpu_type": "CPU", "extra": 1}', STRICT)
    assert asked.pin == Pin(None, "CPU", None)
    assert asked.call.inputs[0].text == "text"
    assert asked.ignored == ("extra",)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"gpu_type": 3}, "gpu_type must be a string, not a number"),
        ({"region": ["a"]}, "region must be a string, not an array"),
        ({"model_version": "v1", "version": "v2"}, "model_version is 'v1' and version is 'v2'; send one of the two"),
        ({"gpu": "B200"}, "gpu: unknown field, expected one of model, query"),
        ({"query": None}, "query: missing field"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(fields: dict[str, object], says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        rank(**fields)
    assert says in caught.value.message


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadRequest, match="the body must be a JSON object, not an array"):
        forge.parse_ranking(b"[]", STRICT)
