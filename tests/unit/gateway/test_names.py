"""A name as some caller writes it in, the model out."""

from __future__ import annotations

import pytest

from emberank.gateway.errors import UnknownModel
from emberank.gateway.names import Names
from fleets import model

RERANKER = model(
    "nvidia-llama-3-2-nv-rerankqa-1b-v2",
    id="nvidia/llama-3.2-nv-rerankqa-1b-v2",
    names=("nvidia-llama-3-2-nv-rerankqa-1b-v2", "nvidia/llama-3.2-nv-rerankqa-1b-v2", "nvidia/llama-nemotron-rerank-1b-v2"),
)
SMALL = model("small-rank")
EMBEDDER = model("acme-embed", "embed")
BOTH = model("acme-rank-2", "embed", names=("acme-rank-2", "other/small-rank"))
NAMES = Names([RERANKER, SMALL, EMBEDDER, BOTH])


@pytest.mark.parametrize(
    "name",
    [
        "nvidia/llama-3.2-nv-rerankqa-1b-v2",
        "nvidia/llama-3_2-nv-rerankqa-1b-v2",
        "llama-3.2-nv-rerankqa-1b-v2",
        "NVIDIA/Llama-3.2-NV-RerankQA-1B-v2",
        "nvidia-llama-3-2-nv-rerankqa-1b-v2",
        "llama-nemotron-rerank-1b-v2",
        "ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2",
        " nvidia/llama-3.2-nv-rerankqa-1b-v2 ",
    ],
)
def test_every_way_to_write_a_name_is_the_model(name: str) -> None:
    assert NAMES.resolve(name, "rank") is RERANKER
    assert NAMES.of_any_task(name) is RERANKER


@pytest.mark.parametrize("name", [None, "", "default", "default/not-specified"])
def test_without_a_name_it_is_the_first_model_of_the_task(name: str | None) -> None:
    assert NAMES.resolve(name, "rank") is RERANKER
    assert NAMES.resolve_embedder(name) == (EMBEDDER, None)


def test_without_a_name_a_key_for_some_models_gets_the_first_of_these() -> None:
    assert NAMES.resolve(None, "rank", ("acme-embed", "small-rank")) is SMALL


def test_a_key_for_some_models_is_told_of_no_others() -> None:
    for task in ("rank", "embed"):
        with pytest.raises(UnknownModel) as refusal:
            NAMES.resolve("nobody", task, ("small-rank",))  # type: ignore[arg-type]
        assert "small-rank" in refusal.value.message or task == "embed"
        assert not any(other in refusal.value.message for other in ("nvidia", "acme-"))
    with pytest.raises(UnknownModel) as refusal:
        NAMES.of_any_task("nobody", ("small-rank",))
    assert "'nobody' not found; available: 'small-rank'" in refusal.value.message


def test_a_name_without_its_publisher_never_hides_one_that_was_given() -> None:
    assert NAMES.resolve("small-rank", "rank") is SMALL
    assert NAMES.resolve("small-rank", "embed") is BOTH


def test_suffixes_say_the_input_type() -> None:
    assert NAMES.resolve_embedder("acme/acme-embed-query") == (EMBEDDER, "query")
    assert NAMES.resolve_embedder("acme-embed-passage") == (EMBEDDER, "passage")
    assert NAMES.resolve_embedder("acme-embed") == (EMBEDDER, None)


def test_an_unknown_name_is_a_404_that_lists_what_does_this() -> None:
    with pytest.raises(UnknownModel) as caught:
        NAMES.resolve("no/such", "rank")
    assert caught.value.message == "model 'no/such' not found; available: 'nvidia/llama-3.2-nv-rerankqa-1b-v2', 'acme/small-rank'"
    assert caught.value.http_status == 404
    with pytest.raises(UnknownModel, match="'acme/acme-embed'"):
        NAMES.resolve_embedder("no-such-query")


def test_a_model_of_another_task_is_not_found_for_this_one() -> None:
    with pytest.raises(UnknownModel):
        NAMES.resolve("acme-embed", "rank")


def test_of_thousands_some_are_listed_and_the_list_is_pointed_to() -> None:
    with pytest.raises(UnknownModel) as caught:
        Names([model(f"m{i}") for i in range(1000)]).of_any_task("x")
    assert caught.value.message.endswith("'m29' and 970 more; GET /v1/models lists them all")


def test_without_a_catalogue_nothing_is_found() -> None:
    with pytest.raises(UnknownModel, match="none for this route"):
        Names().resolve(None, "rank")
