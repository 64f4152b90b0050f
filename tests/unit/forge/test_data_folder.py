"""The data folder: one forge at a time, secrets that are made once, files that only their owner reads."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emberank.contract.errors import StartError
from emberank.forge.data_folder import DataFolder, FleetFile

WAIT_S = 30.0  # for what happens at once; a bound, never a pause
HOLD = "import sys; from emberank.forge.data_folder import DataFolder; f = DataFolder(sys.argv[1]); f.lock(); print('locked', flush=True)"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


class TestFolder:
    def test_it_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        folder = DataFolder(str(tmp_path / "not" / "there" / "yet"))
        paths = [folder.path, folder.logs, folder.endpoints, folder.usage_spool]
        assert [path.name for path in paths] == ["yet", "logs", "endpoints", "usage-spool"]
        assert [mode(path) for path in paths] == [0o700] * 4
        assert folder.db == folder.path / "emberank.db"

    def test_one_that_is_there_is_used_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir(mode=0o755)
        DataFolder(tmp_path / "data")
        DataFolder(tmp_path / "data")
        assert mode(tmp_path / "data") == 0o755

    def test_its_path_stays_what_it_was_when_the_process_moves(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        folder = DataFolder("data")
        monkeypatch.chdir("/")
        assert folder.path == tmp_path / "data"

    @pytest.mark.parametrize("path", ["file", "file/data"])
    def test_a_path_that_cannot_be_one_is_refused_in_one_line(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StartError, match=r"^the data folder '.*' cannot be used: .*; choose another with --data-dir$"):
            DataFolder(tmp_path / path)


class TestLock:
    def test_a_second_forge_is_refused_with_the_process_that_is_there(self, folder: DataFolder) -> None:
        folder.lock()
        folder.lock()
        with pytest.raises(StartError, match=f"^the forge of process {os.getpid()} uses the data folder '.*': stop it"):
            DataFolder(folder.path).lock()

    def test_it_names_the_other_process(self, folder: DataFolder) -> None:
        with held(folder) as process:
            with pytest.raises(StartError, match=rf"\bprocess {process.pid}\b"):
                folder.lock()
            with pytest.raises(StartError):
                folder.lock()

    def test_a_process_that_is_killed_leaves_it_free(self, folder: DataFolder) -> None:
        with held(folder) as process:
            process.kill()
            process.wait(WAIT_S)
            folder.lock()

    def test_it_is_free_again_when_it_is_let_go(self, folder: DataFolder) -> None:
        other = DataFolder(folder.path)
        folder.lock()
        folder.unlock()
        folder.unlock()
        other.lock()
        with pytest.raises(StartError):
            folder.lock()

    def test_a_holder_whose_file_says_nothing_is_another_forge(self, folder: DataFolder) -> None:
        folder.lock()
        (folder.path / "forge.lock").write_bytes(b"")
        with pytest.raises(StartError, match=r"^another forge uses"):
            DataFolder(folder.path).lock()

    def test_a_runtime_that_outlives_its_forge_does_not_hold_it(self, folder: DataFolder) -> None:
        child = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()']); print('born', flush=True); import os; os.kill(os.getpid(), 9)"
        read, write = os.pipe()  # the child lives until its standard input ends
        try:
            with subprocess.Popen([sys.executable, "-c", f"{HOLD}; {child}", str(folder.path)], stdin=read, stdout=subprocess.DEVNULL) as process:
                assert process.wait(WAIT_S) == -9
            folder.lock()
        finally:
            os.close(read)
            os.close(write)

    def test_a_folder_that_is_gone_is_a_start_error(self, folder: DataFolder) -> None:
        for path in (folder.logs, folder.endpoints, folder.usage_spool, folder.path):
            path.rmdir()
        with pytest.raises(StartError, match="cannot be used: No such file"):
            folder.lock()


class held:
    """Another process that holds the folder until the block ends."""

    def __init__(self, folder: DataFolder) -> None:
        self._arguments = [sys.executable, "-c", f"{HOLD}; sys.stdin.read()", str(folder.path)]

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"locked\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=WAIT_S)


class TestSecrets:
    def test_a_secret_is_made_once_for_its_owner_alone(self, folder: DataFolder) -> None:
        secret = folder.secret("keys")
        assert len(bytes.fromhex(secret)) == 32
        assert DataFolder(folder.path).secret("keys") == secret
        assert folder.secret("fleet") != secret
        assert mode(folder.path / "keys.secret") == 0o600

    def test_starting_together_makes_one(self, folder: DataFolder) -> None:
        together = threading.Barrier(8)

        def ask() -> str:
            together.wait(WAIT_S)
            return DataFolder(folder.path).secret("keys")

        with ThreadPoolExecutor(8) as pool:
            found = {asked.result(WAIT_S) for asked in [pool.submit(ask) for _ in range(8)]}
        assert len(found) == 1
        assert leftovers(folder) == []

    def test_a_file_system_without_hard_links_will_do(self, folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "link", refuse)
        assert folder.secret("keys") == folder.secret("keys")
        assert mode(folder.path / "keys.secret") == 0o600
        assert leftovers(folder) == []

    def test_a_full_disk_leaves_no_half_of_one(self, folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(StartError, match="cannot be used"):
            folder.secret("keys")
        monkeypatch.undo()
        assert list(folder.path.glob("*.secret")) == leftovers(folder) == []
        folder.secret("keys")

    @pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, b"G" * 64, b"0" * 65])
    def test_a_damaged_one_is_refused_and_not_repeated_or_replaced(self, folder: DataFolder, content: bytes) -> None:
        (folder.path / "keys.secret").write_bytes(content)
        with pytest.raises(StartError, match="is damaged: restore it from a backup") as caught:
            folder.secret("keys")
        assert "0000" not in caught.value.message
        assert (folder.path / "keys.secret").read_bytes() == content

    def test_one_that_others_could_read_is_closed_to_them_and_said(self, folder: DataFolder, caplog: pytest.LogCaptureFixture) -> None:
        secret = folder.secret("keys")
        (folder.path / "keys.secret").chmod(0o644)
        assert folder.secret("keys") == secret
        assert mode(folder.path / "keys.secret") == 0o600
        assert "could be read by others" in caplog.text
        assert secret not in caplog.text

    @pytest.mark.parametrize("name", ["", "../keys", "a/b", "Keys", ".keys"])
    def test_a_name_is_a_plain_word(self, folder: DataFolder, name: str) -> None:
        with pytest.raises(ValueError, match="is no name"):
            folder.secret(name)


class TestFleetFile:
    SAID = FleetFile(url="http://127.0.0.1:4711", token="t" * 64, pid=4711)

    def test_what_was_said_last_is_read(self, folder: DataFolder) -> None:
        assert folder.read_fleet_file() is None
        folder.write_fleet_file(FleetFile(url="http://127.0.0.1:1", token="old", pid=1))
        folder.write_fleet_file(self.SAID)
        assert folder.read_fleet_file() == self.SAID
        assert mode(folder.path / "fleet.json") == 0o600
        assert leftovers(folder) == []

    def test_its_token_is_not_shown(self) -> None:
        assert "ttt" not in repr(self.SAID)

    def test_a_forge_that_ended_is_not_there(self, folder: DataFolder) -> None:
        folder.write_fleet_file(self.SAID)
        folder.remove_fleet_file()
        folder.remove_fleet_file()
        assert folder.read_fleet_file() is None

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"url": "u", "token": "t", "pid": "x"}', b"\xff"])
    def test_one_that_cannot_be_read_is_as_good_as_none(self, folder: DataFolder, content: bytes) -> None:
        (folder.path / "fleet.json").write_bytes(content)
        assert folder.read_fleet_file() is None

    def test_a_full_disk_leaves_the_one_before(self, folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.write_fleet_file(self.SAID)
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(StartError, match="no room"):
            folder.write_fleet_file(FleetFile(url="", token="", pid=0))
        assert folder.read_fleet_file() == self.SAID
        assert leftovers(folder) == []


def refuse(*_: object) -> None:
    raise OSError(28, "no room")


def leftovers(folder: DataFolder) -> list[Path]:
    return list(folder.path.glob(".*"))
