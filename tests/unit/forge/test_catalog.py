"""Which model a name means, which version, and what a runtime is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import ModelNotFound, NotFound, SettingError
from emberank.forge.catalog import MOST_NEAR_NAMES, Catalog, Golden, Model, Version, launch_spec, plain
from emberank.forge.catalog_file import load_catalog, shipped
from emberank.runtime import roster
from emberank.runtime.presets import defaults, specs
from emberank.settings import RuntimeSettings

CATALOG = load_catalog()
NVIDIA = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
EVERY_NAME = [pytest.param(name, model.slug, id=name) for model in CATALOG for name in CATALOG.names(model)]


def made(slug: str = "a-model", **fields: object) -> Model:
    values = {"slug": slug, "id": f"acme/{slug}", "title": slug, "description": "", "task": "rank", "versions": (Version(name="v1", source="file:/m"),)}
    return Model(**values | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "slug"), EVERY_NAME)
def test_every_shipped_name_means_its_own_model_in_every_spelling(name: str, slug: str) -> None:
    for spelt in (name, name.upper(), f" {name} ", name.replace(".", "_"), name.replace("-", "_"), f"ranking/{name}"):
        assert CATALOG.resolve(spelt).slug == slug
        assert spelt in CATALOG


@pytest.mark.parametrize(
    "name",
    [
        "nvidia/llama-3.2-nv-rerankqa-1b-v2",
        "nvidia/llama-3_2-nv-rerankqa-1b-v2",
        "nvidia-llama-3-2-nv-rerankqa-1b-v2",
        "llama-3_2-nv-rerankqa-1b-v2",
        "llama-3.2-nv-rerankqa-1b-v2",
        "nvidia/llama-nemotron-rerank-1b-v2",
        "llama-nemotron-rerank-1b-v2",
        "nvidia_llama_nemotron_rerank_1b_v2",
        "ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2",
    ],
)
def test_nvidias_reranker_answers_to_its_old_new_hosted_and_grpc_names(name: str) -> None:
    assert CATALOG.resolve(name).slug == NVIDIA


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("nvidia/llama-nemotron-embed-1b-v2", "nvidia-llama-3-2-nv-embedqa-1b-v2"),
        ("nvidia/llama-nemotron-rerank-500m-v2", "nvidia-llama-3-2-nemoretriever-500m-rerank-v2"),
        ("baai/bge-m3", "baai-bge-m3"),
        ("bge-reranker-v2-m3", "baai-bge-reranker-v2-m3"),
        ("cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder-ms-marco-minilm-l6-v2"),
        ("all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("emberank/all-MiniLM-L6-v2-rerank", "all-minilm-l6-v2-rerank"),
        ("Qwen3-Reranker-0.6B", "qwen-qwen3-reranker-0-6b"),
    ],
)
def test_models_are_found_by_the_names_that_clients_use(name: str, slug: str) -> None:
    assert CATALOG.resolve(name).slug == slug


def test_what_was_never_public_is_not_listed() -> None:
    with pytest.raises(ModelNotFound):
        CATALOG.resolve("nvidia/nv-rerankqa-mistral-4b-v3")


def test_an_unknown_name_is_answered_with_a_few_near_ones() -> None:
    with pytest.raises(ModelNotFound) as caught:
        CATALOG.resolve("nvidia/llama-3.2-nv-rerankqa-2b")
    listed = caught.value.message.partition("available: ")[2].split(", ")
    assert "'nvidia/llama-3.2-nv-rerankqa-1b-v2'" in listed
    assert len(listed) <= MOST_NEAR_NAMES


@pytest.mark.parametrize("name", ["", "?", "x" * 100_000, "ranking/"])
def test_a_name_like_no_other_is_answered_with_the_first_models(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        CATALOG.resolve(name)
    assert "sentence-transformers/all-MiniLM-L6-v2" in caught.value.message
    assert len(caught.value.message) < 1000


def test_a_bare_name_of_two_publishers_means_neither_of_them() -> None:
    one, two = made("one", id="a/same"), made("two", id="b/same")
    catalog = Catalog([one, two])
    assert catalog.resolve("a/same") is one
    assert catalog.resolve("b-same") is two
    assert "same" not in catalog
    assert all("same" not in catalog.names(model) for model in catalog)


def test_a_name_that_is_written_down_goes_before_one_that_is_derived() -> None:
    written, derived = made("same"), made("other", id="b/same")
    catalog = Catalog([derived, written])
    assert catalog.resolve("same") is written
    assert catalog.names(derived) == ("other", "b/same", "b-same")


@pytest.mark.parametrize("name", ["one", "acme/one", "ACME/One", "uno"])
def test_two_models_cannot_claim_one_name(name: str) -> None:
    with pytest.raises(SettingError, match="already a name of 'one'"):
        Catalog([made("one", aliases=("uno",)), made("two", aliases=(name,))])


def test_a_catalogue_can_be_empty() -> None:
    assert len(Catalog()) == 0
    with pytest.raises(ModelNotFound, match="none for this route"):
        Catalog().resolve("x")


@given(st.text(max_size=40))
def test_names_are_made_plain_as_the_runtime_makes_them(name: str) -> None:
    assert plain(name) == roster.plain(name).removeprefix("ranking/")


@given(st.sampled_from([model.id for model in CATALOG]), st.data())
def test_no_spelling_of_an_id_leads_elsewhere(name: str, data: st.DataObject) -> None:
    spelt = "".join(data.draw(st.sampled_from("._-" if character in "._-" else (character.lower(), character.upper()))) for character in name)
    assert CATALOG.resolve(spelt).id == name


@given(st.text(max_size=60))
def test_any_text_is_a_model_or_a_404(name: str) -> None:
    if name in CATALOG:
        assert CATALOG.resolve(name) in CATALOG.search()
        return
    with pytest.raises(ModelNotFound) as caught:
        CATALOG.resolve(name)
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("name", [None, "v1", "1", " V1 "])
def test_a_version_is_asked_for_by_name_or_by_number(name: str | None) -> None:
    model = made(versions=(Version(name="v1", source="file:/1"), Version(name="v2", source="file:/2")))
    assert CATALOG.version(model, name).source == "file:/1"
    assert CATALOG.version(model, "2").source == "file:/2"


@pytest.mark.parametrize("name", ["v9", "", "latest", "x" * 10_000])
def test_an_unknown_version_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(NotFound, match="known versions: v1") as caught:
        CATALOG.version(made(), name)
    assert len(caught.value.message) < 400


def test_models_are_found_by_task_tag_and_words() -> None:
    assert {model.task for model in CATALOG.search(task="rank")} == {"rank"}
    assert {model.slug for model in CATALOG.search("nvidia vision", task="rank")} == {"nvidia-llama-nemotron-rerank-vl-1b-v2"}
    assert {model.slug for model in CATALOG.search("LLAMA_3.2 rerankqa")} == {NVIDIA}
    assert {model.slug for model in CATALOG.search(tags=("default",))} == {"all-minilm-l6-v2", "all-minilm-l6-v2-rerank"}
    assert CATALOG.search("no such thing") == ()
    assert CATALOG.search() == tuple(CATALOG)
    assert "rerank" in CATALOG.tags()


def as_the_runtime_reads(folder: Path, model: Model) -> object:
    path = folder / "model.json"
    path.write_text(json.dumps({"model": [launch_spec(model, model.versions[0])]}))
    (spec,) = specs(RuntimeSettings(model_file=str(path)))
    return spec


@pytest.mark.parametrize("preset", defaults(), ids=lambda preset: preset.name)
def test_a_default_model_reaches_the_runtime_as_its_preset_is(tmp_path: Path, preset: object) -> None:
    spec = as_the_runtime_reads(tmp_path, CATALOG.resolve(preset.name))  # type: ignore[attr-defined]
    for field in ("name", "source", "task", "head", "sha256", "license", "license_url", "golden"):
        assert getattr(spec, field) == getattr(preset, field)


@pytest.mark.parametrize("model", shipped(), ids=lambda model: model.slug)
def test_every_shipped_model_reaches_the_runtime_with_all_its_names(tmp_path: Path, model: Model) -> None:
    spec = as_the_runtime_reads(tmp_path, model)
    assert {spec.name, *spec.aliases} == set(model.names)  # type: ignore[attr-defined]
    assert spec.name == model.id  # type: ignore[attr-defined]
    assert spec.task == model.task  # type: ignore[attr-defined]


def test_a_launch_says_everything_that_an_entry_says() -> None:
    golden = Golden(query="q", passages=("a", "b"), scores=(2.0, 1.0), tolerance=0.1)
    version = Version(name="v1", source="hf:acme/x", head="late_interaction", sha256={"model.safetensors": "0" * 64})
    model = made(aliases=("x",), licenses=("MIT", "other"), links={"Licence": "https://e.org/l"}, golden=golden, versions=(version,))
    assert launch_spec(model, version) == {
        "name": "acme/a-model",
        "aliases": ["a-model", "x"],
        "task": "rank",
        "source": "hf:acme/x",
        "head": "late_interaction",
        "sha256": {"model.safetensors": "0" * 64},
        "license": "MIT; other",
        "license_url": "https://e.org/l",
        "golden": {"query": "q", "passages": ["a", "b"], "scores": [2.0, 1.0], "tolerance": 0.1},
    }


def test_somebody_elses_server_is_not_launched() -> None:
    with pytest.raises(SettingError, match="not started here"):
        launch_spec(made(), Version(name="v1", source="nim:http://nim:8000"))
