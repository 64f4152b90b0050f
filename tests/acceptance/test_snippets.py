"""The blocks that a model's page offers, executed as they stand against a real `emberank up`; those that need client packages run in tests/compat/clients."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance_environment import environment
from emberank.forge.catalog import Catalog
from emberank.forge.catalog_file import shipped
from emberank.forge.snippets import Snippet, snippets
from emberank.forge.targets import Target
from snippet_runs import CLIENT_PACKAGES, PLACEHOLDER, REFUSAL, command, run
from up_process import KEY, Authorized, Up
from wire import until

HERE = Target("CPU", "local")
SLUGS = ("all-minilm-l6-v2-rerank", "all-minilm-l6-v2")
PINS = (None, HERE)
CATALOG = Catalog(shipped())
POOLS = '[[pool]]\ngpu_type = "CPU"\nregion = "local"\nmemory_gb = 4\nslots = 3\nusd_per_hour = 0.36\n'


def blocks(slug: str, pin: Target | None, base: str) -> dict[str, Snippet]:
    model = CATALOG.resolve(slug)
    return {snippet.id: snippet for snippet in snippets(model, model.versions[0], pin, base)}


CASES = [(slug, pin, name) for slug in SLUGS for pin in PINS for name, snippet in blocks(slug, pin, "http://x").items() if name not in CLIENT_PACKAGES]
RUN = [case for case in CASES if blocks(case[0], case[1], "http://x")[case[2]].language in ("sh", "python", "javascript", "go")]
PROGRAMS = [case for case in RUN if not case[2].startswith(("setup", "nebius"))]


def named(case: Any) -> str:
    return f"{case[0]}-{'pinned' if case[1] else 'anywhere'}-{case[2]}"


@pytest.fixture(scope="module")
def client(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorized]:
    """An installation with the default models, whose one target was probed, so that the reliability block has something to recommend."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "data").mkdir(mode=0o700)
    (folder / "data" / "pools.toml").write_text(POOLS, "utf-8")
    up = Up(folder, environment(EMBERANK_API_KEY=KEY, EMBERANK_PROBE_AFTER_START="no"))
    try:
        ready = up.ready()
        for slug in SLUGS:
            asked = ready.post("/v1/probes", {"slug": slug, "gpu_type": "CPU", "region": "local"})
            assert asked.status in (200, 201, 202), asked.body
        for slug in SLUGS:
            until(lambda slug=slug: ready.get(f"/v1/models/{slug}/reliability").json["supported_rows"] == 1, f"{slug} was probed", 60)  # type: ignore[misc]
        yield ready
    finally:
        up.end()


def block(client: Authorized, case: Any) -> Snippet:
    return blocks(case[0], case[1], f"http://127.0.0.1:{client.port}")[case[2]]


def is_answer(slug: str, answer: Any) -> None:
    """The native route's answer to the sample payload: the passages in their order, or four vectors."""
    if slug.endswith("-rerank"):
        assert [ranked["index"] for ranked in answer["rankings"]] == [0, 2, 1]
    elif "data" in answer:
        assert [len(one["embedding"]) for one in answer["data"]] == [384] * 4
    else:
        assert answer == {"vectors": 4, "dimensions": 384}


def is_promised(case: Any, printed: str) -> None:
    """What the page says that the block prints."""
    slug, pin, name = case
    if name == "warmup":
        assert printed.startswith(slug)
        assert "on CPU in local" in printed
    elif name == "reliability":
        assert f"{slug} reliability=" in printed
        assert "supported=1/1" in printed
        assert "export FORGE_GPU_TYPE=CPU FORGE_REGION=local" in printed
        assert ("gpu_type=CPU" in printed) == (pin is not None)
    elif name == "api-check":
        (route,) = json.loads(printed)["routes"]
        assert (route["method"], route["model"], route["gpu_type"], route["region"]) == ("POST", slug, "CPU", "local")
    elif name == "run-estimate":
        answer = json.loads(printed)
        assert answer["estimated_warm_request_ms"] > 0
        assert answer["payload"]["is_sample"]
        assert answer["target_chosen_by"] in (("pinned",) if pin else ("warm", "best"))
    elif name == "runtime-status":
        assert json.loads(printed)["phase"] in ("COLD", "STARTING", "WARM", "DRAINING")
    else:
        is_answer(slug, json.loads(printed))


@pytest.mark.parametrize("case", PROGRAMS, ids=named)
def test_a_block_runs_as_it_stands_and_prints_what_the_page_promises(client: Authorized, tmp_path: Path, case: Any) -> None:
    done = run(block(client, case), tmp_path, {"FORGE_API_KEY": KEY})
    assert done.returncode == 0, done.stdout + done.stderr
    is_promised(case, done.stdout)


