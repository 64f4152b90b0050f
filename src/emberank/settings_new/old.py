"""Rows in, settings out: a setting is one row, and the environment, TOML, --help and the reference page all come from it.

Precedence, highest first: command line, EMBERANK_* variables, NVIDIA's NIM variables, the TOML file, the row's default.
Does not know what a setting is used for.
"""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from emberank.contract.errors import SettingError


def _row(default: Any, unit: str, sentence: str, least: float | None = None, most: float | None = None) -> Any:
    """One setting: its default, its unit, a sentence on what it trades, and the bounds of a number."""
    return field(default=default, metadata={"unit": unit, "sentence": sentence, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings:
    """Everything `emberank runtime` can be told. Sizes are bytes, durations carry their unit in the name."""

    host: str = _row("127.0.0.1", "address", "Where to listen. 0.0.0.0 opens the server to the network; it has no keys of its own.")
    port: int = _row(8000, "port", "TCP port; 0 takes a free one and prints it.", 0, 65535)
    models: tuple[str, ...] = _row(
        ("default",),
        "sources",
        "What to serve: preset names, `hf:org/name`, `file:/folder`; `name=source` gives a served name. `default` is both default models.",
    )
    model_path: str = _row("", "folder", "One checkpoint folder to serve instead of `models`, as NIM's variable of that name does.")
    served_model_name: str = _row("", "name", "The name under which a single model is served; further names after commas are aliases.")
    cache_dir: str = _row("", "folder", "Where fetched weights are kept; empty means `$XDG_CACHE_HOME/emberank` or `~/.cache/emberank`.")
    engine: Literal["openvino", "reference", "fake"] = _row(
        "openvino", "name", "What runs the network: `openvino` is the fast one, `reference` is NumPy in float64 (slow, exact), `fake` is for tests only."
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = _row(
        "auto",
        "name",
        "Arithmetic: `auto` is bf16 where the CPU has AMX and fp32 elsewhere; `int8` is faster without AMX and less exact (docs/behaviour/precision.md).",
    )
    threads: int = _row(0, "threads", "Threads of the engine; 0 means one per core.", 0, 4096)
    tokenizer_threads: int = _row(0, "threads", "Requests tokenised at the same time; 0 means one per core, at most 4.", 0, 256)
    max_batch_tokens: int = _row(
        1024, "tokens", "Tokens in one run of the engine: more raises throughput a little and the wait of the next request a lot.", 16, 1 << 20
    )
    max_wait_ms: float = _row(
        0.0,
        "milliseconds",
        "How long an idle engine waits for company before it starts a small batch; 0 never waits, and batches form while it is busy.",
        0,
        10_000,
    )
    max_queue_size: int = _row(1024, "requests", "Requests waiting or running before new ones are refused.", 1, 1 << 20)
    max_queue_tokens: int = _row(4 << 20, "tokens", "Tokens waiting before new requests are refused: the bound on the queue's memory.", 1024, 1 << 30)
    queue_full_status: Literal[429, 503] = _row(429, "HTTP status", "What a refused request gets, always with Retry-After: 429, or 503 as the 2.x NIM answers.")
    request_timeout_s: float = _row(
        120.0, "seconds", "A request's deadline, and the time its body may take; a caller's X-Request-Timeout header can only shorten it.", 0.001, 86_400
    )
    read_timeout_s: float = _row(30.0, "seconds", "How long a client may take to send its headers, and then between two pieces of its body.", 0.01, 3600)
    keep_alive_s: float = _row(75.0, "seconds", "How long an idle connection is kept.", 1, 3600)
    shutdown_grace_s: float = _row(30.0, "seconds", "After SIGTERM: how long running requests may take to finish before they are dropped.", 0, 3600)
    max_connections: int = _row(4096, "connections", "Open connections before new requests get a bare 503.", 1, 1 << 20)
    max_passages: int = _row(512, "passages", "Passages in one ranking request; 512 is NIM's limit, 1000 the hosted one's.", 1, 100_000)
    max_inputs: int = _row(8192, "inputs", "Inputs in one embeddings request.", 1, 1_000_000)
    max_body_bytes: int = _row(32 << 20, "bytes", "Size of a request's body.", 1024, 1 << 31)
    max_buffered_bytes: int = _row(256 << 20, "bytes", "Bodies being received at one time, all requests together, before new ones are refused.", 1024, 1 << 40)
    default_truncate: Literal["NONE", "START", "END"] = _row(
        "NONE", "name", "What is done with an over-long input when the request does not say: NONE refuses it, as NIM does."
    )
    over_length_status: Literal[400, 422] = _row(
        400, "HTTP status", "What an over-long input with truncate=NONE gets: 400, or 422 as rerank NIMs from 1.9.1 on answer."
    )
    ranking_unknown_fields: Literal["reject", "ignore"] = _row(
        "reject", "rule", "Unknown fields of a ranking request: 400 as the 2.x NIM answers, or ignored and named in a response header."
    )
    embeddings_unknown_fields: Literal["reject", "ignore"] = _row("ignore", "rule", "The same for embeddings, where real clients send fields of their own.")
    log_level: Literal["debug", "info", "warning", "error", "critical"] = _row("info", "level", "Least severity that is logged.")
    log_format: Literal["pretty", "compact", "json"] = _row("pretty", "name", "`json` is one object a line.")
    tls_cert_path: str = _row("", "file", "PEM certificate chain; with `tls_key_path` the server speaks HTTPS.")
    tls_key_path: str = _row("", "file", "PEM private key.")

    prefix: ClassVar[str] = "EMBERANK_"


def _bind(value: str) -> dict[str, str]:
    host, _, port = value.rpartition(":")
    return {"host": host.strip("[]"), "port": port} if host else {"host": value}


def _rust_log(value: str) -> dict[str, str]:
    # An EnvFilter may hold per-target directives ("info,hyper=warn"); the first bare level is the one meant for everything.
    levels = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "error": "error", "off": "critical"}
    bare = [levels[part.strip().lower()] for part in value.split(",") if part.strip().lower() in levels]
    return {"log_level": bare[0]} if bare else {}


def _precision(value: str) -> dict[str, str]:
    # NIM's fp16 and fp8 are GPU arithmetic: on a CPU the nearest thing is our own choice.
    return {"precision": "auto" if value.lower() in ("fp16", "fp8", "auto") else value}


def _jsonl(value: str) -> dict[str, str]:
    return {"log_format": "json"} if value.strip().lower() in ("1", "true", "yes", "on") else {}


def _same(name: str) -> Callable[[str], dict[str, str]]:
    return lambda value: {name: value}


def _level(value: str) -> dict[str, str]:
    # The two of NIM's levels that are not Python's.
    level = value.strip().lower()
    return {"log_level": {"trace": "debug", "default": "info"}.get(level, level)}


# NVIDIA's variables → ours. Later rows win over earlier ones: the 2.3 names over the 2.0 names over the 1.x names.
NIM_VARIABLES: dict[str, tuple[Callable[[str], dict[str, str]], str]] = {
    "NIM_HTTP_API_PORT": (_same("port"), "port"),
    "NIM_LOG_LEVEL": (_level, "log_level"),
    "NIM_JSONL_LOGGING": (_jsonl, "log_format"),
    "NIM_LOGGING_JSONL": (_jsonl, "log_format"),
    "NIM_CACHE_PATH": (_same("cache_dir"), "cache_dir"),
    "NIM_NUM_TOKENIZERS": (_same("tokenizer_threads"), "tokenizer_threads"),
    "NIM_SERVED_MODEL_NAME": (_same("served_model_name"), "served_model_name"),
    "NIM_CUSTOM_MODEL": (_same("model_path"), "model_path"),
    "NIM_TRITON_DYNAMIC_BATCHING_MAX_QUEUE_DELAY_MICROSECONDS": (lambda us: {"max_wait_ms": str(float(us) / 1000)}, "max_wait_ms"),
    "LOG_FORMAT": (_same("log_format"), "log_format"),
    "RUST_LOG": (_rust_log, "log_level"),
    "NIM_BIND_ADDR": (_bind, "host, port"),
    "NIM_MAX_QUEUE_SIZE": (_same("max_queue_size"), "max_queue_size"),
    "NIM_REQUEST_TIMEOUT_S": (_same("request_timeout_s"), "request_timeout_s"),
    "NIM_MAX_WAIT_MS": (_same("max_wait_ms"), "max_wait_ms"),
    "NIM_TLS_CERT_PATH": (_same("tls_cert_path"), "tls_cert_path"),
    "NIM_TLS_KEY_PATH": (_same("tls_key_path"), "tls_key_path"),
    "NIM_PRECISION": (_precision, "precision"),
    "NIM_MODEL_PATH": (_same("model_path"), "model_path"),
    "NIM_SERVER_BIND_ADDR": (_bind, "host, port"),
    "NIM_SERVER_MAX_QUEUE_SIZE": (_same("max_queue_size"), "max_queue_size"),
    "NIM_SERVER_REQUEST_TIMEOUT_S": (_same("request_timeout_s"), "request_timeout_s"),
    "NIM_SERVER_MAX_WAIT_MS": (_same("max_wait_ms"), "max_wait_ms"),
    "NIM_SERVER_TLS_CERT_PATH": (_same("tls_cert_path"), "tls_cert_path"),
    "NIM_SERVER_TLS_KEY_PATH": (_same("tls_key_path"), "tls_key_path"),
    "NIM_SERVER_SERVED_MODEL_NAME": (_same("served_model_name"), "served_model_name"),
    "NIM_ENGINE_PRECISION": (_precision, "precision"),
    "NIM_ENGINE_MODEL_PATH": (_same("model_path"), "model_path"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A setting as the outside sees it."""

    name: str
    type: Any
    default: Any
    unit: str
    sentence: str
    least: float | None
    most: float | None

    @property
    def flag(self) -> str:
        """Its command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """Its environment variable."""
        return RuntimeSettings.prefix + self.name.upper()

    @property
    def nim(self) -> tuple[str, ...]:
        """NVIDIA's variables that set it."""
        return tuple(name for name, (_, sets) in NIM_VARIABLES.items() if self.name in sets.split(", "))


def rows() -> tuple[Row, ...]:
    """Every setting, in the order of the class above."""
    types = get_type_hints(RuntimeSettings)
    return tuple(
        Row(f.name, types[f.name], f.default, f.metadata["unit"], f.metadata["sentence"], f.metadata["least"], f.metadata["most"])
        for f in dataclasses.fields(RuntimeSettings)
    )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` one flag per setting. A flag that is not used leaves no trace in the namespace's truth: its value is None."""
    for row in rows():
        parser.add_argument(row.flag, dest=row.name, default=None, metavar=row.unit.upper().replace(" ", "_"), help=_help(row))


def _help(row: Row) -> str:
    default = ",".join(row.default) if isinstance(row.default, tuple) else row.default
    return f"{row.sentence} Default: {default if default != '' else 'empty'}.".replace("%", "%%")


def load(env: Mapping[str, str], flags: Mapping[str, str | None]) -> RuntimeSettings:
    """Settings from the command line, the environment and the file that `EMBERANK_CONFIG` names.

    Raises SettingError, which names the source, the value and what would be right.
    """
    raw: dict[str, tuple[str, object]] = {}
    config = env.get("EMBERANK_CONFIG")
    if config:
        raw.update({name: (config, value) for name, value in _toml(Path(config)).items()})
    for variable, (translate, _) in NIM_VARIABLES.items():
        if env.get(variable):
            raw.update(_translated(variable, translate, env[variable]))
    for row in rows():
        if env.get(row.env):  # empty is absent, as compose files write it
            raw[row.name] = (row.env, env[row.env])
        if flags.get(row.name) is not None:
            raw[row.name] = (row.flag, flags[row.name])
    by_name = {row.name: row for row in rows()}
    return RuntimeSettings(**{name: _parse(by_name[name], source, value) for name, (source, value) in raw.items()})


def _translated(variable: str, translate: Callable[[str], dict[str, str]], value: str) -> dict[str, tuple[str, object]]:
    try:
        return {name: (variable, text) for name, text in translate(value).items()}
    except ValueError as cause:
        raise SettingError(f"{variable}={value!r} is not a number") from cause


def _toml(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("runtime", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise SettingError(f"EMBERANK_CONFIG: cannot read {str(path)!r}: {cause}") from cause
    if not isinstance(table, dict):
        raise SettingError(f"{path}: `runtime` has to be a table: [runtime]")
    known = {row.name for row in rows()}
    unknown = sorted(set(table) - known)
    if unknown:
        raise SettingError(f"{path}: unknown setting {unknown[0]!r} in [runtime]; `emberank settings` lists them")
    return table


def _parse(row: Row, source: str, value: object) -> Any:
    """`value` as the row's type. Text is parsed; a TOML value must already have the right type or be text."""
    if get_origin(row.type) is tuple:
        parts = value if isinstance(value, list) else str(value).split(",")
        return tuple(str(part).strip() for part in parts if str(part).strip())
    if get_origin(row.type) is Literal:
        return _choice(row, source, str(value))
    if row.type is str:
        return str(value)
    try:
        number = row.type(str(value).strip())
    except ValueError as cause:
        raise SettingError(f"{source}={value!r} must be {'a whole number' if row.type is int else 'a number'} ({row.unit})") from cause
    if not (row.least is None or row.least <= number) or not (row.most is None or number <= row.most):
        raise SettingError(f"{source}={value!r} must be between {row.least} and {row.most} ({row.unit})")
    return number


def _choice(row: Row, source: str, value: str) -> Any:
    for choice in get_args(row.type):
        if value.strip().lower() == str(choice).lower():
            return choice
    allowed = ", ".join(repr(str(choice)) for choice in get_args(row.type))
    raise SettingError(f"{source}={value!r} must be one of {allowed}")


def render(settings: RuntimeSettings) -> str:
    """The settings in force, one `EMBERANK_X=value` a line with its sentence: what SHOW_CONFIG=1 prints. Holds no secret."""
    lines = []
    for row in rows():
        value = getattr(settings, row.name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        also = f" [also {', '.join(row.nim)}]" if row.nim else ""
        lines.append(f"{row.env}={text}\n    {row.sentence} ({row.unit}){also}")
    return "\n".join(lines)


def reference_page() -> str:
    """docs/reference/settings.md, written from the rows; a test holds the file to this."""
    head = (
        "# Settings\n\n<!-- written by `emberank settings --markdown`; a test holds this page to the code -->\n\n"
        "Highest first: the command line (`--port 8001`), our variables (`EMBERANK_PORT=8001`), NVIDIA's NIM variables, the `[runtime]` table of the TOML file that\n"
        "`EMBERANK_CONFIG` names, the default. `SHOW_CONFIG=1` or `emberank runtime --show-config` prints the values in force and exits.\n\n"
        "| flag | variable | NIM's variables | default | unit | what it does |\n|---|---|---|---|---|---|\n"
    )
    body = ""
    for row in rows():
        default = ",".join(row.default) if isinstance(row.default, tuple) else row.default
        choices = f" One of {', '.join(f'`{c}`' for c in get_args(row.type))}." if get_origin(row.type) is Literal else ""
        nim = ", ".join(f"`{name}`" for name in row.nim)
        body += f"| `{row.flag}` | `{row.env}` | {nim} | {f'`{default}`' if default != '' else 'empty'} | {row.unit} | {row.sentence}{choices} |\n"
    return head + body
