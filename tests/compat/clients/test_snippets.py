"""The blocks that a model's page offers for other people's packages, executed as they stand: with a pin and without, for a reranker and an embedder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import litellm
import openai
import pytest
from installation import DIMENSIONS, EMBED_SLUG, PYTHON, RERANK_SLUG, Server
from litellm_process import litellm_proxy

litellm.suppress_debug_info = True

PLACEHOLDER = "replace-with-your-forge-api-key"
SLUGS = {"rank": RERANK_SLUG, "embed": EMBED_SLUG}
ORDER = [0, 2, 1]  # of the sample's passages, best first
# The blocks come from the other environment: this one has nothing of ours.
WRITER = """
import json, sys
from emberank.forge.catalog import Catalog
from emberank.forge.catalog_file import shipped
from emberank.forge.snippets import snippets
from emberank.forge.targets import Target
slugs, base = json.loads(sys.argv[1])
found = {}
for task, slug in slugs.items():
    model = Catalog(shipped()).resolve(slug)
    for where, pin in (("anywhere", None), ("pinned", Target("CPU", "local")), ("mars", Target("B200", "mars"))):
        found |= {f"{task} {where} {one.id}": one.text for one in snippets(model, model.versions[0], pin, base)}
json.dump(found, sys.stdout)
"""
MASTER_KEY = "sk-of-these-tests-0123456789abcdef"
both_tasks = pytest.mark.parametrize("task", ["rank", "embed"])
with_and_without_a_pin = pytest.mark.parametrize("where", ["anywhere", "pinned"])


@pytest.fixture(scope="module")
def texts(server: Server) -> dict[str, str]:
    """Every block by task, pin and id, for the running server."""
    done = subprocess.run([str(PYTHON), "-c", WRITER, json.dumps([SLUGS, server.url])], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


class Reader:
    """Somebody who pastes a block into a file and runs it; the key is in the environment."""

    def __init__(self, texts: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._texts = texts
        self._key = key
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def runs(self, task: str, where: str, name: str) -> Any:
        """What it prints, which is JSON."""
        text = self._texts[f"{task} {where} {name}"]
        for key in ("", PLACEHOLDER):
            self._monkeypatch.setenv("FORGE_API_KEY", key)
            with pytest.raises(SystemExit, match="Set FORGE_API_KEY to a real Forge API key"):
                exec(compile(text, name, "exec"), {})
        self._monkeypatch.setenv("FORGE_API_KEY", self._key)
        self._capsys.readouterr()
        exec(compile(text, name, "exec"), {})
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def reader(texts: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reader:
    return Reader(texts, server.key, monkeypatch, capsys)


def is_sample_s(task: str, answer: Any) -> None:
    """The native route's answer to the sample payload."""
    if task == "rank":
        assert [ranked["index"] for ranked in answer["rankings"]] == ORDER
    else:
        assert [len(one["embedding"]) for one in answer["data"]] == [DIMENSIONS] * 4


def has_vectors(answer: Any) -> None:
    assert (answer["vectors"], answer["dimensions"]) == (4, DIMENSIONS)


@pytest.mark.claim("client:any-app:snippets")
@both_tasks
@with_and_without_a_pin
@pytest.mark.parametrize("package", ["requests", "httpx"])
def test_the_blocks_for_requests_and_httpx_run_as_they_stand(reader: Reader, task: str, where: str, package: str) -> None:
    is_sample_s(task, reader.runs(task, where, f"python-{package}"))


@pytest.mark.claim("client:openai:snippets")
@with_and_without_a_pin
def test_the_block_for_openai_s_sdk_runs_as_it_stands(reader: Reader, where: str) -> None:
    has_vectors(reader.runs("embed", where, "python-openai"))


@pytest.mark.claim("client:litellm:snippets")
@both_tasks
@with_and_without_a_pin
def test_the_block_for_litellm_runs_as_it_stands(reader: Reader, task: str, where: str) -> None:
    answer = reader.runs(task, where, "python-litellm")
    if task == "rank":
        assert [one["index"] for one in answer] == ORDER
    else:
        has_vectors(answer)


@pytest.mark.claim("client:langchain-nvidia:snippets")
@both_tasks
def test_the_block_for_langchain_runs_as_it_stands(reader: Reader, task: str) -> None:
    answer = reader.runs(task, "anywhere", "langchain")
    if task == "rank":
        assert answer[0]["text"].startswith("Retrieval augmented generation combines")
        assert [one["relevance_score"] for one in answer] == sorted((one["relevance_score"] for one in answer), reverse=True)
    else:
        has_vectors(answer)


@pytest.mark.claim("client:llama-index-nvidia:snippets")
@both_tasks
def test_the_block_for_llama_index_runs_as_it_stands(reader: Reader, task: str) -> None:
    answer = reader.runs(task, "anywhere", "llama-index")
    if task == "rank":
        assert answer[0]["text"].startswith("Retrieval augmented generation combines")
    else:
        has_vectors(answer)


@pytest.mark.claim("client:any-app:snippets")
@pytest.mark.claim("client:openai:snippets")
@pytest.mark.claim("client:litellm:snippets")
@pytest.mark.parametrize(
    ("task", "name"),
    [("rank", "python-requests"), ("rank", "python-httpx"), *(("embed", f"python-{name}") for name in ("requests", "httpx", "openai", "litellm"))],
)
def test_a_block_s_pin_is_really_sent(reader: Reader, task: str, name: str) -> None:
    with pytest.raises((SystemExit, openai.BadRequestError, litellm.exceptions.BadRequestError), match="B200"):
        reader.runs(task, "mars", name)


# --- LiteLLM's proxy


@pytest.fixture(scope="module")
def proxy(server: Server, texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`litellm --config`, with the entries of several blocks in one file."""
    folder = tmp_path_factory.mktemp("litellm")
    ranker, embedder = texts["rank pinned litellm-proxy"], texts["embed pinned litellm-proxy"]
    mars = texts["embed mars litellm-proxy"].replace(f'model_name: "{EMBED_SLUG}"', "model_name: mars")
    more = "".join(text.removeprefix("model_list:\n").partition("general_settings:")[0] for text in (embedder, mars))
    more += "litellm_settings:\n  disable_hf_tokenizer_download: true\n"  # of a refused call it counts the tokens, with "llama-3" in the name by a tokenizer of the Hub
    configuration = ranker.replace("general_settings:", f"{more}general_settings:")
    with litellm_proxy(folder, configuration, MASTER_KEY, {"FORGE_API_KEY": server.key, "LITELLM_MASTER_KEY": MASTER_KEY}) as running:
        yield running


@pytest.mark.claim("client:litellm-proxy:snippets")
def test_the_block_for_litellm_s_proxy_makes_it_rank_and_embed(proxy: Server) -> None:
    passages = ["search over documents", "red hot ice"]
    ranked = proxy.post("/rerank", {"model": RERANK_SLUG, "query": "how does one search documents?", "documents": passages})
    assert ranked.status == 200, ranked.body
    assert [one["index"] for one in ranked.json["results"]] == [0, 1]
    embedded = proxy.post("/v1/embeddings", {"model": EMBED_SLUG, "input": passages})
    assert embedded.status == 200, embedded.body
    assert [len(one["embedding"]) for one in embedded.json["data"]] == [DIMENSIONS] * 2
    elsewhere = proxy.post("/v1/embeddings", {"model": "mars", "input": passages})
    assert elsewhere.status == 400, elsewhere.body
    assert b"B200" in elsewhere.body  # an embedder's block carries its pin
