"""Imported by Python itself at the start of every process that has this folder in PYTHONPATH: it may reach this machine only."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import loopback_only

loopback_only.enforce()
