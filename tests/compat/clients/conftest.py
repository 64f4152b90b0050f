"""The clients' environment: no telemetry, no network but loopback, one running server for all tests, and at the end a table of client × feature.

Nothing of ours is imported here or in any test of this folder: each client is used through its own public API, as installed.
"""

from __future__ import annotations

import os
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loopback_only
import pytest

# Before any client is imported: many read these once.
os.environ |= {
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # not HF_HUB_OFFLINE: that forbids InferenceClient even this machine
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NVIDIA_USAGE_TELEMETRY_ENABLED": "false",
    "POSTHOG_DISABLED": "1",
}
# What a person at this machine has set for the real services must not decide where a test goes.
for _name in [name for name in os.environ if name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL")) or name.lower().endswith("_proxy")]:
    del os.environ[_name]
loopback_only.enforce()

from examples import BAD_KEY, BLANK, DOCUMENTS, UNKNOWN, Trouble  # noqa: E402
from installation import EMBED, NOWHERE, RERANK, Server, installation, until  # noqa: E402

CLAIMS: dict[str, dict[str, Any]] = {
    claim["id"]: claim for claim in tomllib.loads((Path(__file__).parents[1] / "claims_clients.toml").read_text("utf-8"))["claim"]
}


EXPECTED: set[str] = set()  # hosts that a test so far has said a client tries; some try later, on a thread of their own


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real `emberank up`."""
    with installation(tmp_path_factory.mktemp("emberank")) as running:
        yield running


@pytest.fixture(scope="session")
def make_key(server: Server) -> Callable[..., str]:
    """A further key, made through the API; usable when this returns."""

    def make(name: str, **limits: object) -> str:
        made = server.post("/v1/keys", {"name": name, "scopes": ["inference", "read"], **limits})
        assert made.status == 201, made.body
        key: str = made.json["key"]
        # A version needs no key, a model list does: it is not counted as a request to a model.
        until(lambda: server.get("/v1/models", {"Authorization": f"Bearer {key}"}).status == 200, f"the gateway knows the key {name!r}")
        return key

    return make


@pytest.fixture(scope="session")
def exhausted(make_key: Callable[..., str], server: Server) -> str:
    """A key whose month is used up: every call with it is a 429."""
    key = make_key("exhausted", monthly_tokens=1)
    body = {"query": {"text": "a"}, "passages": [{"text": "b"}]}
    until(lambda: server.post("/v1/ranking", body, {"Authorization": f"Bearer {key}"}).status == 429, "the budget is used up")
    return key


@pytest.fixture(params=[400, 401, 404, 429, 503])
def trouble(request: pytest.FixtureRequest, server: Server, exhausted: str) -> Trouble:
    """Each trouble that a reranker's user can be in."""
    return _trouble(request.param, "rank", server.key, exhausted)


@pytest.fixture(params=[400, 401, 404, 429, 503])
def embed_trouble(request: pytest.FixtureRequest, server: Server, exhausted: str) -> Trouble:
    """The same for an embedder's."""
    return _trouble(request.param, "embed", server.key, exhausted)


def _trouble(status: int, task: str, key: str, exhausted: str) -> Trouble:
    model = {404: UNKNOWN, 503: NOWHERE[task]}.get(status, RERANK if task == "rank" else EMBED)
    return Trouble(status, model, {401: BAD_KEY, 429: exhausted}.get(status, key), BLANK if status == 400 else DOCUMENTS)


@pytest.fixture(autouse=True)
def nothing_beyond_loopback(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test in which a client wanted to reach another machine has failed, even if the client took no notice, unless it is marked as known to try."""
    EXPECTED.update(mark.args[0] for mark in request.node.iter_markers("tries"))
    before = len(loopback_only.REFUSED)
    yield
    assert set(loopback_only.REFUSED[before:]) <= EXPECTED


# --- client × feature, printed at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each report carries the claims that its test proves; a test without one is a mistake."""
    for item in items:
        found = [mark.args[0] for mark in item.iter_markers("claim")]
        unknown = set(found) - CLAIMS.keys()
        if not found or unknown:
            raise pytest.UsageError(f"{item.nodeid}: proves {sorted(unknown) or 'no claim'}: see tests/compat/claims_clients.toml")
        item.user_properties += [("claim", claim) for claim in found]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests of each client and feature passed, of how many."""
    counts: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call" or (report.when == "setup" and outcome != "passed"):
                for claim in {value for name, value in report.user_properties if name == "claim"}:
                    count = counts[claim.split(":")[1], CLAIMS[claim]["feature"]]
                    count[0] += outcome == "passed"
                    count[1] += 1
    if not counts:
        return
    clients, features = sorted({client for client, _ in counts}), list(dict.fromkeys(claim["feature"] for claim in CLAIMS.values()))
    terminalreporter.section("client × feature: tests passed / run")
    width = max(map(len, clients)) + 2
    terminalreporter.write_line(" " * width + "".join(f"{feature:>12}" for feature in features))
    for client in clients:
        cells = ("/".join(map(str, counts[client, feature])) if (client, feature) in counts else "" for feature in features)
        terminalreporter.write_line(f"{client:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
