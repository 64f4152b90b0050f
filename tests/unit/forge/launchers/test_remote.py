"""Somebody else's server as an endpoint."""

from __future__ import annotations

import pytest

from emberank.contract.errors import SettingError
from emberank.forge.catalog import Model, Version
from emberank.forge.endpoint_probe import EndpointProbe
from emberank.forge.launchers.base import Launch, Running
from emberank.forge.launchers.remote import RemoteLauncher
from emberank.forge.targets import Pool, Target


def a_launch(source: str = "nim:https://nim.invalid/base/", **settings: str) -> Launch:
    version = Version(name="v1", source=source, settings=settings)
    model = Model(slug="ranker", id="org/ranker", title="", description="", task="rank", versions=(version,))
    return Launch(id="e1", model=model, version=version, pool=Pool(target=Target("NIM", "there"), memory_bytes=0, slots=1, launcher="remote"))


@pytest.mark.parametrize(
    "source", ["nim:", "nim:nim.invalid", "nim:file:///etc/passwd", "nim:http://", "nim:http://[::1", "nim:http://h:99999", "preset:x", "hf:org/name"]
)
def test_a_source_that_names_no_server_is_refused(source: str) -> None:
    with pytest.raises(SettingError, match="has to be nim:http://host:port"):
        RemoteLauncher(environment={}).start(a_launch(source))


def test_a_server_keeps_its_path_and_its_own_name_for_the_model() -> None:
    running = RemoteLauncher(environment={}).start(a_launch(served_name="nvidia/other"))
    assert (running.url, running.served_name) == ("https://nim.invalid/base", "nvidia/other")
    assert RemoteLauncher(environment={}).start(a_launch()).served_name == "org/ranker"


def test_its_key_is_read_from_a_variable_again_and_again_and_never_shown() -> None:
    launcher = RemoteLauncher(environment={"KEY": "nvapi-secret"})
    running = launcher.start(a_launch(api_key_env="KEY"))
    assert (running.secret, running.secret_env) == ("nvapi-secret", "KEY")
    assert "nvapi-secret" not in repr(running)
    saved = Running(id="e1", launcher="remote", url=running.url, secret_env="KEY")
    adopted = launcher.adopt(saved)
    assert adopted is not None
    assert adopted.secret == "nvapi-secret"


def test_a_key_that_is_not_there_is_said_by_its_variables_name() -> None:
    with pytest.raises(SettingError, match="the environment variable 'KEY', which shall hold the server's key, is not set"):
        RemoteLauncher(environment={}).start(a_launch(api_key_env="KEY"))
    assert RemoteLauncher(environment={}).adopt(Running(id="e1", launcher="remote", url="http://x", secret_env="KEY")) is None


def test_a_server_that_does_not_answer_is_unreachable_after_some_tries() -> None:
    now = [0.0]
    never = EndpointProbe(every_s=1.0, failures=5, ask=lambda running, timeout_s: False, spawn=lambda run: run())
    launcher = RemoteLauncher(environment={}, clock=lambda: now[0], probe=never)
    running = launcher.start(a_launch())
    seen = []
    for _ in range(5):
        seen.append(launcher.look(running))
        now[0] += 1.0
    assert [observed.state for observed in seen] == ["starting"] * 4 + ["ended"]
    assert (seen[-1].reason, seen[-1].message) == ("unreachable", "the server does not say on /v1/health/ready that it is ready")
