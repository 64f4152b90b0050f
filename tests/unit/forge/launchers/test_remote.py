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


# Servers that charge


def hosted(source: str, *, environment: dict[str, str] | None = None, kept: dict[str, str] | None = None, **settings: str) -> Running:
    launcher = RemoteLauncher(environment=environment or {}, stored=lambda name: (kept or {}).get(name, ""), probe=EndpointProbe(ask=never_asked))
    running = launcher.start(a_launch(source, **settings))
    assert launcher.look(running).state == "ready", "it is ready at once, and nobody asked it"
    return running


def never_asked(running: Running, timeout_s: float) -> bool:
    raise AssertionError("a server that charges was asked for its health")


def test_nvidia_s_own_server_is_known_by_its_model_s_name() -> None:
    running = hosted("nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2", environment={"NVIDIA_NIM_API_KEY": "nvapi-1"})
    assert (running.url, running.wire.path) == ("https://ai.api.nvidia.com", "/v1/retrieval/nvidia/llama-3_2-nv-rerankqa-1b-v2/reranking")
    assert (running.served_name, running.secret, running.wire.dialect) == ("nvidia/llama-3.2-nv-rerankqa-1b-v2", "nvapi-1", "nim")
    assert not running.has_health


def test_the_base_comes_from_the_environment_as_in_litellm() -> None:
    running = hosted("nvidia_nim/ranking/nvidia/llama-3.2-nv-rerankqa-1b-v2", environment={"NVIDIA_NIM_API_BASE": "http://nim:8000/v1"})
    assert (running.url + running.wire.path, running.secret, running.secret_env) == ("http://nim:8000/v1/ranking", "", "")


def test_a_key_is_taken_from_the_environment_before_the_store() -> None:
    both = {"environment": {"NVIDIA_NIM_API_KEY": "of-environment"}, "kept": {"NVIDIA_NIM_API_KEY": "of-store"}}
    assert hosted("nvidia_nim/nvidia/x", **both).secret == "of-environment"
    assert hosted("nvidia_nim/nvidia/x", kept=both["kept"]).secret == "of-store"
    assert hosted("cohere:https://c", kept={"MINE": "k"}, api_key_env="MINE").secret == "k"
    assert hosted("cohere:https://c").secret == "", "a server in one's own network may want none"


def test_nvidia_s_own_server_without_a_key_is_refused_with_both_ways_to_give_one() -> None:
    with pytest.raises(
        SettingError, match=r"'NVIDIA_NIM_API_KEY'.* is not set, and no secret of that name is kept here: emberank secret set NVIDIA_NIM_API_KEY"
    ):
        hosted("nvidia_nim/nvidia/x")


def test_a_key_that_could_not_be_a_header_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingError) as refused:
        hosted("cohere:https://c", environment={"K": "two\r\nlines"}, api_key_env="K")
    assert "cannot be a key" in refused.value.message
    assert "lines\r" not in refused.value.message


def test_what_is_said_of_a_server_reaches_the_endpoint() -> None:
    running = hosted("cohere:https://c/v2/rerank", served_name="rerank-v3.5", score="logit", max_passages="100", timeout_s="3", usd_per_request="0.002")
    assert running.served_name == "rerank-v3.5"
    assert (running.wire.dialect, running.wire.path, running.wire.score) == ("cohere", "/v2/rerank", "logit")
    assert (running.wire.max_passages, running.wire.timeout_s, running.wire.usd_per_request, running.wire.usd_per_million_tokens) == (100, 3.0, 0.002, None)


def test_a_base_that_is_none_is_said_with_the_model() -> None:
    with pytest.raises(SettingError, match="ranker v1: api_base is 'nim:8000'"):
        hosted("nvidia_nim/nvidia/x", environment={"NVIDIA_NIM_API_BASE": "nim:8000"})


def test_what_was_let_go_is_gone_and_can_be_taken_up_again() -> None:
    launcher = RemoteLauncher(environment={}, probe=EndpointProbe(ask=never_asked))
    running = launcher.start(a_launch("cohere:https://c"))
    launcher.stop(running)
    assert launcher.look(running).over
    assert launcher.look(running).state == "ready"
