"""OpenAI's embeddings, both directions: fields ↔ contract, with what NIM, Voyage, Jina and Infinity add to them on the same URL. Pure.

Sources: the HTTP reference of NVIDIA's embedding NIM, OpenAI's, Voyage's and Jina's API references, and what their unmodified clients were seen to send.
`dimensions` of 0 and null are absent (infinity_client). NIM's sentences are NIM's to the letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from emberank.contract.errors import BadRequest
from emberank.contract.inference import (
    EMBEDDING_TYPES,
    ENCODING_FORMATS,
    MODALITIES,
    Content,
    EmbedCall,
    EmbeddingType,
    EncodingFormat,
    InputType,
    Modality,
    Truncate,
)
from emberank.dialects import nim
from emberank.dialects.answers import Embeddings
from emberank.dialects.asked import AskedEmbed, Told
from emberank.dialects.embedded_image import SeveralImages, embedded, image_url
from emberank.dialects.reading import choice, flag, kind, optional_count, optional_text, refuse_unknown, shown, text_field, unknown_fields
from emberank.dialects.vectors import as_units, coded

VOYAGE_FIELDS = ("output_dimension", "output_dtype", "truncation")
JINA_FIELDS = ("task", "normalized", "late_chunking")
FIELDS = (*nim.EMBEDDING_FIELDS, *VOYAGE_FIELDS, *JINA_FIELDS)

TRUNCATES: tuple[Truncate, ...] = ("NONE", "START", "END")
_CONTENT_FIELDS = ("text", "image")
# Jina's adapters as our models know them: the two sides of a search, or neither.
_TASKS: dict[str, InputType | None] = {
    "retrieval.query": "query",
    "retrieval.passage": "passage",
    "text-matching": None,
    "classification": None,
    "separation": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the vectors of a call are to be written."""

    encoding_format: EncodingFormat
    code: EmbeddingType | None = None  # floats were asked for, to be coded here
    normalized: bool = False  # length one, also where the model leaves a vector its own

    @property
    def plain(self) -> bool:
        """Whether a NIM's own answer is what is wanted."""
        return self.code is None and not self.normalized


def read_embeddings(fields: dict[str, Any], rules: nim.Rules) -> AskedEmbed:
    """A body of /v1/embeddings. Raises BadRequest, with NIM's own sentences where it has them."""
    ignored = unknown_fields(fields, FIELDS)
    if rules.embeddings_unknown_fields == "reject":
        refuse_unknown(ignored, FIELDS)
    optional_text(fields, "user")
    if flag(fields, "late_chunking", default=False):
        raise BadRequest("late_chunking is not supported: every input is embedded for itself; leave it out, or send false")
    inputs = _contents(fields, rules.max_inputs)
    embedding_type, code, encoding_format = _types(fields)
    normalized = _normalized(fields, code or embedding_type)
    dimensions = _dimensions(fields)
    if dimensions is not None and embedding_type != "float":
        raise BadRequest("dimensions cannot be used in combination with embedding_type; send one of the two")
    wanted = Wanted(encoding_format=encoding_format, code=code, normalized=normalized)
    call = EmbedCall(
        model=optional_text(fields, "model"),
        inputs=inputs,
        truncate=_truncate(fields, rules.default_truncate),
        input_type=_input_type(fields, inputs),
        dimensions=dimensions,
        embedding_type=embedding_type,
        # Between servers base64 is the shorter and the exact one; a caller's own wish matters where the answer is passed on as it is.
        encoding_format=encoding_format if wanted.plain else "base64",
    )
    return AskedEmbed(call=call, render=partial(render_embeddings, wanted), ignored=tuple(ignored), plain=wanted.plain)


def render_embeddings(wanted: Wanted, embeddings: Embeddings, told: Told) -> bytes:
    """OpenAI's list, in the order of the inputs."""
    vectors = embeddings.vectors
    if wanted.code is not None:
        vectors = coded(vectors, wanted.code)
    elif wanted.normalized:
        vectors = as_units(vectors)
    return nim.embeddings_body(vectors, wanted.encoding_format, told.model, embeddings.prompt_tokens)


