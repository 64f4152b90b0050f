"""OpenVINO's telemetry stays out: shown in a fresh process, since modules are imported once."""

import os
import subprocess
import sys

PROBE = """
import socket, sys, threading

def refuse(*arguments):
    raise SystemExit(f"tried to connect: {arguments[1:]}")

socket.socket.connect = refuse
socket.getaddrinfo = lambda *arguments, **more: refuse(None, *arguments)
import emberank.runtime.engines.openvino
assert sys.modules["openvino_telemetry"] is None
assert sys.modules["openvino.tools.ovc"] is None
assert [thread.name for thread in threading.enumerate()] == ["MainThread"], threading.enumerate()
"""


def test_importing_the_engine_neither_connects_nor_writes_into_the_home_folder(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)  # OpenVINO's telemetry keeps quiet where it sees CI; a user's machine is the case that matters
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
