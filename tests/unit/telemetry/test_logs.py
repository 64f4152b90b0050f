"""Log records to lines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest

from emberank.telemetry import JsonLines, Words, set_up_logging

Form = Literal["pretty", "compact", "json"]


def record(message: str = "a request", *arguments: object, level: int = logging.INFO, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.getLogger("emberank.test").makeRecord("emberank.test", level, "file.py", 1, message, arguments, exc_info, extra=extra)
    made.created = 86_400.0625  # 1970-01-02T00:00:00.062Z
    return made


def failed() -> ZeroDivisionError:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        return error
    raise AssertionError


def test_a_json_line_has_time_level_action_message_and_the_extras_as_keys() -> None:
    line = JsonLines().format(record("%s of %d", "part", 2, action="request", status=200, ms=1.25, model="a/b"))
    assert json.loads(line) == {
        "time": "1970-01-02T00:00:00.062Z",
        "level": "info",
        "action": "request",
        "message": "part of 2",
        "status": 200,
        "ms": 1.25,
        "model": "a/b",
    }


def test_a_json_line_is_one_line_whatever_is_in_it() -> None:
    line = JsonLines().format(record("two\nlines", model="a\r\nb\u2028", error=failed()))
    assert len(line.split("\n")) == 1
    found = json.loads(line)
    assert found["message"] == "two\nlines"
    assert "ZeroDivisionError: division by zero" in found["exception"]


def test_numbers_of_numpy_and_things_without_a_json_form_do_not_stop_a_line() -> None:
    found = json.loads(JsonLines().format(record(score=np.float32(0.5), count=np.int64(3), scores=np.array([1.0, 2.0]), thing={1})))
    assert (found["score"], found["count"], found["scores"], found["thing"]) == (0.5, 3, [1.0, 2.0], "{1}")


def test_a_record_without_an_action_is_a_log() -> None:
    assert json.loads(JsonLines().format(record()))["action"] == "log"


def test_what_every_record_has_is_no_extra() -> None:
    assert set(json.loads(JsonLines().format(record()))) == {"time", "level", "action", "message"}
    assert Words(compact=False).format(record()).endswith("a request")


def test_a_pretty_line_has_date_level_sentence_and_pairs() -> None:
    line = Words(compact=False).format(record(action="request", status=200, ms=1.23456, model="a b"))
    assert line == '1970-01-02T00:00:00.062Z info    a request status=200 ms=1.235 model="a b"'


def test_a_compact_line_has_the_time_of_day_the_action_and_pairs() -> None:
    assert Words(compact=True).format(record(action="request", status=200)) == "00:00:00.062 request status=200"


@pytest.mark.parametrize("compact", [True, False])
def test_what_a_caller_wrote_cannot_make_a_line_of_its_own(compact: bool) -> None:
    line = Words(compact=compact).format(record("model 'x\n1970 info forged' not found", model="a\rb\x1b[2J\u2028"))
    assert line.isprintable()
    assert "a\\rb\\x1b[2J\\u2028" in line


@pytest.mark.parametrize("compact", [True, False])
def test_text_of_any_language_is_left_as_it_is(compact: bool) -> None:
    assert Words(compact=compact).format(record("Größe 雪 🔥")).endswith("Größe 雪 🔥")


@pytest.mark.parametrize("compact", [True, False])
def test_a_traceback_stands_below_its_line(compact: bool) -> None:
    first, *rest = Words(compact=compact).format(record("batch failed", error=failed())).split("\n")
    assert first.endswith("batch failed")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ZeroDivisionError: division by zero"


@pytest.fixture
def loggers() -> Iterator[None]:
    """Everything that set_up_logging changes is put back."""
    names = (None, "uvicorn", "httpx", "httpcore", "huggingface_hub", "asyncio", "urllib3", "opentelemetry")
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).handlers[:]) for name in names}
    yield
    for name, (level, handlers) in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers[:] = handlers


def logged(level: str, form: Form, capsys: pytest.CaptureFixture[str], **extra: Any) -> list[str]:
    set_up_logging(level, form)
    log = logging.getLogger("emberank.some.module")
    log.debug("the debug line", extra=extra)
    log.info("the info line", extra=extra)
    log.warning("the warning line", extra=extra)
    out, err = capsys.readouterr()
    assert out == "", "standard output is for what a program asked for"
    return err.splitlines()


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("warning", 1), ("critical", 0)])
def test_the_level_decides_what_is_written(level: str, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(logged(level, "json", capsys)) == lines


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize(("form", "beginning"), [("json", "{"), ("pretty", "2"), ("compact", "")])
def test_the_form_decides_how_it_is_written(form: Form, beginning: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = logged("warning", form, capsys, action="act")[0]
    assert line.startswith(beginning)
    assert ("the warning line" in line) == (form != "compact")
    assert (" act" in line) == (form == "compact")


@pytest.mark.usefixtures("loggers")
def test_setting_up_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "json")
    assert len(logged("info", "json", capsys)) == 2
    assert all(handler.stream is sys.stderr for handler in logging.getLogger().handlers)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("loggers")
def test_what_other_libraries_say_at_info_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "json")
    for name in ("uvicorn.error", "httpx", "huggingface_hub.file_download", "asyncio", "urllib3.connectionpool", "opentelemetry.sdk.trace"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    lines = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["trouble"] * 6
