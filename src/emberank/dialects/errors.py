"""An error in, the body that the readers of a dialect can read out. Pure: the status and Retry-After are the transport's.

Every body holds NIM's `message`, OpenAI's `type` and `code`, and `detail`, always a string: Jina's, Voyage's and LangChain's clients raise what they find there, and stumble
over null and over FastAPI's list. What differs is `error`, an object for OpenAI's and vLLM's readers and a string for NIM's and TEI's, and what a dialect has besides:

  nim     `error` a string
  openai  `error` {message, type, param, code}
  vllm    the same with vLLM's words for `type` (BadRequestError, …); `param` outside too, where vLLM had it before 0.10
  cohere  `error` a string and `id`; also `error_type`, since TEI's rerank comes by the same path
  tei     `error` a string and `error_type`, one of Unhealthy, Backend, Overloaded, Validation, Tokenizer, Empty

Sources: NIM's and OpenAI's references, vLLM's `ErrorResponse`, Cohere's error reference, TEI's OpenAPI document, and what clients were seen to read.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import orjson

from emberank.contract.errors import EmberankError, LimitExceeded, NotReady, QueueFull, RequestError, TargetUnavailable

ErrorStyle: TypeAlias = Literal["nim", "openai", "cohere", "tei", "vllm"]

# By a path's last part.
_STYLES: dict[str, ErrorStyle] = {
    "embeddings": "openai",
    "completions": "openai",
    "responses": "openai",
    "models": "openai",
    "rerank": "cohere",
    "predict": "tei",
    "similarity": "tei",
    "embed_all": "tei",
    "embed_sparse": "tei",
    "tokenize": "tei",
    "decode": "tei",
    "info": "tei",
    "health": "tei",
    "score": "vllm",
    "pooling": "vllm",
    "classify": "vllm",
}
_VLLM_TYPES = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}


def style_of(path: str) -> ErrorStyle:
    """The shape of a path's errors: a route's, and that of a path that is none here but some dialect's. `/embed` is TEI's, `/v1/embed` Cohere's."""
    rest, _, last = path.rstrip("/").rpartition("/")
    if last == "embed":
        return "cohere" if rest.endswith(("/v1", "/v2")) else "tei"
    return _STYLES.get(last, "nim")


def render_error(error: EmberankError, request_id: str, style: ErrorStyle) -> bytes:
    """The body. A name or a value of the caller's may hold what is no UTF-8: it is said with replacement marks."""
    message, kind, status = _clean(error.message), _clean(error.type), error.http_status
    member: object = message
    if style in ("openai", "vllm"):
        word = _VLLM_TYPES.get(status, kind) if style == "vllm" else kind
        member = {"message": message, "type": word, "param": None, "code": status}
    body: dict[str, object] = {
        "object": "error",
        "message": message,
        "type": kind,
        "code": status,
        "detail": message,
        "error": member,
        "request_id": request_id,
    }
    if style == "vllm":
        body["param"] = None
    if style == "cohere":
        body["id"] = request_id
    if style in ("cohere", "tei"):
        body["error_type"] = _tei_type(error)
    return orjson.dumps(body)


def _tei_type(error: EmberankError) -> str:
    """TEI's own six words are all that its typed readers take: a mistake of the caller's, whichever it is, is Validation."""
    if isinstance(error, (QueueFull, LimitExceeded)):
        return "Overloaded"
    if isinstance(error, NotReady):
        return "Unhealthy"
    if isinstance(error, RequestError) and not isinstance(error, TargetUnavailable):
        return "Validation"
    return "Backend"


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
