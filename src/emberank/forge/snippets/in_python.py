"""A subject in, the request in Python out: with requests, httpx, our client, OpenAI's SDK and LiteLLM's. Each is a whole program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emberank.forge.snippets.literals import python
from emberank.forge.snippets.snippet import Snippet
from emberank.forge.snippets.subject import NO_KEY, PLACEHOLDER, TIMEOUT_S, UNPINNED, Subject


def python_snippets(about: Subject) -> tuple[Snippet, ...]:
    """Plain HTTP twice, our client, and the SDK that knows the task."""
    sdks = (_litellm(about),) if about.task == "rank" else (_openai(about), _litellm(about))
    return (_http(about, "requests"), _http(about, "httpx"), _client(about), *sdks)


def opening(about: Subject, imports: str) -> str:
    """Imports, address, the check of the key, the time-out. `imports` are the lines for what has to be installed."""
    return "\n".join(
        (
            "import json",
            "import os",
            "import sys",
            "",
            imports,
            "",
            f'base = (os.environ.get("FORGE_API_BASE") or {python(about.base)}).rstrip("/").removesuffix("/v1")',
            'key = os.environ.get("FORGE_API_KEY") or ""',
            f'if key in ("", "{PLACEHOLDER}"):',
            f'    sys.exit("{NO_KEY}")',
            f'timeout = float(os.environ.get("FORGE_REQUEST_TIMEOUT_SECONDS") or "{TIMEOUT_S}")',
        )
    )


def arguments(named: Mapping[str, Any], indent: str = "    ") -> str:
    """Keyword arguments, one a line."""
    return "".join(f"{indent}{name}={python(value, indent)},\n" for name, value in named.items())


def _http(about: Subject, package: str) -> Snippet:
    failed = "not response.ok" if package == "requests" else "response.is_error"
    text = (
        f"{opening(about, f'import {package}')}\n\n"
        f"response = {package}.post(\n"
        f"    base + {python(about.route)},\n"
        '    headers={"Authorization": f"Bearer {key}"},\n'
        f"    json={python(about.body, '    ')},\n"
        "    timeout=timeout,\n"
        ")\n"
        f"if {failed}:\n"
        '    sys.exit(f"{response.status_code}: {response.text}")\n'
        "print(json.dumps(response.json(), indent=2))"
    )
    return Snippet(id=f"python-{package}", title=f"Python, {package}", language="python", group="request", text=text, note=f"pip install {package}")


def _client(about: Subject) -> Snippet:
    inner = " " * 8
    options = _given(about, "truncate", "top_n", "input_type", "dimensions")
    if about.task == "rank":
        call, first = "rank", f"{inner}{python(about.query)},\n"
        shown = (
            '    rankings = [{"index": one.index, "logit": one.logit} for one in result.rankings]\n'
            '    print(json.dumps({"rankings": rankings, "target": result.target, "cost_usd": result.cost_usd}, indent=2))'
        )
    else:
        call, first = "embed", ""
        shown = '    print(json.dumps({"vectors": result.shape[0], "dimensions": result.shape[1]}, indent=2))'
    text = (
        f"{opening(about, 'from emberank import Client')}\n\n"
        "with Client(base, api_key=key, timeout_s=timeout) as client:\n"
        f"    result = client.{call}(\n"
        f"{first}"
        f"{inner}{python(about.texts, inner)},\n"
        f"{arguments({'model': about.slug, **options, **about.filters}, inner)}"
        "    )\n"
        f"{shown}"
    )
    note = "Needs the emberank package: pip install . in a checkout. It waits for a cold start and comes again when the server is busy."
    return Snippet(id="python-emberank", title="Python, our client", language="python", group="request", text=text, note=note)


def _openai(about: Subject) -> Snippet:
    extra = {**_given(about, "input_type", "truncate", "embedding_type", "modality"), **about.filters}
    named = {"model": about.slug, "input": about.texts, **_given(about, "dimensions"), "extra_body": extra}
    text = (
        f"{opening(about, 'from openai import OpenAI')}\n\n"
        'client = OpenAI(base_url=base + "/v1", api_key=key, timeout=timeout)\n'
        f"response = client.embeddings.create(\n{arguments(named)})\n"
        'print(json.dumps({"vectors": len(response.data), "dimensions": len(response.data[0].embedding)}, indent=2))'
    )
    return Snippet(id="python-openai", title="Python, OpenAI SDK", language="python", group="request", text=text, note="pip install openai")


def _litellm(about: Subject) -> Snippet:
    if about.task == "rank":
        named = {
            "model": f"nvidia_nim/ranking/{about.slug}",
            "query": about.query,
            "documents": about.texts,
            **_given(about, "truncate", "top_n"),
        }
        call, base, note = "rerank", "base", f"pip install litellm. {UNPINNED}"
        shown = "print(json.dumps([dict(result) for result in response.results], indent=2))"
    else:
        extra = {**_given(about, "input_type", "truncate"), **about.filters}
        named = {"model": f"openai/{about.slug}", "input": about.texts, **_given(about, "dimensions"), "encoding_format": "float", "extra_body": extra}
        call, base, note = "embedding", 'base + "/v1"', "pip install litellm"
        shown = 'print(json.dumps({"vectors": len(response.data), "dimensions": len(response.data[0]["embedding"])}, indent=2))'
    text = (
        f"{opening(about, 'import litellm')}\n\n"
        f"response = litellm.{call}(\n{arguments(named)}    api_base={base},\n    api_key=key,\n    timeout=timeout,\n)\n"
        f"{shown}"
    )
    return Snippet(id="python-litellm", title="Python, LiteLLM", language="python", group="request", text=text, note=note)


def _given(about: Subject, *names: str) -> dict[str, Any]:
    """Fields of the payload that are there."""
    return {name: about.fields[name] for name in names if about.fields.get(name) is not None}
