"""The manifests of tests/compat in, docs/behaviour/nim.md and compatibility.md out: `python docs/generate_compat.py`. A test holds the pages to this."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "tests/compat/claims.toml"
CLIENT_CLAIMS = ROOT / "tests/compat/claims_clients.toml"
PAGE = ROOT / "docs/behaviour/nim.md"
CLIENT_PAGE = ROOT / "docs/behaviour/compatibility.md"

TITLES = {
    "ranking": "Ranking: `POST /v1/ranking` and the hosted path",
    "embeddings": "Embeddings: `POST /v1/embeddings`",
    "images": "Images, in both",
    "errors": "Errors",
    "models": "Models",
    "health": "Health",
    "metadata": "Metadata",
    "manifest": "Manifest",
    "metrics": "Metrics",
    "routes": "Routes",
    "paths": "Paths",
    "openapi": "OpenAPI",
    "requests": "Requests and connections",
    "settings": "Settings",
    "shutdown": "Shutting down",
}

# The clients in the order of the page: the first word of a claim's id after `client:`.
CLIENTS = {
    "litellm": "LiteLLM's SDK",
    "litellm-proxy": "LiteLLM's proxy",
    "openai": "OpenAI's SDK",
    "cohere": "Cohere's SDK, v1 and v2",
    "voyageai": "Voyage's SDK",
    "infinity-client": "Infinity's client",
    "huggingface-hub": "huggingface_hub's InferenceClient",
    "rerankers": "rerankers",
    "langchain-nvidia": "LangChain: NVIDIA",
    "langchain-openai": "LangChain: OpenAI",
    "langchain-cohere": "LangChain: Cohere",
    "langchain-jina": "LangChain: Jina",
    "llama-index-nvidia": "LlamaIndex: NVIDIA",
    "llama-index-cohere": "LlamaIndex: Cohere",
    "llama-index-tei": "LlamaIndex: Text Embeddings Inference",
    "haystack-nvidia": "Haystack: NVIDIA",
    "haystack-cohere": "Haystack: Cohere",
    "haystack-jina": "Haystack: Jina",
    "open-webui": "Open WebUI (its requests)",
    "dify": "Dify (its plugins' requests)",
    "ragflow": "RAGFlow (its requests)",
    "anythingllm": "AnythingLLM (its requests)",
    "any-app": "Any of them",
    "doctor": "`emberank doctor`, which tells what to set in them",
}
PRODUCTS = ("open-webui", "dify", "ragflow", "anythingllm")  # without a package
NO_CLIENTS = ("any-app", "doctor")
FEATURES = {
    "rerank": "ranks",
    "embed": "embeds",
    "options": "the client's own options",
    "async": "its asynchronous calls",
    "discovery": "lists and finds models",
    "own base": "works below `/models/{slug}`, a model's own base URL",
    "urls": "every form of base URL and key",
    "errors": "a refusal is the client's own exception",
    "examples": "published examples as they stand",
}


def page(text: str) -> str:
    """docs/behaviour/nim.md for the text of claims.toml."""
    claims = tomllib.loads(text)["claim"]
    out = (
        "# Compatibility with NVIDIA's retrieval NIMs\n\n<!-- written by docs/generate_compat.py from tests/compat/claims.toml; a test holds this page to it -->\n\n"
        f"{len(claims)} claims. Each is proved by the tests that the manifest names under its id. Nothing here was tried against a live NIM: the sources are public documents, "
        "other projects' issues, and unmodified clients. `ours` marks what no source asks for.\n"
    )
    for section, title in TITLES.items():
        rows = [claim for claim in claims if claim["id"].split(":")[1] == section]
        out += f"\n## {title}\n\n| claim | what holds | where it is said | how we differ |\n|---|---|---|---|\n"
        out += "".join(f"| `{row['id']}` | {_cell(row['sentence'])} | {_cell(row['source'])} | {_cell(row.get('divergence', ''))} |\n" for row in rows)
    return out


def client_page(text: str, wire_text: str) -> str:
    """docs/behaviour/compatibility.md for the texts of claims_clients.toml and claims.toml."""
    claims, wire = tomllib.loads(text)["claim"], tomllib.loads(wire_text)["claim"]
    tests = {test for claim in claims for test in claim["tests"]}
    out = (
        "# Compatibility: clients, claims and tests\n\n"
        "<!-- written by docs/generate_compat.py from tests/compat/claims_clients.toml and claims.toml; a test holds this page to them -->\n\n"
        f"{len(claims)} claims about {len(CLIENTS) - len(PRODUCTS) - len(NO_CLIENTS)} clients and {len(PRODUCTS)} products, proved by {len(tests)} tests, many of them over several providers, "
        "URLs or failures. A client's package is installed unmodified and pinned (`tests/compat/clients/requirements.txt`) and used through its own public API against a real "
        "`emberank up`: `make test-clients`. Of the products the requests alone are sent, as the sources named below make them.\n\n"
        "The suite serves the catalogue's NVIDIA names with the default models' weights, so that what is written for NVIDIA's models runs as it stands.\n"
    )
    return out + _matrix(claims) + _clients(claims) + _wire(wire)


def client_of(claim: dict[str, Any]) -> str:
    """client:litellm:rerank → litellm."""
    return str(claim["id"].split(":")[1])


def _matrix(claims: Sequence[dict[str, Any]]) -> str:
    """Tests by client and feature."""
    counts = Counter((client_of(claim), claim["feature"], test) for claim in claims for test in claim["tests"])
    out = "\n## Client × feature\n\nTests of each; an empty cell is a thing that the client does not have, or that is not claimed.\n\n"
    out += f"| client | {' | '.join(FEATURES)} |\n|---|{'---|' * len(FEATURES)}\n"
    for client, title in CLIENTS.items():
        cells = [len({test for one, other, test in counts if (one, other) == (client, feature)}) for feature in FEATURES]
        out += f"| {title} | {' | '.join(str(cell or '') for cell in cells)} |\n"
    return out + "\n" + "".join(f"- **{feature}**: {meaning}\n" for feature, meaning in FEATURES.items())


def _clients(claims: Sequence[dict[str, Any]]) -> str:
    out = ""
    for client, title in CLIENTS.items():
        out += f"\n## {title}\n\n| claim | what holds | source | tests | how it differs |\n|---|---|---|---|---|\n"
        for row in claims:
            if client_of(row) == client:
                out += f"| `{row['id']}` | {_cell(row['sentence'])} | {_cell(row['source'])} | {_tests(row)} | {_cell(row.get('divergence', ''))} |\n"
    return out


def _wire(claims: Sequence[dict[str, Any]]) -> str:
    """What nim.md says in sentences, with the tests."""
    out = f"\n## NVIDIA's API itself\n\n{len(claims)} claims; [nim.md](nim.md) says each as a sentence, and how we differ.\n\n| claim | source | tests |\n|---|---|---|\n"
    return out + "".join(f"| `{row['id']}` | {_cell(row['source'])} | {_tests(row)} |\n" for row in claims)


def _tests(row: dict[str, Any]) -> str:
    """Their names, each file once."""
    files: dict[str, list[str]] = {}
    for test in row["tests"]:
        path, _, name = test.partition("::")
        files.setdefault(path.removeprefix("tests/"), []).append(name)
    return "<br>".join(f"`{path}`: " + ", ".join(f"`{name}`" for name in names) for path, names in files.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(CLAIMS.read_text("utf-8")), "utf-8")
    CLIENT_PAGE.write_text(client_page(CLIENT_CLAIMS.read_text("utf-8"), CLAIMS.read_text("utf-8")), "utf-8")