# --- inputs


def _contents(fields: dict[str, Any], limit: int) -> tuple[Content, ...]:
    inputs = _inputs(fields, limit)
    modalities = _modalities(fields, len(inputs))
    return tuple(_content(one, modality, f"input[{i}]") for i, (one, modality) in enumerate(zip(inputs, modalities)))


def _inputs(fields: dict[str, Any], limit: int) -> list[str | dict[str, Any]]:
    value = fields.get("input")
    if value is None:
        raise BadRequest("input: missing field; it must be a string or an array of strings")
    inputs = [value] if isinstance(value, str) else value
    if not isinstance(inputs, list):
        raise BadRequest(f"input must be a string or an array of strings, not {kind(value)}")
    if not inputs:
        raise BadRequest("input must not be empty")
    if len(inputs) > limit:
        raise BadRequest(f"input holds {len(inputs)} entries; at most {limit} are allowed in one request")
    for i, one in enumerate(inputs):
        if isinstance(one, (int, list)) and not isinstance(one, bool):
            raise BadRequest(f"input[{i}] is {kind(one)}: token ids are not accepted, send text (langchain-openai: check_embedding_ctx_length=False)")
        if not isinstance(one, (str, dict)):
            raise BadRequest(f"input[{i}] must be a string, not {kind(one)}")
        if isinstance(one, str) and not one.strip():
            raise BadRequest(f"input[{i}] must not be blank or empty")
    return inputs


def _modalities(fields: dict[str, Any], count: int) -> list[Modality | None]:
    """One modality per input; None where the request leaves it to us."""
    value = fields.get("modality")
    given = value if isinstance(value, list) else [value]
    if len(given) not in (1, count):
        raise BadRequest(f"modality holds {len(given)} entries for {count} inputs; send one for all, or one for each")
    for modality in given:
        if modality is not None and modality not in MODALITIES:
            raise BadRequest(f"modality must be one of 'text', 'image', 'text_image'; got {shown(modality)}")
    return given * count if len(given) == 1 else given


def _content(one: str | dict[str, Any], modality: Modality | None, at: str) -> Content:
    """One input by its modality, inferred as NIM does: a data URL is an image, a text that holds one is both, all else is text."""
    if isinstance(one, dict):
        return _object(one, modality, at)
    if modality == "text":
        return Content(one)
    try:
        found = embedded(one)
    except SeveralImages as cause:
        raise BadRequest(f"{at} holds several images; an input is at most one image and a text beside it: send each image as an input of its own") from cause
    if found is None:
        if modality is None:
            return Content(one)  # though it may speak of data URLs
        elsewhere = "; nothing is fetched from elsewhere" if "://" in one[:4096] else ""
        raise BadRequest(f"{at} has modality '{modality}' and holds no image data URL such as data:image/png;base64,…{elsewhere}")
    return Content(None if modality == "image" else found.rest or None, found.url)


def _object(one: dict[str, Any], modality: Modality | None, at: str) -> Content:
    """Jina's `{"text": …}` and `{"image": …}`: what an input is stands in its fields, so that one we do not know is a content we do not read."""
    refuse_unknown([name for name in unknown_fields(one, _CONTENT_FIELDS, f"{at}.") if one[name.removeprefix(f"{at}.")] is not None], _CONTENT_FIELDS)
    image = image_url(one["image"], f"{at}.image") if one.get("image") is not None else None
    text = one.get("text")
    if image is None or (text is not None and not isinstance(text, str)):
        text = text_field(one, "text", f"{at}.")
    found = Content(text if text and not text.isspace() else None, image)
    if modality is not None and modality != found.modality:
        raise BadRequest(f"{at} has modality '{modality}' and holds '{found.modality}'; leave modality out, or say what the input holds")
    return found


