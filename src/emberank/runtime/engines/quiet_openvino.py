"""OpenVINO without its telemetry: import `openvino` from here, never directly.

`import openvino` imports its model-conversion tools, and those send an "import" event to Google Analytics and write a client id into
the home folder (openvino/tools/ovc/__init__.py). We use none of the tools: with these two entries Python reports them as missing,
which OpenVINO is prepared for, and the import is faster too.
"""

from __future__ import annotations

import sys

if "openvino" not in sys.modules:
    for name in ("openvino.tools.ovc", "openvino_telemetry"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is Python's way to say: not to be had

import openvino
from openvino import opset13

__all__ = ["openvino", "opset13"]
