"""What happens in a process in, logs and traces for people and collectors out. Knows no request, no model and no plane."""

from emberank.telemetry.logs import JsonLines, Words, set_up_logging
from emberank.telemetry.traces import Hop, RequestTrace, Traces

__all__ = ["Hop", "JsonLines", "RequestTrace", "Traces", "Words", "set_up_logging"]