def _input_type(fields: dict[str, Any], inputs: tuple[Content, ...]) -> InputType | None:
    # "document" is what Voyage and Cohere clients call a passage.
    found: InputType | None = None
    if fields.get("input_type") is not None:
        allowed = ("query", "passage", "document")
        found = "query" if choice(fields, "input_type", allowed, "passage") == "query" else "passage"
    if fields.get("task") is not None:
        task = choice(fields, "task", tuple(_TASKS), "text-matching")
        if fields.get("input_type") is not None and _TASKS[task] != found:
            raise BadRequest(f"task is '{task}' and input_type is {shown(fields['input_type'])}; send one of the two")
        found = _TASKS[task]
    if found == "query" and any(content.image is not None for content in inputs):
        raise BadRequest(nim.IMAGE_AS_QUERY)
    return found


# --- what is answered


def _types(fields: dict[str, Any]) -> tuple[EmbeddingType, EmbeddingType | None, EncodingFormat]:
    """What a NIM is asked for, what its floats are to be coded to, and how the answer is written.

    Voyage's `output_dtype` goes with a dimension, which NIM's `embedding_type` does not: it is coded here, from floats.
    """
    embedding_type, in_base64 = _embedding_type(fields)
    default: EncodingFormat = "base64" if in_base64 else "float"
    encoding_format = choice(fields, "encoding_format", ENCODING_FORMATS, default)
    if in_base64 and encoding_format != "base64":
        raise BadRequest("embedding_type is 'base64' and encoding_format is 'float'; send one of the two")
    if fields.get("output_dtype") is None:
        return embedding_type, None, encoding_format
    output_dtype = choice(fields, "output_dtype", EMBEDDING_TYPES, "float")
    if fields.get("embedding_type") is not None and output_dtype != embedding_type:
        raise BadRequest(f"output_dtype is '{output_dtype}' and embedding_type is {shown(fields['embedding_type'])}; send one of the two")
    return embedding_type, None if output_dtype == embedding_type else output_dtype, encoding_format


def _embedding_type(fields: dict[str, Any]) -> tuple[EmbeddingType, bool]:
    """NIM's word for a type, or Jina's, which may be a list and has "base64" among them: floats, written so."""
    value = fields.get("embedding_type")
    if isinstance(value, list):
        if len(value) != 1:
            raise BadRequest(f"embedding_type holds {len(value)} entries; an answer has one type, send one of them a request")
        (value,) = value
    if value is None:
        return "float", False
    if value == "base64":
        return "float", True
    for known in EMBEDDING_TYPES:
        if value == known:
            return known, False
    raise BadRequest("Input should be 'float', 'binary', 'ubinary', 'int8' or 'uint8'")


def _normalized(fields: dict[str, Any], kind_of_code: EmbeddingType) -> bool:
    """Jina's `normalized`. Only signs are the same at any length."""
    if fields.get("normalized") is None:
        return False
    wanted = flag(fields, "normalized", default=True)
    if not wanted and kind_of_code not in ("binary", "ubinary"):
        raise BadRequest("normalized must be true or left out: vectors are brought to length one where the model says so, and other lengths cannot be had")
    return wanted and kind_of_code == "float"


def _dimensions(fields: dict[str, Any]) -> int | None:
    dimensions, also = optional_count(fields, "dimensions"), optional_count(fields, "output_dimension")
    if dimensions is not None and also is not None and dimensions != also:
        raise BadRequest(f"dimensions is {dimensions} and output_dimension is {also}; send one of the two")
    return dimensions or also


def _truncate(fields: dict[str, Any], default: Truncate) -> Truncate:
    """NIM's word, Jina's true (the end is cut) or false, or Voyage's `truncation`, which is the same."""
    value = fields.get("truncate")
    if isinstance(value, bool):
        value = "END" if value else "NONE"
    said: Truncate | None = None if value is None else choice({"truncate": value}, "truncate", TRUNCATES, default)
    if fields.get("truncation") is None:
        return said or default
    cut = flag(fields, "truncation", default=True)
    if said is not None and cut == (said == "NONE"):
        raise BadRequest(f"truncation is {str(cut).lower()} and truncate is {shown(fields['truncate'])}; send one of the two")
    return said or ("END" if cut else "NONE")
