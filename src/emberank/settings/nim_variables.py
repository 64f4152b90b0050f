"""NVIDIA's NIM variables in, our settings out: one row a variable. Sources: the environment pages of the reranking NIM 2.0.0 and 2.3 and the embedding NIM 2.4."""

from __future__ import annotations

from collections.abc import Callable


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
