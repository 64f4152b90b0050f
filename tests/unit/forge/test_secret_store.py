"""Keys of other people's servers: kept for their owner alone, and never shown."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from emberank.cli import main
from emberank.contract.errors import SettingError, StartError
from emberank.forge.secret_store import SecretStore

KEY = "nvapi-" + "s3cret" * 10


def test_a_secret_is_there_until_it_is_removed_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    assert (store.get("KEY"), store.names()) == ("", [])
    store.set("KEY", f"{KEY}\n")
    store.set("OTHER", "x")
    store.set("KEY", f" {KEY} ")
    assert (store.get("KEY"), store.names()) == (KEY, ["KEY", "OTHER"])
    assert os.stat(tmp_path / "secrets").st_mode & 0o777 == 0o700
    assert os.stat(tmp_path / "secrets" / "KEY").st_mode & 0o777 == 0o600
    assert (store.remove("KEY"), store.remove("KEY")) == (True, False)
    assert (store.get("KEY"), store.names()) == ("", ["OTHER"])


@pytest.mark.parametrize("name", ["", "a b", "../x", "KEY.x", "1KEY", "K" * 101, "kéy"])
def test_what_is_no_name_is_refused_and_never_a_path(tmp_path: Path, name: str) -> None:
    store = SecretStore(tmp_path)
    with pytest.raises(SettingError, match="is no name for a secret"):
        store.set(name, "x")
    with pytest.raises(SettingError, match="is no name for a secret"):
        store.remove(name)
    assert store.get(name) == ""


@pytest.mark.parametrize("secret", ["", "\n", "two words", "two\nlines", "schlüssel", "x" * 9000, "a\x00b"])
def test_what_cannot_be_a_key_is_refused_without_being_repeated(tmp_path: Path, secret: str) -> None:
    with pytest.raises(SettingError) as refused:
        SecretStore(tmp_path).set("KEY", secret)
    assert not secret.strip() or secret.strip() not in refused.value.message
    assert SecretStore(tmp_path).names() == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file")
    with pytest.raises(StartError, match="cannot be kept in"):
        SecretStore(tmp_path).set("KEY", "x")


def test_a_damaged_secret_is_none(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.set("KEY", "x")
    (tmp_path / "secrets" / "KEY").write_bytes(b"\xff\xfe")
    assert store.get("KEY") == ""


def test_the_command_keeps_lists_and_forgets_and_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--data-dir", str(tmp_path)]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
    assert main(["secret", "set", "NVIDIA_NIM_API_KEY", *folder]) == 0
    assert main(["secret", "list", *folder]) == 0
    assert SecretStore(tmp_path).get("NVIDIA_NIM_API_KEY") == KEY
    assert main(["secret", "remove", "NVIDIA_NIM_API_KEY", *folder]) == 0
    assert main(["secret", "remove", "NVIDIA_NIM_API_KEY", *folder]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "emberank: NVIDIA_NIM_API_KEY is kept",
        "NVIDIA_NIM_API_KEY",
        "emberank: NVIDIA_NIM_API_KEY is forgotten",
        "emberank: NVIDIA_NIM_API_KEY was not kept here",
    ]
    assert KEY not in said.out + said.err


def test_an_empty_standard_input_is_refused_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["secret", "set", "KEY", "--data-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "emberank: there is nothing to keep as KEY: the secret is read from standard input, and it was empty\n"
