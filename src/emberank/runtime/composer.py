"""A call's items in, sequences for the network out: template, tokenizer, and the places where an image's states will stand. Knows no head and no engine.

What truncation does: END keeps the sequence's beginning, so the passage is cut first, then the query, as NIM says it. START (embeddings only)
keeps what a tokenizer puts first and the text's end. An image is never cut: the text beside it is, and an image that does not fit by itself is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emberank.contract.errors import SettingError, UnknownArchitecture
from emberank.contract.inference import InputType, Modality, Truncate
from emberank.runtime.chunks import Ruler
from emberank.runtime.engines.base import Features
from emberank.runtime.items import Item, Picture
from emberank.runtime.prompts import TEMPLATES, around_image, filled, prompted, unmarked, unmarked_pair
from emberank.runtime.tokenizer import Encoded, Tail, TextTokenizer

# Beginnings of texts that a tokenizer might glue to what stands before them.
_BEGINNINGS = (
    "",
    "The sky",
    " x",
    "  x",
    "\n",
    "\n\nx",
    " \n x",
    "\t\n a",
    "\u0301x",
    "123",
    ":",
    "::",
    "'s",
    "'S",
    "\u96ea",
    "\u200b",
    "</s>",
    "<|eot_id|>",
    "<image>",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTokens:
    """How an image is written in a sequence."""

    token: int  # the id whose embedding is replaced by an image's states
    per_tile: int
    width: int  # of a state: the language model's hidden width
    rows: int  # of the token table: the tokens that a tokenizer knows beyond it are read as zeros


class Composer:
    """One checkpoint's way to make sequences. Calls block, as the tokenizer's do."""

    def __init__(
        self, tokenizer: TextTokenizer, template: str, prompts: Mapping[str, str], limits: Mapping[Modality, int], image: ImageTokens | None = None
    ) -> None:
        """`limits` are the longest sequences by modality, special tokens included. Raises UnknownArchitecture for a tokenizer that cannot do images, SettingError."""
        self._tokenizer = tokenizer
        self._template = TEMPLATES[template]
        self._prompts = prompts
        self._limits = limits
        self._image = image
        self._frame = tokenizer.framed(self._template.opening, self._template.closing)
        if self._frame.size >= limits["text"]:
            raise SettingError(f"max_tokens {limits['text']} leaves no room for a text: the template takes {self._frame.size} tokens by itself")
        # Where the tokenizer would glue the two parts of a pair together, they are tokenised together, the query again for each passage.
        self._divides = all(tokenizer.divides(filled(self._template.lead, "x"), filled(self._template.tail, text)) for text in _BEGINNINGS)
        if image is not None and not all(tokenizer.divides("</img>", f" {text}") for text in ("question:", *_BEGINNINGS)):
            raise UnknownArchitecture("tokenizer.json reads `</img>` and the text behind it as one word: an image cannot be put into its sequences exactly")

    def rank(self, query: str, passages: Sequence[Item], truncate: Truncate, most: int | None = None) -> list[Encoded]:
        """A sequence for each (query, passage), of a passage's text its first `most` tokens. Raises InputTooLong, and BadRequest for an image that does not fit."""
        texts = [item.text or "" for item in passages]
        if not self._template.lead:
            return self._tokenizer.pairs(query, texts, truncate, most)
        lead = filled(self._template.lead, query)
        tails = [filled(self._template.tail, text) for text in texts]
        lead_alone, alone = lead, [tail for tail, item in zip(tails, passages) if item.picture is None]
        if self._template.reads_images:
            lead_alone, alone = unmarked_pair(lead, alone)
        first = self._most(lead_alone, most)
        # An image stands before the question, a space between them.
        first_shown = self._most(f" {lead}", most)
        shown = [Tail(tail, self._limits[item.modality], self._block("", item.picture), first_shown) for tail, item in zip(tails, passages) if item.picture]
        return self._merged(
            passages,
            self._tokenizer.joined(self._frame, lead_alone, [Tail(tail, self._limits["text"], most=first) for tail in alone], truncate, divides=self._divides),
            self._tokenizer.joined(self._frame, f" {lead}", shown, truncate, divides=self._divides),
            "",
        )

    def ruler(self, query: str, most: int | None) -> Ruler:
        """What a passage of text may be long beside `query`, at most `most` tokens: what it adds to the pair's length."""
        template = self._template
        if not template.lead:
            return self._tokenizer.ruler_of_seconds(query, most)
        marked = filled(template.lead, query)

        def pair(text: str) -> tuple[str, str]:
            lead, tail = marked, filled(template.tail, text)
            if template.reads_images:
                lead, (tail,) = unmarked_pair(lead, [tail])
            return lead, tail

        room = self._limits["text"] - self._frame.size
        if self._divides:
            return self._tokenizer.ruler(room - self._tokenizer.length(pair("")[0]), most, lambda text: pair(text)[1])
        return self._tokenizer.ruler(room, most, lambda text: "".join(pair(text)))

    def _most(self, lead: str, most: int | None) -> int | None:
        """`most` tokens of a passage, in tokens of what is tokenised with it."""
        if most is None:
            return None
        empty = filled(self._template.tail, "")
        return most + self._tokenizer.length(empty if self._divides else lead + empty)

    def embed(self, items: Sequence[Item], input_type: InputType | None, truncate: Truncate) -> list[Encoded]:
        """A sequence for each item, the prompt for `input_type` before its text. An image is a passage whatever is said. Raises as `rank`."""
        prompt, before_image = self._prompts.get(input_type or "", ""), self._prompts.get("passage", "")
        texts = [prompted(prompt, item.text or "", once=self._template.prompt_once) for item in items if item.picture is None]
        if self._template.reads_images and input_type == "passage":
            texts = [unmarked(text) for text in texts]
        shown = [Tail(f" {item.text or ''}", self._limits[item.modality], self._block(before_image, item.picture)) for item in items if item.picture]
        return self._merged(items, self._tokenizer.singles(texts, truncate), self._tokenizer.joined(self._frame, "", shown, truncate), before_image)

    def _block(self, prompt: str, picture: Picture) -> list[int]:
        """`prompt`, then an image, as ids."""
        assert self._image is not None, "a model without images is not given one"
        before, after = around_image(prompt)
        return [*self._tokenizer.ids(before), *[self._image.token] * (self._image.per_tile * len(picture.tiles)), *self._tokenizer.ids(after)]

    def _merged(self, items: Sequence[Item], alone: list[Encoded], shown: list[Encoded], prompt: str) -> list[Encoded]:
        """Both kinds in the order of `items`, room for the states in those with an image."""
        if self._image is None:
            return alone
        texts, images = iter(alone), iter(shown)
        encoded = [next(texts) if item.picture is None else self._with_room(next(images), item.picture, self._image, prompt) for item in items]
        return [_padded(one, self._image) for one in encoded]

    def _with_room(self, encoded: Encoded, picture: Picture, image: ImageTokens, prompt: str) -> Encoded:
        first = len(self._frame.before) + len(self._tokenizer.ids(around_image(prompt)[0]))
        rows = image.per_tile * len(picture.tiles)
        features = Features(np.arange(first, first + rows, dtype=np.int32), np.zeros((rows, image.width), np.float32))
        return replace(encoded, sequence=replace(encoded.sequence, features=features))


def _padded(encoded: Encoded, image: ImageTokens) -> Encoded:
    """The published vision models' tokenizers know more tokens than their token tables have rows; the missing rows are zeros in every server."""
    ids, features = encoded.sequence.ids, encoded.sequence.features
    beyond = np.flatnonzero(ids >= image.rows).astype(np.int32)
    if not len(beyond):
        return encoded
    beyond = beyond if features is None else np.setdiff1d(beyond, features.at)
    zeros = Features(beyond, np.zeros((len(beyond), image.width), np.float32))
    if features is not None:
        # The image's rows stay in front: a plan writes into what it finds there.
        zeros = Features(np.concatenate([features.at, zeros.at]), np.concatenate([features.values, zeros.values]))
    return replace(encoded, sequence=replace(encoded.sequence, ids=np.where(ids < image.rows, ids, 0).astype(np.int32), features=zeros))
