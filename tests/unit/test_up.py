"""What `emberank up` gives its forge: exactly its settings, and nothing on the command line."""

from __future__ import annotations

from dataclasses import replace

from emberank.settings import ForgeSettings, load
from emberank.settings.folders import data_dir
from emberank.up import environment_of


def test_a_forge_reads_from_its_environment_the_settings_it_was_given() -> None:
    given = replace(
        ForgeSettings(), host="127.0.0.1", port=0, data_dir="/d", api_key="k" * 20, database_url="postgresql://u:p@h/d", evict_idle=False, idle_after_s=2.5
    )
    assert load(environment_of(given, {}), {}, ForgeSettings) == given


def test_what_was_meant_for_the_gateway_or_a_runtime_does_not_reach_it() -> None:
    around = {"PATH": "/bin", "EMBERANK_PORT": "9", "EMBERANK_MODELS": "x", "NIM_HTTP_API_PORT": "9", "EMBERANK_CONFIG": "/f", "HF_TOKEN": "t"}
    environment = environment_of(ForgeSettings(), around)
    assert environment["PATH"] == "/bin"
    assert environment["HF_TOKEN"] == "t"
    assert environment["EMBERANK_PORT"] == "8010"
    assert not {"EMBERANK_MODELS", "NIM_HTTP_API_PORT", "EMBERANK_CONFIG"} & set(environment)


def test_an_empty_data_folder_setting_means_the_users_own(tmp_path: object) -> None:
    assert str(data_dir("", {"XDG_DATA_HOME": "/x"})) == "/x/emberank"
    assert str(data_dir("", {"XDG_DATA_HOME": "relative"})).endswith("/.local/share/emberank")
    assert str(data_dir("/y", {"XDG_DATA_HOME": "/x"})) == "/y"
