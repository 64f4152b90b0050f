"""Servers of others and fallbacks in models.toml: what may be said, what is refused, and the page that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emberank.contract.errors import SettingError
from emberank.forge.catalog import Model
from emberank.forge.catalog_file import load_catalog, model_table, overlaid, shipped
from emberank.forge.remote_names import remote_of
from emberank.forge.snapshot import model_row
from emberank.forge.toml_text import emit

NVIDIA = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
SHIPPED = shipped()
OWN = """
[[model]]
slug = "acme-reranker"
id = "acme/reranker"
title = "Acme"
task = "rank"
[[model.version]]
name = "v1"
source = "hf:acme/reranker"
"""


def one(text: str, base: tuple[Model, ...] = ()) -> Model:
    return overlaid(base, text, "models.toml")[-1]


def refused(text: str, base: tuple[Model, ...] = ()) -> str:
    with pytest.raises(SettingError) as caught:
        overlaid(base, text, "models.toml")
    assert "\n" not in caught.value.message
    return caught.value.message


def remote(source: str, settings: str = "", task: str = "rank") -> str:
    return OWN.replace('"hf:acme/reranker"', f'"{source}"\nsettings = {{ {settings} }}').replace('task = "rank"', f'task = "{task}"')


@pytest.mark.parametrize(
    "source",
    [
        "nim:http://nim:8000",
        "nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2",
        "nvidia_nim/ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2",
        "cohere:https://api.cohere.com/v2/rerank",
    ],
)
def test_a_version_may_be_somebody_elses_server(source: str) -> None:
    version = one(remote(source, 'api_key_env = "K", max_passages = 100, usd_per_request = 0.002')).versions[0]
    assert version.source == source
    assert version.settings == {"api_key_env": "K", "max_passages": "100", "usd_per_request": "0.002"}
    assert one(emit(model_table(one(remote(source, "timeout_s = 3"))), entry="model")).versions[0].settings == {"timeout_s": "3"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (remote("nvidia_nim/"), "`source` is 'nvidia_nim/'"),
        (remote("nvidia_nim/a//b"), "`version` 'v1' cannot be: 'nvidia_nim/a//b' names no model"),
        (remote("nvidia_nim/nvidia/x", 'api_base = "nim:8000"'), "`version` 'v1' cannot be: api_base is 'nim:8000'"),
        (remote("nvidia_nim/ranking/nvidia/x", task="embed"), "leave ranking/ out"),
        (remote("cohere:https://c", task="embed"), "cohere: is for rerankers"),
        (remote("cohere:https://c", 'score = "percent"'), "`settings` `score` has to be 'sigmoid'"),
        (remote("cohere:https://c", 'api_key_env = "sk-1"'), "never the key itself"),
        (remote("cohere:c.example"), "`source` is 'cohere:c.example'"),
    ],
)
def test_a_server_that_cannot_be_is_refused_with_file_entry_and_key(text: str, said: str) -> None:
    message = refused(text)
    assert message.startswith("models.toml: [[model]] 'acme-reranker'")
    assert said in message


def with_fallbacks(*slugs: str) -> str:
    return OWN.replace('task = "rank"', f'task = "rank"\nfallbacks = {list(slugs)}'.replace("'", '"'))


def test_fallbacks_are_slugs_of_models_for_the_same_task() -> None:
    assert one(with_fallbacks(NVIDIA, "all-minilm-l6-v2-rerank"), SHIPPED).fallbacks == (NVIDIA, "all-minilm-l6-v2-rerank")
    changed = overlaid(SHIPPED, f'[[model]]\nextends = "{NVIDIA}"\nfallbacks = ["all-minilm-l6-v2-rerank"]', "models.toml")
    assert next(model for model in changed if model.slug == NVIDIA).fallbacks == ("all-minilm-l6-v2-rerank",)


def test_a_fallback_may_stand_further_down_in_the_file() -> None:
    text = with_fallbacks("acme-other") + OWN.replace("acme-reranker", "acme-other").replace("acme/reranker", "acme/other")
    assert overlaid((), text, "models.toml")[0].fallbacks == ("acme-other",)


@pytest.mark.parametrize(
    ("slugs", "said"),
    [
        (("nobody",), "`fallbacks` names 'nobody', and no model has that slug"),
        (("all-minilm-l6-v2-rerak",), "near it: all-minilm-l6-v2-rerank"),
        (("acme-reranker",), "`fallbacks` names the model itself"),
        ((next(model.slug for model in SHIPPED if model.task == "embed"),), "whose task is 'embed' and not 'rank'"),
        (("Acme",), "`fallbacks` holds 'Acme'; each has to be"),
    ],
)
def test_a_fallback_that_could_not_answer_is_refused(slugs: tuple[str, ...], said: str) -> None:
    assert said in refused(with_fallbacks(*slugs), SHIPPED)


def test_vectors_of_another_length_are_no_fallback() -> None:
    embedders = "".join(
        OWN.replace("reranker", name).replace('task = "rank"', f'task = "embed"\ndimensions = {size}\n{more}')
        for name, size, more in (("one", 384, 'fallbacks = ["acme-two"]'), ("two", 768, ""))
    )
    assert "whose vectors have 768 dimensions and not 384" in refused(embedders)


# the page


PAGE = (Path(__file__).parents[3] / "docs/howto/remote-models.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n# models.toml\n(.*?)```", PAGE, re.S)


def test_the_page_s_examples_can_be_pasted_together_and_mean_what_it_says(tmp_path: Path) -> None:
    assert len(EXAMPLES) == PAGE.count("```toml") == 4
    (tmp_path / "models.toml").write_text("\n".join(EXAMPLES))
    catalog = load_catalog(tmp_path)
    assert catalog.resolve("voyage-rerank").versions[0].source == "litellm:voyage/rerank-2.5"
    local = catalog.resolve("nvidia-llama-nemotron-rerank-vl-1b-v2")
    assert model_row(catalog, local, lambda model, version: ()).fallbacks == ("hosted-rerank-vl", "cohere-rerank")
    hosted, cohere = (remote_of(catalog.resolve(slug).versions[0].source, "rank") for slug in local.fallbacks)
    assert hosted.origin + hosted.path == "https://ai.api.nvidia.com/v1/retrieval/nvidia/llama-nemotron-rerank-vl-1b-v2/reranking"
    assert cohere.origin + cohere.path == "https://api.cohere.com/v2/rerank"
