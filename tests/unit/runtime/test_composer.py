"""Sequences as a checkpoint's own code makes them: held against the whole prompt written out and tokenised in one go."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE

from emberank.contract.errors import BadRequest, InputTooLong, SettingError, UnknownArchitecture
from emberank.contract.inference import MODALITIES, Modality, Truncate
from emberank.runtime.composer import Composer, ImageTokens
from emberank.runtime.items import Item, Picture
from emberank.runtime.presets import presets
from emberank.runtime.sources.base import parse_source
from emberank.runtime.tokenizer import Encoded, TextTokenizer
from emberank.runtime.weights import cached, default_cache_dir
from family_tokenizers import tokenizer_llama3_like, tokenizer_modernbert_like, tokenizer_qwen3_like, tokenizer_xlm_like

PER_TILE, WIDTH = 4, 8
NVIDIA_PROMPTS = {"query": "query: ", "passage": "passage: "}
TEXT = st.lists(
    st.sampled_from(
        ["the sky", " the", "  ", "\n", " \n \n", ".", "...\n", "'s", "123", "\u0301", "\u96ea", "\U0001f525", ":", "passage", "question:", "query:"]
    )
    | st.sampled_from(["<|begin_of_text|>", "<|eot_id|>", "<image>", "<img>", "</img>", "<IMG_CONTEXT>", "Passage: "])
    | st.text(max_size=5),
    max_size=40,
).map("".join)


@cache
def llama() -> Tokenizer:
    return tokenizer_llama3_like(images=True)


@cache
def composer(template: str, limit: int = 400, rows: int = 1 << 20) -> Composer:
    image = ImageTokens(token=llama().token_to_id("<IMG_CONTEXT>"), per_tile=PER_TILE, width=WIDTH, rows=rows) if "_vl_" in template else None
    limits: dict[Modality, int] = dict.fromkeys(MODALITIES, limit)
    return Composer(TextTokenizer(tokenizer_llama3_like(images=True), limit), template, NVIDIA_PROMPTS if "embed" in template else {}, limits, image)


def picture(tiles: int = 1) -> Picture:
    return Picture(np.zeros((tiles, 16, 3), np.float32))


def whole(prompt: str) -> list[int]:
    """The prompt in one go, as the published code tokenises it."""
    ids: list[int] = llama().encode(prompt).ids
    return ids


def shown(tiles: int) -> str:
    return f"<img>{'<IMG_CONTEXT>' * (PER_TILE * tiles)}</img>"


def ids(encoded: Encoded) -> list[int]:
    found: list[int] = encoded.sequence.ids.tolist()
    return found


@pytest.mark.claim("nim:ranking:template")
@pytest.mark.claim("nim:ranking:truncate-end-keeps-query")
@given(TEXT, st.lists(TEXT, min_size=1, max_size=3), st.integers(2, 120))
@hypothesis_settings(max_examples=150)
def test_nvidias_text_pair_is_one_string_tokenised_whole_and_cut_from_the_right(query: str, passages: list[str], limit: int) -> None:
    for passage, encoded in zip(passages, composer("nvidia_rerank", limit).rank(query, [Item(passage) for passage in passages], "END"), strict=True):
        expected = whole(f"question:{query} \n \n passage:{passage}")
        assert ids(encoded) == expected[:limit]
        assert (encoded.truncated, encoded.length) == (len(expected) > limit, len(expected))
        assert encoded.sequence.types is None


@given(TEXT, st.lists(TEXT, min_size=1, max_size=2))
@hypothesis_settings(max_examples=80)
def test_a_template_that_cannot_be_divided_is_tokenised_whole(query: str, passages: list[str]) -> None:
    for passage, encoded in zip(passages, composer("nvidia_vl_rerank_other").rank(query, [Item(passage) for passage in passages], "END"), strict=True):
        assert ids(encoded) == whole(f"{query} \n {passage}".replace("<image>", "", 1))


@pytest.mark.claim("nim:ranking:image-before-question")
@given(TEXT, TEXT, st.integers(1, 3))
@hypothesis_settings(max_examples=80)
def test_a_rerankers_image_stands_before_the_question(query: str, passage: str, tiles: int) -> None:
    items = [Item(passage), Item(passage, picture(tiles)), Item(None, picture(1))]
    text, both, image = composer("nvidia_vl_rerank").rank(query, items, "END")
    prompt = f"question:{query} \n \n passage:{passage}"
    assert ids(text) == whole(prompt.replace("<image>", "", 1))
    assert ids(both) == whole(f"{shown(tiles)} {prompt}")
    assert ids(image) == whole(f"{shown(1)} question:{query} \n \n passage:")


@given(TEXT, st.integers(1, 3), st.sampled_from(["passage", None]))
@hypothesis_settings(max_examples=80)
def test_an_embedders_image_stands_between_prompt_and_text(text: str, tiles: int, input_type: object) -> None:
    both, image = composer("nvidia_vl_embed").embed([Item(text, picture(tiles)), Item(None, picture(1))], input_type, "END")  # type: ignore[arg-type]
    assert ids(both) == whole(f"passage: {shown(tiles)} {text}")
    assert ids(image) == whole(f"passage: {shown(1)} ")


@pytest.mark.claim("nim:embeddings:prompts")
def test_an_embedders_texts_get_the_prompt_of_what_they_are() -> None:
    one = composer("nvidia_vl_embed")
    text = "a <image> of snow <image>"
    assert ids(one.embed([Item(text)], "query", "END")[0]) == whole(f"query: {text}")
    assert ids(one.embed([Item(text)], "passage", "END")[0]) == whole("passage: a  of snow <image>")
    assert ids(one.embed([Item(text)], None, "END")[0]) == whole(text)
    assert ids(one.embed([Item("Passage: snow")], "passage", "END")[0]) == whole("Passage: snow")
    assert ids(composer("nvidia_embed").embed([Item("a <image>")], "passage", "END")[0]) == whole("passage: a <image>")


@pytest.mark.parametrize("template", ["nvidia_vl_rerank", "nvidia_vl_embed"])
def test_room_for_an_images_states_is_where_its_tokens_are_and_nowhere_else(template: str) -> None:
    text = "what <IMG_CONTEXT> the caller wrote is text"
    items = [Item("snow"), Item(text, picture(2)), Item(text)]
    one = composer(template)
    encoded = one.rank("the <IMG_CONTEXT>", items, "END") if "rerank" in template else one.embed(items, "passage", "END")
    token = llama().token_to_id("<IMG_CONTEXT>")
    assert encoded[0].sequence.features is None
    assert encoded[2].sequence.features is None
    features = encoded[1].sequence.features
    assert features is not None
    first = ids(encoded[1]).index(token)
    assert features.at.tolist() == list(range(first, first + 2 * PER_TILE))
    assert features.values.shape == (2 * PER_TILE, WIDTH)
    assert np.array_equal(encoded[1].sequence.ids[features.at], [token] * (2 * PER_TILE))


@pytest.mark.claim("nim:embeddings:usage-of-images")
def test_the_length_that_is_counted_is_that_of_the_sequence_with_its_image() -> None:
    encoded = composer("nvidia_vl_embed").embed([Item(None, picture(3))], "passage", "NONE")[0]
    assert encoded.length == len(ids(encoded)) == len(whole("passage: <img></img> ")) + 3 * PER_TILE
    assert not encoded.truncated


@pytest.mark.parametrize("truncate", ["END", "START"])
def test_truncation_cuts_the_text_beside_an_image_and_never_the_image(truncate: Truncate) -> None:
    text = "the snow road of ice and ember " * 20
    encoded = composer("nvidia_vl_embed", 40).embed([Item(text, picture(3))], "passage", truncate)[0]
    expected = whole(f"passage: {shown(3)} {text}")
    block = len(whole(f"passage: {shown(3)}"))
    room = 40 - block
    assert ids(encoded) == expected[:block] + (expected[block : block + room] if truncate == "END" else expected[-room:])
    assert encoded.truncated


@pytest.mark.claim("nim:ranking:image-never-cut")
def test_truncation_of_a_pair_with_an_image_cuts_the_passage_then_the_query() -> None:
    one, long = composer("nvidia_vl_rerank", 60), "the snow road of ice " * 30
    for query in ("way", long):
        encoded = one.rank(query, [Item(long, picture(2))], "END")[0]
        assert ids(encoded) == whole(f"{shown(2)} question:{query} \n \n passage:{long}")[:60]
        assert encoded.truncated
    with pytest.raises(InputTooLong):
        one.rank("way", [Item(long, picture(2))], "NONE")


@pytest.mark.claim("nim:ranking:image-never-cut")
@pytest.mark.parametrize("truncate", ["END", "START", "NONE"])
def test_an_image_that_does_not_fit_by_itself_is_refused_in_words_that_clients_look_for(truncate: Truncate) -> None:
    with pytest.raises(
        BadRequest, match=r"^Input length \d+ exceeds maximum allowed token size 20: the image alone takes \d+ tokens, and an image is never cut$"
    ):
        composer("nvidia_vl_embed", 20).embed([Item("snow", picture(7))], "passage", truncate)


@pytest.mark.claim("nim:embeddings:limit-by-modality")
def test_each_modality_has_its_own_longest_sequence() -> None:
    image = ImageTokens(token=llama().token_to_id("<IMG_CONTEXT>"), per_tile=PER_TILE, width=WIDTH, rows=1 << 20)
    one = Composer(TextTokenizer(llama(), 30), "nvidia_vl_embed", NVIDIA_PROMPTS, {"text": 30, "image": 24, "text_image": 50}, image)
    long = "the snow road of ice " * 30
    lengths = [len(ids(e)) for e in one.embed([Item(long), Item(long, picture()), Item("", picture())], "passage", "END")]
    assert lengths == [30, 50, len(whole(f"passage: {shown(1)} "))]
    with pytest.raises(BadRequest, match="maximum allowed token size 24"):
        one.embed([Item("", picture(5))], "passage", "END")


@pytest.mark.claim("nim:embeddings:truncate-start-and-end")
def test_start_keeps_the_end_of_an_embedders_text() -> None:
    text = "the snow road of ice and ember " * 20
    encoded = composer("nvidia_embed", 16).embed([Item(text)], "query", "START")[0]
    expected = whole(f"query: {text}")
    assert ids(encoded) == expected[:1] + expected[-15:]


def test_start_of_a_pair_is_end() -> None:
    one, long = composer("nvidia_rerank", 20), "the snow road of ice " * 30
    assert ids(one.rank("way", [Item(long)], "START")[0]) == ids(one.rank("way", [Item(long)], "END")[0])


@given(TEXT, TEXT)
@hypothesis_settings(max_examples=60)
def test_qwens_prompt_keeps_its_system_message_and_its_closing_whatever_is_cut(query: str, passage: str) -> None:
    made = tokenizer_qwen3_like()
    opening = whole_qwen(made, "<|im_start|>system\n", QWEN_SYSTEM)
    closing = made.encode("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n").ids
    pair = made.encode(f"<Instruct>: {QWEN_INSTRUCT}\n<Query>: {query}\n<Document>: {passage}").ids
    room = 24
    limit = len(opening) + len(closing) + room
    one = Composer(TextTokenizer(made, limit), "qwen3_rerank", {}, {"text": limit})
    encoded = one.rank(query, [Item(passage)], "END")[0]
    assert ids(encoded) == [*opening, *pair[:room], *closing]
    assert encoded.truncated == (len(pair) > room)


QWEN_SYSTEM = 'Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".'
QWEN_INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"


def whole_qwen(made: Tokenizer, begin: str, system: str) -> list[int]:
    found: list[int] = made.encode(f"{begin}{system}<|im_end|>\n<|im_start|>user\n").ids
    return found


@pytest.mark.parametrize("make", [tokenizer_xlm_like, tokenizer_modernbert_like])
def test_a_plain_pair_is_put_together_by_the_tokenizer(make: object) -> None:
    made = make()  # type: ignore[operator]
    one = Composer(TextTokenizer(make(), 64), "plain", {}, {"text": 64})  # type: ignore[operator]
    for passage, encoded in zip(("", "the snow"), one.rank("which way", [Item(""), Item("the snow")], "END"), strict=True):
        assert ids(encoded) == made.encode("which way", passage).ids


def test_a_limit_that_the_template_itself_fills_is_refused() -> None:
    with pytest.raises(SettingError, match="max_tokens 40 leaves no room for a text: the template takes"):
        Composer(TextTokenizer(tokenizer_qwen3_like(), 40), "qwen3_rerank", {}, {"text": 40})


def test_a_tokenizer_that_glues_an_image_to_its_text_is_refused() -> None:
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), ">Ġ"]
    made = Tokenizer(BPE({piece: place for place, piece in enumerate(pieces)}, [(">", "Ġ")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    limits: dict[Modality, int] = dict.fromkeys(MODALITIES, 64)
    with pytest.raises(UnknownArchitecture, match="reads `</img>` and the text behind it as one word"):
        Composer(TextTokenizer(made, 64), "nvidia_vl_embed", {}, limits, ImageTokens(token=1, per_tile=4, width=8, rows=999))


def test_tokens_beyond_the_token_table_are_read_as_zeros() -> None:
    rows = llama().get_vocab_size() - 1  # the last one, <IMG_CONTEXT>, has no row
    token = llama().token_to_id("<IMG_CONTEXT>")
    assert token == rows
    encoded = composer("nvidia_vl_embed", rows=rows).embed([Item("snow <IMG_CONTEXT> ice"), Item("a <IMG_CONTEXT>", picture(1))], "query", "END")
    text, both = (one.sequence for one in encoded)
    assert text.features is not None
    assert both.features is not None
    assert text.features.at.tolist() == [whole("query: snow <IMG_CONTEXT> ice").index(token)]
    assert not text.features.values.any()
    expected = [place for place, found in enumerate(whole(f"passage: {shown(1)} a <IMG_CONTEXT>")) if found == token]
    assert len(set(both.features.at.tolist())) == len(both.features.at)
    assert sorted(both.features.at.tolist()) == expected
    assert both.features.at[:PER_TILE].tolist() == expected[:PER_TILE], "the image's rows stay in front"
    assert max(text.ids.max(), both.ids.max()) < rows


# The published tokenizer is behind a licence: these vectors run where it is.

REAL_PAIR = [128000, 7998, 25, 12840, 374, 16796, 30, 33006, 21765, 75145, 13180, 374, 6437]
REAL_WORDS = {
    "query": [1663],
    ":": [25],
    " ": [220],
    "passage": [6519, 425],
    " passage": [21765],
    " \n \n": [33006],
    "query: ": [1663, 25, 220],
    "passage: ": [6519, 425, 25, 220],
}


@pytest.fixture(scope="module")
def real() -> TextTokenizer:
    """Llama 3.2's tokenizer, from a checkpoint that has it."""
    named = os.environ.get("EMBERANK_TEST_WEIGHTS")
    sources = [preset for preset in presets() if preset.source.startswith("hf:nvidia/")]
    folders = [Path(named) / preset.name.rpartition("/")[2] if named else cached(parse_source(preset.source), default_cache_dir()) for preset in sources]
    for folder in folders:
        if (folder / "tokenizer.json").is_file() and json.loads((folder / "config.json").read_text("utf-8")).get("emberank_random_weights") is not True:
            return TextTokenizer.load(folder, 8192)
    pytest.skip("Llama 3.2's tokenizer.json needs an accepted licence and is not here: set EMBERANK_TEST_WEIGHTS to a folder with NVIDIA's checkpoints")


def test_the_published_tokenizer_gives_the_known_ids(real: TextTokenizer) -> None:
    one = Composer(real, "nvidia_rerank", {}, {"text": 8192})
    assert ids(one.rank("what is ai?", [Item("The sky is blue")], "END")[0]) == REAL_PAIR
    assert {word: real.ids(word) for word in REAL_WORDS} == REAL_WORDS
    assert one._divides
