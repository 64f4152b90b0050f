"""Texts in, scores or vectors out, over HTTP: NVIDIA's /v1/ranking and /v1/embeddings. Does not know what they are wanted for."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import SettingError, StartError
from emberank.contract.inference import InputType

Scorer: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""A query and passages → one score per passage, in their order; higher is more relevant."""

Embedder: TypeAlias = Callable[[Sequence[str], InputType], NDArray[np.float32]]
"""Texts → (texts, dimensions)."""

MAX_PASSAGES = 512  # NIM's limit for one call
MAX_INPUTS = 64  # no limit of the route's: a call of a few seconds rather than of minutes on a CPU


def http_scorer(base_url: str, model: str | None, timeout_s: float = 600.0, *, version: str | None = None, key: str = "") -> HttpScorer:
    """A scorer over one kept connection. `model` None leaves the choice to the server, and so does `version`; `key` is sent as Bearer."""
    return HttpScorer(_Connection(base_url, timeout_s, key), model, version)


def http_embedder(base_url: str, model: str | None, timeout_s: float = 600.0, *, key: str = "") -> HttpEmbedder:
    """An embedder over one kept connection. `model` None leaves the choice to the server; `key` is sent as Bearer."""
    return HttpEmbedder(_Connection(base_url, timeout_s, key), model)


class _OverHttp:
    """What both have: a connection and a model. `close`, or the end of a `with` block, closes the connection."""

    def __init__(self, connection: _Connection, model: str | None, version: str | None = None) -> None:
        self._connection = connection
        self._model = {name: value for name, value in (("model", model), ("model_version", version)) if value is not None}

    def close(self) -> None:
        """Close the connection; the next call would open another."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class HttpScorer(_OverHttp):
    """A `Scorer` that asks POST /v1/ranking."""

    def __call__(self, query: str, passages: Sequence[str]) -> list[float]:
        """Score `passages`, at most 512 a call; a passage longer than the model reads is cut at its end."""
        return [score for part in _parts(passages, MAX_PASSAGES) for score in self._rank(query, part)]

    def _rank(self, query: str, passages: Sequence[str]) -> list[float]:
        body = {**self._model, "query": {"text": query}, "passages": [{"text": text} for text in passages], "truncate": "END"}
        return self._connection.post("/v1/ranking", body, lambda answer: _in_order(answer["rankings"], "logit", len(passages)))


class HttpEmbedder(_OverHttp):
    """An `Embedder` that asks POST /v1/embeddings."""

    def __call__(self, texts: Sequence[str], input_type: InputType) -> NDArray[np.float32]:
        """Embed `texts`, 64 a call; a text longer than the model reads is cut at its end."""
        return np.array([vector for part in _parts(texts, MAX_INPUTS) for vector in self._embed(part, input_type)], dtype=np.float32)

    def _embed(self, texts: Sequence[str], input_type: InputType) -> list[list[float]]:
        body = {**self._model, "input": list(texts), "input_type": input_type, "truncate": "END"}
        return self._connection.post("/v1/embeddings", body, lambda answer: _in_order(answer["data"], "embedding", len(texts)))


def _parts(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


def _in_order(rows: list[dict[str, Any]], key: str, expected: int) -> list[Any]:
    """The rows' values in the order that was asked for: a ranking answers best first, with the place asked for in `index`."""
    values = {row["index"]: row[key] for row in rows}
    if len(rows) != expected or values.keys() != set(range(expected)):
        raise ValueError(f"{len(rows)} results for {expected} texts, or an index that was not asked for")
    return [values[index] for index in range(expected)]


class _Connection:
    """One kept connection to a server. Every failure comes out as one line with the address, the status and the server's words."""

    def __init__(self, base_url: str, timeout_s: float, key: str = "") -> None:
        # Users copy base addresses with and without the version; both are meant.
        self._base = base_url.rstrip("/").removesuffix("/v1")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            parts = urlsplit(self._base)
            self._prefix = parts.path
            self._http = kinds[parts.scheme](parts.hostname or "", parts.port, timeout=timeout_s)
        except (KeyError, ValueError, http.client.InvalidURL) as error:
            raise SettingError(f"{base_url!r} is not an address such as http://127.0.0.1:8000") from error
        if not parts.hostname:
            raise SettingError(f"{base_url!r} names no host")

    def close(self) -> None:
        self._http.close()

    def post(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], list[Any]]) -> list[Any]:
        """Post `body` and `read` the answer."""
        status, raw = self._exchange(path, json.dumps(body).encode())
        if status != 200:
            raise StartError(f"{self._base}{path} answered {status}: {_words_of(raw)}")
        try:
            return read(json.loads(raw))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StartError(f"{self._base}{path} answered 200 with a body that is not understood: {error}") from error

    def _exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            return self._send(path, body)
        except TimeoutError as error:
            self.close()
            raise StartError(f"{self._base}{path} did not answer within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise StartError(f"{self._base}{path} cannot be reached: {str(error) or type(error).__name__}") from error

    def _send(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send once, and a second time where a kept connection turns out to have been closed by the server meanwhile."""
        kept = self._http.sock is not None
        try:
            return self._send_once(path, body)
        except ConnectionError:
            self.close()
            if not kept:
                raise
            return self._send_once(path, body)

    def _send_once(self, path: str, body: bytes) -> tuple[int, bytes]:
        self._http.request("POST", self._prefix + path, body, self._headers)
        response = self._http.getresponse()
        return response.status, response.read()


def _words_of(raw: bytes) -> str:
    """The server's message as one line: the field that NVIDIA's, OpenAI's or FastAPI's errors keep it in, or the body's beginning."""
    text = raw.decode("utf-8", "replace")
    try:
        found = _message(json.loads(text))
    except ValueError:
        found = None
    line = " ".join((found or text).split())
    return (line if len(line) <= 300 else line[:300] + "…") or "(no message)"


def _message(body: Any) -> str | None:
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return None
    return next((found for key in ("message", "error", "detail") if (found := _message(body.get(key)))), None)
