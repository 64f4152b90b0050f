"""What is served, in the shapes in which other servers' clients ask for it."""

from __future__ import annotations

import json

from emberank.dialects.served import Served, model_entry, render_health, render_infinity_models, render_info, render_models

RANKER = Served(id="acme/rank", task="rank", created=1779146207, owner="acme", engine="openvino", max_tokens=512, dtype="float32", max_entries=10_000)
EMBEDDER = Served(id="embed", task="embed", created=1779146208, owner="local", pooling="mean", dimensions=384, max_entries=8192, tokenizers=2)
BARE = Served(id="elsewhere", task="embed", created=0, owner="local")


def test_openais_list_says_what_a_model_is_for_and_its_root_is_itself() -> None:
    assert json.loads(render_models([RANKER, EMBEDDER])) == {
        "object": "list",
        "data": [
            {"id": "acme/rank", "object": "model", "created": 1779146207, "owned_by": "acme", "root": "acme/rank", "model_type": "ranking"},
            {"id": "embed", "object": "model", "created": 1779146208, "owned_by": "local", "root": "embed", "model_type": "embedding"},
        ],
    }


def test_infinitys_list_is_the_same_with_infinitys_fields() -> None:
    listed = json.loads(render_infinity_models([RANKER, BARE]))
    assert listed["object"] == "list"
    assert listed["data"] == [
        model_entry(RANKER) | {"owned_by": "infinity", "stats": {}, "backend": "openvino", "capabilities": ["rerank"]},
        model_entry(BARE) | {"owned_by": "infinity", "stats": {}, "backend": "", "capabilities": ["embed"]},
    ]


def test_no_model_is_an_empty_list() -> None:
    assert json.loads(render_models([])) == json.loads(render_infinity_models([])) == {"object": "list", "data": []}


def test_info_of_a_reranker_has_teis_one_key_and_its_labels() -> None:
    assert json.loads(render_info(RANKER, "1.2.3")) == {
        "model_id": "acme/rank",
        "model_sha": None,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "model_dtype": "float32",
        "max_input_length": 512,
        "max_client_batch_size": 10_000,
        "max_batch_requests": None,
        "auto_truncate": False,
        "version": "1.2.3",
        "sha": None,
        "docker_label": None,
    }


def test_info_of_an_embedder_says_how_it_pools() -> None:
    said = json.loads(render_info(EMBEDDER, "1"))
    assert said["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (said["tokenization_workers"], said["dimensions"], said["max_client_batch_size"]) == (2, 384, 8192)


def test_what_is_not_known_is_left_out_and_never_null_where_a_number_is_expected() -> None:
    said = json.loads(render_info(BARE, "1"))
    assert {name for name, value in said.items() if value is None} == {"model_sha", "max_batch_requests", "sha", "docker_label"}
    assert list(said["model_type"]) == ["embedding"]
    assert not said.keys() & {"max_input_length", "max_client_batch_size", "max_concurrent_requests", "max_batch_tokens", "model_dtype", "tokenization_workers"}


def test_health_says_when_it_was_said() -> None:
    assert json.loads(render_health(1779146207.25)) == {"unix": 1779146207.25}
