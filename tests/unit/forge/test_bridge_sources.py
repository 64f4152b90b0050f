"""`litellm:` in a catalogue: its settings are checked when they are read, and its process is the bridge, with the provider's key and no other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from child_runtime import __file__ as child_file
from emberank.contract.errors import SettingError
from emberank.forge.bridge_sources import check_settings, is_bridged
from emberank.forge.catalog import Model, Version
from emberank.forge.catalog_file import overlaid
from emberank.forge.launchers.base import Launch, Running
from emberank.forge.launchers.process import BRIDGE, ProcessLauncher
from emberank.forge.secret_store import SecretStore
from emberank.forge.targets import Pool, Target, why_not
from wire import until

ENTRY = """
[[model]]
slug = "voyage-rerank"
id = "voyage/rerank-2.5"
title = "Voyage"
task = "rank"
[[model.version]]
name = "v1"
source = "{source}"
settings = {settings}
"""
LOCAL = Target("CPU", "local")


def read(source: str = "litellm:voyage/rerank-2.5", settings: str = "{}") -> Version:
    (model,) = overlaid((), ENTRY.format(source=source, settings=settings), "models.toml")
    return model.versions[0]


def test_a_provider_is_a_source_with_settings_of_its_own() -> None:
    version = read(settings='{ api_key_env = "VOYAGE_API_KEY", score = "sigmoid", timeout_s = 30, max_passages = 500, api_base = "https://api.voyageai.com" }')
    assert is_bridged(version.source)
    assert version.settings["api_key_env"] == "VOYAGE_API_KEY"
    assert not is_bridged("hf:litellm/model")


@pytest.mark.parametrize("source", ["litellm:", "litellm:voyage", "litellm:voyage/", "litellm:vo yage/x", "litellm"])
def test_a_source_without_provider_or_model_is_refused(source: str) -> None:
    with pytest.raises(SettingError, match="litellm:provider/model"):
        read(source)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"precision": "int8"}, "not 'precision'"),
        ({"api_key_envv": "X"}, "is 'api_key_env' meant"),
        ({"api_key_env": "sk-123-secret"}, "never the key itself"),
        ({"score": "percent"}, "'auto', 'logit', 'sigmoid'"),
        ({"api_base": "ftp://x"}, "has to be a URL"),
        ({"api_base": "https://user:secret@x"}, "has to be a URL"),
        ({"timeout_s": "soon"}, "number of at least 0.1"),
        ({"max_passages": "1.5"}, "whole number"),
        ({"max_inputs": "0"}, "whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_what_would_be_right(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_settings(settings)


def test_it_runs_wherever_processes_do_and_not_in_a_remote_pool() -> None:
    model = Model(slug="m", id="a/m", title="", description="", task="rank", versions=(read(),))
    here = Pool(target=LOCAL, memory_bytes=10**9, slots=1)
    assert why_not(model, model.versions[0], here, LOCAL) == ""
    assert "names no server" in why_not(model, model.versions[0], Pool(target=LOCAL, memory_bytes=0, slots=1, launcher="remote"), LOCAL)


# --- its process


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[ProcessLauncher]:
    child = (sys.executable, "-S", "-E", str(child_file))
    made = ProcessLauncher(
        tmp_path, command=("/nothing/at/all",), bridge=child, inherited={"PATH": "/bin", "VOYAGE_API_KEY": "from-outside", "FORGE_KEY": "ours"}
    )
    yield made
    for one in list(made._children.values()):
        if one.process is not None:
            one.process.kill()
            one.process.wait(20)


def launch(name: str) -> Launch:
    version = Version(name="v1", source="litellm:voyage/rerank-2.5", settings={"api_key_env": name})
    model = Model(slug="ranker", id="org/ranker", title="", description="", task="rank", versions=(version,))
    return Launch(id="e1", model=model, version=version, pool=Pool(target=LOCAL, memory_bytes=10**9, slots=4))


def started(launcher: ProcessLauncher, name: str) -> tuple[Running, dict[str, str]]:
    running = launcher.start(launch(name))
    until(lambda: launcher.look(running).state == "ready", "it is ready")
    return running, json.loads(Path(running.log_file).read_text().splitlines()[1])


def test_its_command_is_the_bridge() -> None:
    assert (sys.executable, "-m", "emberank.bridge") == BRIDGE


def test_it_gets_its_model_file_and_the_providers_key(launcher: ProcessLauncher, tmp_path: Path) -> None:
    _, own = started(launcher, "VOYAGE_API_KEY")
    (entry,) = json.loads((tmp_path / "run" / "e1.model.json").read_text())["model"]
    assert (entry["name"], entry["task"], entry["source"]) == ("org/ranker", "rank", "litellm:voyage/rerank-2.5")
    assert (own["EMBERANK_API_KEY_ENV"], own["VOYAGE_API_KEY"]) == ("VOYAGE_API_KEY", "from-outside")
    assert "FORGE_KEY" not in own


def test_a_key_that_is_kept_as_a_secret_is_given_to_the_one_who_needs_it(launcher: ProcessLauncher, tmp_path: Path) -> None:
    SecretStore(tmp_path).set("JINA_KEY", "from-the-store")
    SecretStore(tmp_path).set("OTHER_KEY", "another")
    running, own = started(launcher, "JINA_KEY")
    assert own["JINA_KEY"] == "from-the-store"
    assert "OTHER_KEY" not in own
    assert "from-the-store" not in repr(running)