@pytest.mark.parametrize("name", ["curl", "python-emberank", "javascript-fetch", "go"])
def test_another_base_in_the_environment_comes_first_with_v1_and_a_slash_or_not(client: Authorized, tmp_path: Path, name: str) -> None:
    elsewhere = blocks(SLUGS[0], None, "http://127.0.0.1:9")[name]
    for end in ("/", "/v1", "/v1/"):
        done = run(elsewhere, tmp_path, {"FORGE_API_KEY": KEY, "FORGE_API_BASE": f"http://127.0.0.1:{client.port}{end}"})
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["run-estimate", "warmup", "curl", "python-emberank", "javascript-fetch", "go"])
def test_a_pin_is_really_sent(client: Authorized, tmp_path: Path, name: str) -> None:
    done = run(blocks(SLUGS[0], Target("B200", "mars"), f"http://127.0.0.1:{client.port}")[name], tmp_path, {"FORGE_API_KEY": KEY})
    assert done.returncode != 0
    assert "B200" in done.stderr


@pytest.mark.parametrize("key", ["", PLACEHOLDER])
@pytest.mark.parametrize("case", [case for case in PROGRAMS if case[:2] == (SLUGS[0], HERE)], ids=named)
def test_a_missing_or_placeholder_key_is_refused_by_the_block_itself(tmp_path: Path, case: Any, key: str) -> None:
    done = run(blocks(case[0], case[1], "http://127.0.0.1:9")[case[2]], tmp_path, {"FORGE_API_KEY": key})  # nobody answers there
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == REFUSAL
    assert done.stdout == ""


@pytest.mark.parametrize("case", [case for case in PROGRAMS if case[:2] == (SLUGS[0], None)], ids=named)
def test_a_wrong_key_ends_a_block_with_an_error_and_what_the_server_said(client: Authorized, tmp_path: Path, case: Any) -> None:
    done = run(block(client, case), tmp_path, {"FORGE_API_KEY": "not-a-key-0123456789"})
    assert done.returncode != 0
    assert done.stdout == ""
    assert "key" in done.stderr
    assert "401" in done.stderr or case[2] == "python-emberank"  # whose error is a class


@pytest.mark.parametrize("name", ["api-check", "run-estimate", "reliability", "runtime-status", "warmup", "curl"])
def test_a_block_that_is_pasted_neither_ends_nor_changes_the_shell(name: str) -> None:
    text = blocks(SLUGS[0], HERE, "http://127.0.0.1:9")[name].text
    done = command(["bash", "-c", f'{text}\nprintf "%s|%s|%s" "$?" "$-" "${{FORGE_API_BASE:-unset}}"'], {})
    status, flags, base = done.stdout.split("|")
    assert (status, base) == ("1", "unset")
    assert not {"e", "u"} & set(flags)


@pytest.mark.parametrize("case", [case for case in CASES if case[2].endswith("-url")], ids=named)
def test_a_preflight_url_answers(client: Authorized, case: Any) -> None:
    url = block(client, case).text
    assert url.startswith(f"http://127.0.0.1:{client.port}/v1/")
    reply = client.get(url.removeprefix(f"http://127.0.0.1:{client.port}"))
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("case", [case for case in CASES if case[2] in ("setup", "setup-pinned", "dotenv")], ids=named)
def test_the_setup_and_the_env_file_set_what_the_other_blocks_read(client: Authorized, tmp_path: Path, case: Any) -> None:
    file = tmp_path / ".env"
    file.write_text(block(client, case).text + "\n", "utf-8")
    done = command(["bash", "-euc", f"set -a; . {file}; env"], {"FORGE_API_KEY": KEY})
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith(("FORGE_", "MODEL_")))
    pinned = case[2] == "setup-pinned" or (case[2] == "dotenv" and case[1] is not None)
    wanted = {
        "FORGE_API_BASE": f"http://127.0.0.1:{client.port}",
        "FORGE_API_KEY": PLACEHOLDER if case[2] == "dotenv" else KEY,
        "FORGE_API_ROUTE": f"/v1/inference/{case[0]}",
        "FORGE_REQUEST_TIMEOUT_SECONDS": "600",
        "MODEL_OR_FAMILY_SLUG": case[0],
        "FORGE_MODEL_VERSION": "v1",
    }
    assert found == wanted | ({"FORGE_GPU_TYPE": "CPU", "FORGE_REGION": "local"} if pinned else {})


def test_the_gitignore_rules_keep_secrets_out_and_the_example_in(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    (tmp_path / ".gitignore").write_text(blocks(SLUGS[0], None, "http://x")["gitignore"].text + "\n", "utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=30)
    done = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", ".env", ".env.local", ".env.example"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout.split() == [".env", ".env.local"]


def test_reliability_says_when_nothing_is_verified(client: Authorized) -> None:
    text = blocks("baai-bge-small-en-v1-5", None, f"http://127.0.0.1:{client.port}")["reliability"].text
    done = command(["bash", "-c", text], {"FORGE_API_KEY": KEY})
    assert done.returncode == 1
    assert "No supported GPU/region target returned." in done.stderr
    assert "supported=0/1" in done.stdout
    assert "status_counts" in done.stdout


def test_every_block_that_claims_to_be_executed_is() -> None:
    claimed = {(slug, pin, name) for slug in SLUGS for pin in PINS for name, snippet in blocks(slug, pin, "http://x").items() if snippet.executed}
    set_up = {case for case in CASES if case[2] in ("setup", "setup-pinned", "dotenv", "gitignore") or case[2].endswith("-url")}
    assert {case for case in claimed if case[2] not in CLIENT_PACKAGES} == {case for case in PROGRAMS if case[2] != "go"} | set_up
