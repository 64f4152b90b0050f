"""Settings from every source, highest first, and the page that is written from the rows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from emberank.contract.errors import SettingError
from emberank.settings import NIM_VARIABLES, Row, RuntimeSettings, add_flags, load, reference_page, render, rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "emberank.toml"
        path.write_text(text)
        return str(path)

    return write


def row(name: str) -> Row:
    return next(row for row in rows() if row.name == name)


def test_without_any_source_the_defaults_are_in_force() -> None:
    assert load({}, {}) == RuntimeSettings()


# Each source is over all those below it. The lowest is the default, 120 s.
SOURCES = {
    "flag": ({}, {"request_timeout_s": "1"}, 1),
    "ours": ({"EMBERANK_REQUEST_TIMEOUT_S": "2"}, {}, 2),
    "NIM 2.3": ({"NIM_SERVER_REQUEST_TIMEOUT_S": "3"}, {}, 3),
    "NIM 2.0": ({"NIM_REQUEST_TIMEOUT_S": "4"}, {}, 4),
    "TOML": ({"EMBERANK_CONFIG": "[runtime]\nrequest_timeout_s = 5"}, {}, 5),
}


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_a_higher_source_wins_over_all_lower_ones(toml: Callable[[str], str], first: int) -> None:
    env: dict[str, str] = {}
    flags: dict[str, str | None] = {}
    for extra, given, _ in list(SOURCES.values())[first:]:
        env |= {name: toml(value) if name == "EMBERANK_CONFIG" else value for name, value in extra.items()}
        flags |= given
    assert load(env, flags).request_timeout_s == list(SOURCES.values())[first][2]


def test_the_three_generations_of_nims_names_for_one_thing_are_ordered() -> None:
    oldest = {"NIM_TRITON_DYNAMIC_BATCHING_MAX_QUEUE_DELAY_MICROSECONDS": "1000", "NIM_HTTP_API_PORT": "1", "NIM_LOG_LEVEL": "ERROR", "NIM_JSONL_LOGGING": "1"}
    middle = {"NIM_MAX_WAIT_MS": "2", "NIM_BIND_ADDR": "h:2", "RUST_LOG": "debug", "LOG_FORMAT": "compact"}
    newest = {"NIM_SERVER_MAX_WAIT_MS": "3", "NIM_SERVER_BIND_ADDR": "i:3"}

    def seen(env: dict[str, str]) -> tuple[object, ...]:
        found = load(env, {})
        return found.max_wait_ms, found.host, found.port, found.log_level, found.log_format

    assert seen(oldest) == (1.0, "127.0.0.1", 1, "error", "json")
    assert seen(middle | oldest) == (2.0, "h", 2, "debug", "compact")
    assert seen(newest | middle | oldest) == (3.0, "i", 3, "debug", "compact")


def test_a_file_that_is_named_is_read_and_the_rest_of_the_file_is_not_ours(toml: Callable[[str], str]) -> None:
    path = toml('[runtime]\nport = 81\nmodels = ["a=hf:x/y", "default"]\nmax_wait_ms = 2.5\ndefault_truncate = "END"\n[gateway]\nanything = 1')
    found = load({"EMBERANK_CONFIG": path}, {})
    assert (found.port, found.models, found.max_wait_ms, found.default_truncate) == (81, ("a=hf:x/y", "default"), 2.5, "END")


# Every one of NVIDIA's variables: a value, and where it lands.
LANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "NIM_HTTP_API_PORT": ("9000", {"port": 9000}),
    "NIM_LOG_LEVEL": ("WARNING", {"log_level": "warning"}),
    "NIM_JSONL_LOGGING": ("1", {"log_format": "json"}),
    "NIM_LOGGING_JSONL": ("True", {"log_format": "json"}),
    "NIM_CACHE_PATH": ("/opt/cache", {"cache_dir": "/opt/cache"}),
    "NIM_NUM_TOKENIZERS": ("3", {"tokenizer_threads": 3}),
    "NIM_SERVED_MODEL_NAME": ("a,b", {"served_model_name": "a,b"}),
    "NIM_CUSTOM_MODEL": ("/m", {"model_path": "/m"}),
    "NIM_TRITON_DYNAMIC_BATCHING_MAX_QUEUE_DELAY_MICROSECONDS": ("2500", {"max_wait_ms": 2.5}),
    "LOG_FORMAT": ("compact", {"log_format": "compact"}),
    "RUST_LOG": ("hyper=debug,warn", {"log_level": "warning"}),
    "NIM_BIND_ADDR": ("0.0.0.0:81", {"host": "0.0.0.0", "port": 81}),
    "NIM_MAX_QUEUE_SIZE": ("7", {"max_queue_size": 7}),
    "NIM_REQUEST_TIMEOUT_S": ("9", {"request_timeout_s": 9.0}),
    "NIM_MAX_WAIT_MS": ("11", {"max_wait_ms": 11.0}),
    "NIM_TLS_CERT_PATH": ("/c.pem", {"tls_cert_path": "/c.pem"}),
    "NIM_TLS_KEY_PATH": ("/k.pem", {"tls_key_path": "/k.pem"}),
    "NIM_PRECISION": ("fp16", {"precision": "auto"}),
    "NIM_MODEL_PATH": ("/m", {"model_path": "/m"}),
    "NIM_SERVER_BIND_ADDR": ("[::]:82", {"host": "::", "port": 82}),
    "NIM_SERVER_MAX_QUEUE_SIZE": ("7", {"max_queue_size": 7}),
    "NIM_SERVER_REQUEST_TIMEOUT_S": ("9", {"request_timeout_s": 9.0}),
    "NIM_SERVER_MAX_WAIT_MS": ("11", {"max_wait_ms": 11.0}),
    "NIM_SERVER_TLS_CERT_PATH": ("/c.pem", {"tls_cert_path": "/c.pem"}),
    "NIM_SERVER_TLS_KEY_PATH": ("/k.pem", {"tls_key_path": "/k.pem"}),
    "NIM_SERVER_SERVED_MODEL_NAME": ("a", {"served_model_name": "a"}),
    "NIM_ENGINE_PRECISION": ("int8", {"precision": "int8"}),
    "NIM_ENGINE_MODEL_PATH": ("/m", {"model_path": "/m"}),
}


def test_the_table_above_is_complete() -> None:
    assert set(LANDS) == set(NIM_VARIABLES)


@pytest.mark.parametrize("variable", NIM_VARIABLES)
def test_each_of_nvidias_variables_lands_where_its_row_says(variable: str) -> None:
    value, expected = LANDS[variable]
    found, default = load({variable: value}, {}), RuntimeSettings()
    changed = {r.name: getattr(found, r.name) for r in rows() if getattr(found, r.name) != getattr(default, r.name)}
    assert changed == {name: wanted for name, wanted in expected.items() if wanted != getattr(default, name)}
    assert {name: getattr(found, name) for name in expected} == expected
    assert all(variable in row(name).nim for name in expected)


@pytest.mark.parametrize("variable", NIM_VARIABLES)
def test_one_of_nvidias_variables_that_is_empty_is_as_good_as_not_set(variable: str) -> None:
    assert load({variable: ""}, {}) == RuntimeSettings()


@pytest.mark.parametrize(
    ("value", "level"),
    [("info,hyper=warn", "info"), ("trace", "debug"), ("OFF", "critical"), ("hyper=trace", "info"), ("emberank=debug, error", "error")],
)
def test_of_a_filter_of_log_levels_the_one_for_everything_counts(value: str, level: str) -> None:
    assert load({"RUST_LOG": value}, {}).log_level == level


@pytest.mark.parametrize(("value", "level"), [("DEBUG", "debug"), ("CRITICAL", "critical"), ("TRACE", "debug"), ("DEFAULT", "info")])
def test_every_level_that_nim_has_is_understood(value: str, level: str) -> None:
    assert load({"NIM_LOG_LEVEL": value}, {}).log_level == level


@pytest.mark.parametrize("value", ["0", "false", "no"])
def test_jsonl_logging_that_is_switched_off_changes_nothing(value: str) -> None:
    assert load({"NIM_JSONL_LOGGING": value}, {}).log_format == "pretty"


@pytest.mark.parametrize(("value", "precision"), [("fp8", "auto"), ("FP16", "auto"), ("auto", "auto"), ("fp32", "fp32"), ("BF16", "bf16")])
def test_arithmetic_that_only_a_gpu_has_becomes_our_own_choice(value: str, precision: str) -> None:
    assert load({"NIM_PRECISION": value}, {}).precision == precision


@pytest.mark.parametrize(("value", "host", "port"), [("127.0.0.2:81", "127.0.0.2", 81), ("[::1]:81", "::1", 81), ("localhost", "localhost", 8000)])
def test_an_address_to_bind_is_a_host_and_a_port(value: str, host: str, port: int) -> None:
    found = load({"NIM_BIND_ADDR": value}, {})
    assert (found.host, found.port) == (host, port)


NUMBERS = [row for row in rows() if row.type in (int, float)]
CHOICES = [row for row in rows() if get_origin(row.type) is not tuple and get_args(row.type)]


def refused(env: dict[str, str], flags: dict[str, str | None] | None = None) -> str:
    with pytest.raises(SettingError) as raised:
        load(env, flags or {})
    assert "\n" not in raised.value.message
    return raised.value.message


@pytest.mark.parametrize("one", NUMBERS, ids=lambda row: row.name)
def test_a_number_has_bounds_and_its_refusal_names_them(one: Row) -> None:
    assert one.least is not None
    assert one.most is not None
    assert one.least <= one.default <= one.most
    for bound in (one.least, one.most):
        assert getattr(load({one.env: f"{bound}"}, {}), one.name) == bound
    for beyond in (one.least - 1, one.most + 1):
        assert refused({one.env: f"{beyond}"}) == f"{one.env}='{beyond}' must be between {one.least} and {one.most} ({one.unit})"


@pytest.mark.parametrize("one", NUMBERS, ids=lambda row: row.name)
@pytest.mark.parametrize("value", ["many", " ", "0x10", "1,5", "1e"])
def test_what_is_no_number_is_refused(one: Row, value: str) -> None:
    kind = "a whole number" if one.type is int else "a number"
    assert refused({one.env: value}) == f"{one.env}={value!r} must be {kind} ({one.unit})"


def test_a_number_that_is_none_or_has_no_end_is_out_of_bounds() -> None:
    for value in ("nan", "inf", "-inf"):
        assert "must be between" in refused({"EMBERANK_MAX_WAIT_MS": value})


@pytest.mark.parametrize("one", CHOICES, ids=lambda row: row.name)
def test_a_choice_is_read_in_any_case_and_its_refusal_lists_the_others(one: Row) -> None:
    for choice in get_args(one.type):
        assert getattr(load({one.env: f" {str(choice).upper()} "}, {}), one.name) == choice
    message = refused({one.env: "something"})
    assert message.startswith(f"{one.env}='something' must be one of ")
    assert all(repr(str(choice)) in message for choice in get_args(one.type))


@pytest.mark.parametrize(
    ("env", "flags", "source"),
    [
        ({}, {"port": "99999"}, "--port='99999'"),
        ({"EMBERANK_PORT": "-1"}, {}, "EMBERANK_PORT='-1'"),
        ({"NIM_HTTP_API_PORT": "http"}, {}, "NIM_HTTP_API_PORT='http'"),
        ({"NIM_SERVER_BIND_ADDR": "0.0.0.0:http"}, {}, "NIM_SERVER_BIND_ADDR='http'"),
        (
            {"NIM_TRITON_DYNAMIC_BATCHING_MAX_QUEUE_DELAY_MICROSECONDS": "soon"},
            {},
            "NIM_TRITON_DYNAMIC_BATCHING_MAX_QUEUE_DELAY_MICROSECONDS='soon' is not a number",
        ),
    ],
)
def test_a_refusal_names_the_source_as_the_person_wrote_it(env: dict[str, str], flags: dict[str, str | None], source: str) -> None:
    assert refused(env, flags).startswith(source)


def test_a_bad_value_that_a_higher_source_overrules_does_no_harm() -> None:
    assert load({"NIM_HTTP_API_PORT": "http"}, {"port": "81"}).port == 81


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[runtime]\nprot = 81", "unknown setting 'prot'"),
        ("[runtime", "cannot read"),
        ("[runtime]\nport = 99999", "must be between 0 and 65535"),
        ("runtime = 3", "table"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_its_name(toml: Callable[[str], str], text: str, reason: str) -> None:
    message = refused({"EMBERANK_CONFIG": toml(text)})
    assert "emberank.toml" in message
    assert reason in message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refused({"EMBERANK_CONFIG": str(tmp_path / "none.toml")})


def test_lists_may_have_spaces_and_empty_parts() -> None:
    assert load({"EMBERANK_MODELS": " a , b,,"}, {}).models == ("a", "b")


def test_every_setting_has_a_flag_that_leaves_no_trace_when_it_is_not_used() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    assert load({}, vars(parser.parse_args([]))) == RuntimeSettings()
    words = [word for one in NUMBERS for word in (one.flag, str(one.least))]
    found = load({}, vars(parser.parse_args(words)))
    assert all(getattr(found, one.name) == one.least for one in NUMBERS)


def test_help_says_every_sentence_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    said = " ".join(parser.format_help().split())
    for one in rows():
        assert one.flag in said
        assert " ".join(one.sentence.split()[:4]) in said


def test_every_row_has_a_unit_and_a_whole_sentence() -> None:
    for one in rows():
        assert one.unit
        assert one.sentence.endswith(".")
        assert one.env == f"EMBERANK_{one.name.upper()}"


def test_what_is_in_force_is_shown_with_where_it_can_be_set() -> None:
    shown = render(load({"NIM_HTTP_API_PORT": "81"}, {"models": "a,b"}))
    assert "EMBERANK_PORT=81\n    TCP port" in shown
    assert "[also NIM_HTTP_API_PORT, NIM_BIND_ADDR, NIM_SERVER_BIND_ADDR]" in shown
    assert "EMBERANK_MODELS=a,b\n" in shown
    assert [line.partition("=")[0] for line in shown.splitlines() if not line.startswith(" ")] == [one.env for one in rows()]


def test_what_is_shown_can_be_set_again() -> None:
    given = load({"EMBERANK_PORT": "81", "EMBERANK_MODELS": "a,b", "EMBERANK_MAX_WAIT_MS": "2.5", "EMBERANK_PRECISION": "int8"}, {})
    lines = [line for line in render(given).splitlines() if not line.startswith(" ")]
    assert load(dict(line.split("=", 1) for line in lines), {}) == given


def test_the_reference_page_is_what_the_rows_say() -> None:
    assert PAGE.read_text("utf-8") == reference_page(), "run `make docs`"


def test_the_reference_page_has_one_line_for_each_setting() -> None:
    lines = [line for line in reference_page().partition("## emberank gateway")[0].splitlines() if line.startswith("| `--")]
    assert [line.split("`")[1] for line in lines] == [one.flag for one in rows()]
    assert all(variable in reference_page() for variable in NIM_VARIABLES)
