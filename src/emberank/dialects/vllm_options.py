"""The options that every pooling request of vLLM may have in, what they mean here out; those that cannot be had are refused in words. Pure.

Source: vLLM's pooling protocol (`PoolingBasicRequestMixin`, `ClassifyRequestMixin`, `EncodingRequestMixin`). `priority`, `cache_salt` and `request_id` change no number
and are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emberank.contract.errors import BadRequest
from emberank.contract.inference import Truncate
from emberank.dialects.reading import choice, flag, shown
from emberank.dialects.scores import Score, read_score

# The three names that vLLM has had for one thing, the newest first.
_ACTIVATION = ("use_activation", "activation", "softmax")

# What would change an answer and cannot be had: the values that ask for nothing, and what to say of all others.
_REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "instruction": (("",), "the served models take no instruction besides their own prompt"),
    "chat_template": (("",), "a model's prompt is its own here"),
    "chat_template_kwargs": (({},), "a model's prompt is its own here"),
    "mm_processor_kwargs": (({},), "images are read as the model's own settings say"),
    "media_io_kwargs": (({},), "images are read as the model's own settings say"),
    "add_special_tokens": ((True,), "a model's prompt is its own here, special tokens included"),
    "padding": (("do_not_pad",), "inputs are never padded with what a model would read"),
}

FIELDS = ("user", "truncate", "truncate_prompt_tokens", "truncation_side", *_ACTIVATION, *_REFUSED)


def refuse_what_cannot_be(fields: dict[str, Any]) -> None:
    """Raises BadRequest for an option that would change the answer and is none here."""
    for name, (harmless, why) in _REFUSED.items():
        value = fields.get(name)
        if value is not None and not any(type(value) is type(each) and value == each for each in harmless):
            raise BadRequest(f"{name} is not supported: {why}; leave it out")


def pairs_truncate(fields: dict[str, Any], default: Truncate) -> Truncate:
    """What is done with a pair that is too long. Raises BadRequest; a pair is only ever cut from the right, starting with the passage."""
    truncate = _truncate(fields, default, ("NONE", "END"))
    if truncate == "END" and _side(fields) == "left":
        raise BadRequest("truncation_side 'left' is not supported for pairs: they are cut from the right, starting with the passage")
    return truncate


def inputs_truncate(fields: dict[str, Any], default: Truncate) -> Truncate:
    """What is done with an input that is too long. Raises BadRequest."""
    truncate = _truncate(fields, default, ("NONE", "START", "END"))
    return "START" if truncate == "END" and _side(fields) == "left" else truncate


def _truncate(fields: dict[str, Any], default: Truncate, allowed: Sequence[Truncate]) -> Truncate:
    """NIM's own word `truncate` is taken as well. vLLM counts all tokens of a prompt, and only -1, the model's own limit, is a bound that every server has."""
    tokens = fields.get("truncate_prompt_tokens")
    said = choice(fields, "truncate", allowed, default)
    if tokens is None:
        return said
    if isinstance(tokens, bool) or not isinstance(tokens, int):
        raise BadRequest(f"truncate_prompt_tokens must be -1 or absent; got {shown(tokens)}")
    if tokens != -1:
        raise BadRequest(
            f"truncate_prompt_tokens {tokens} is not supported: it counts the whole prompt, and only the model's own limit can be had, which is -1; "
            "max_tokens_per_doc cuts documents that are ranked"
        )
    if fields.get("truncate") is not None and said == "NONE":
        raise BadRequest("truncate_prompt_tokens -1 and truncate 'NONE' say two things; send one of the two")
    return "END" if said == "NONE" else said


def _side(fields: dict[str, Any]) -> str:
    return choice(fields, "truncation_side", ("right", "left"), "right")


def activation(fields: dict[str, Any]) -> bool | None:
    """Whether outputs are to be passed through the model's activation; None where nothing is said. Raises BadRequest where two of its names differ."""
    given = {name: flag(fields, name, default=True) for name in _ACTIVATION if fields.get(name) is not None}
    if len(set(given.values())) > 1:
        raise BadRequest(f"{' and '.join(given)} are one option and differ; send use_activation alone")
    return next(iter(given.values()), None)


def score_of(fields: dict[str, Any], default: Score) -> Score:
    """The score scale: `use_activation` false is the raw logit, true the sigmoid; `score_mode` says it as on every rerank route. Raises BadRequest where they differ."""
    activated = activation(fields)
    if activated is None:
        return read_score(fields, default)
    score = read_score(fields, "sigmoid" if activated else "logit")
    if activated != (score != "logit"):
        raise BadRequest(f"use_activation {str(activated).lower()} and score_mode {shown(fields['score_mode'])} differ; send one of the two")
    return score
