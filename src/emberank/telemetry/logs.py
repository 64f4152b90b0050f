"""Log records in, lines out: every line carries an `action` word and ids, never a text, a key or a vector."""

from __future__ import annotations

import datetime
import logging
import sys
from typing import Literal

import orjson

_STANDARD = set(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName", "action"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its extras as top-level keys."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "action": getattr(record, "action", "log"),
            "message": record.getMessage(),
        }
        line |= _extras(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode("utf-8")


class Words(logging.Formatter):
    """For people: time, level, sentence, `key=value` pairs. `compact` has the time of day and the action word in the place of date and sentence."""

    def __init__(self, compact: bool) -> None:
        super().__init__()
        self._compact = compact

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of an exception below it."""
        action = getattr(record, "action", None)
        start = (
            f"{_time(record)[11:23]} {action or record.getMessage()}"
            if self._compact
            else f"{_time(record)} {record.levelname.lower():<7} {record.getMessage()}"
        )
        pairs = "".join(f" {name}={_shown(value)}" for name, value in _extras(record).items())
        line = _one_line(f"{start}{pairs}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _one_line(text: str) -> str:
    """A caller's text (a model's name in an error) may hold line breaks and terminal codes: shown, not obeyed."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f'"{value}"' if isinstance(value, str) and (" " in value or not value) else str(value)


def set_up_logging(level: str, form: Literal["pretty", "compact", "json"]) -> None:
    """Send every logger of the process to standard error in the form asked for."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonLines() if form == "json" else Words(compact=form == "compact"))
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(level.upper())
    # uvicorn says at INFO what our own lines say with ids.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, root.level))
    for noisy in ("httpx", "httpcore", "huggingface_hub", "asyncio", "urllib3", "opentelemetry"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
