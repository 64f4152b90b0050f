"""What there is to say of somebody else's server, and what is refused."""

from __future__ import annotations

import pytest

from emberank.contract.errors import SettingError
from emberank.forge.catalog import Version
from emberank.forge.remote_settings import RemoteSettings, read_remote_settings, remote_host

NVIDIA, COHERE, NIM = "nvidia_nim/nvidia/x", "cohere:https://api.cohere.com", "nim:http://nim:8000"


def test_nothing_said_leaves_everything_to_the_server_s_kind() -> None:
    assert read_remote_settings(NVIDIA, {}) == read_remote_settings(NIM, {}) == RemoteSettings(score="logit")
    assert read_remote_settings(COHERE, {}) == RemoteSettings(score="sigmoid")


def test_every_setting_is_read() -> None:
    numbers = {"max_passages": "100", "timeout_s": "2.5", "usd_per_request": "0.002", "usd_per_million_tokens": "0.05"}
    found = read_remote_settings(COHERE, {"api_key_env": "COHERE_API_KEY", "served_name": "rerank-v3.5", "score": "logit", **numbers})
    assert (found.api_key_env, found.served_name, found.score) == ("COHERE_API_KEY", "rerank-v3.5", "logit")
    assert (found.max_passages, found.timeout_s, found.usd_per_request, found.usd_per_million_tokens) == (100, 2.5, 0.002, 0.05)
    assert read_remote_settings(NVIDIA, {"api_base": "http://nim:8000"}).api_base == "http://nim:8000"


@pytest.mark.parametrize(
    ("source", "settings", "said"),
    [
        (NIM, {"api_base": "http://x"}, "of a nim: source can be `api_key_env`, `served_name`"),
        (NVIDIA, {"score": "sigmoid"}, "of a nvidia_nim/ source can be `api_base`"),
        (COHERE, {"precision": "int8"}, "not 'precision'"),
        (COHERE, {"served_nam": "x"}, "is 'served_name' meant?"),
        (COHERE, {"api_key_env": "sk-123"}, "never the key itself"),
        (COHERE, {"api_key_env": ""}, "never the key itself"),
        (COHERE, {"score": "probability"}, "`score` has to be 'sigmoid'"),
        (COHERE, {"max_passages": "0"}, "`max_passages` has to be a whole number from 1"),
        (COHERE, {"max_passages": "1e3"}, "`max_passages` has to be a whole number"),
        (COHERE, {"timeout_s": "0"}, "`timeout_s` has to be a number from 0.1"),
        (COHERE, {"usd_per_request": "-1"}, "`usd_per_request` has to be a number from 0"),
        (COHERE, {"usd_per_request": "nan"}, "`usd_per_request` has to be a number from 0"),
        (COHERE, {"usd_per_million_tokens": "cheap"}, "`usd_per_million_tokens` has to be a number"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(source: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError) as refused:
        read_remote_settings(source, settings)
    assert said in refused.value.message


def test_the_host_that_is_shown_follows_setting_and_environment() -> None:
    assert remote_host(Version(name="v1", source="hf:org/name"), "rank", {}) is None
    assert remote_host(Version(name="v1", source=NVIDIA), "rank", {}) == "ai.api.nvidia.com"
    assert remote_host(Version(name="v1", source=NVIDIA), "rank", {"NVIDIA_NIM_API_BASE": "http://nim.env:9/v1"}) == "nim.env:9"
    assert remote_host(Version(name="v1", source=NVIDIA, settings={"api_base": "http://own"}), "rank", {"NVIDIA_NIM_API_BASE": "http://nim.env"}) == "own"
    assert remote_host(Version(name="v1", source=COHERE), "rank", {}) == "api.cohere.com"
