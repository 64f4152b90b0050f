"""Tokenizers of random checkpoints: read by the library, of exactly the size, splitting and framing as the real ones do, and with about as many tokens."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from emberank.runtime.published_shapes import shapes
from emberank.runtime.random_tokenizer import Kind, tokenizer_json

SIZES: dict[Kind, int] = {shape.tokenizer: shape.vocabulary for shape in shapes()}
PROSE = (
    "As a general guideline, the average requirement of protein for women ages 19 to 70 is 46 grams per day. But you'll need to increase that if you are expecting "
    "or training for a marathon. Retrieval augmented generation combines search over external documents with language model generation; it isn't new."
)


def made(kind: Kind) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_json(kind, SIZES[kind])))


@pytest.mark.parametrize("kind", SIZES)
def test_it_has_exactly_the_rows_of_the_token_table(kind: Kind) -> None:
    tokenizer = made(kind)
    assert tokenizer.get_vocab_size() == SIZES[kind]
    assert sorted(tokenizer.get_vocab().values()) == list(range(SIZES[kind]))


@pytest.mark.parametrize("kind", SIZES)
def test_english_has_about_as_many_tokens_as_with_a_real_vocabulary(kind: Kind) -> None:
    tokens = made(kind).encode(PROSE, add_special_tokens=False).ids
    # Llama 3 needs about one for 4.5 characters of such a text.
    assert 3.4 < len(PROSE) / len(tokens) < 5.0
    assert len(set(tokens)) > 40


@pytest.mark.parametrize("kind", ["llama3", "llama3_images", "qwen3", "modernbert"])
@pytest.mark.parametrize("text", ["Ünïcödé 雪道 🙂", "\x00\t\r\n  \u00a0\u3000", "<unused-007000> <unused-000001>", "a" * 300, " "])
def test_bytes_of_any_text_come_back_as_they_were(kind: Kind, text: str) -> None:
    tokenizer = made(kind)
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_llamas_text_begins_with_its_mark_and_has_no_end() -> None:
    tokenizer = made("llama3")
    assert tokenizer.encode("what is ai?").ids[0] == 128000
    assert tokenizer.encode("what is ai?").ids[-1] < 128000
    assert [tokenizer.token_to_id(f"<|{name}|>") for name in ("begin_of_text", "end_of_text", "finetune_right_pad_id", "eot_id")] == [
        128000,
        128001,
        128004,
        128009,
    ]


def test_nvidias_rerank_prompt_is_split_as_llama_3_splits_it() -> None:
    tokens = made("llama3").encode("question:what is it? \n \n passage:The sky is blue 12345").tokens
    assert tokens == ["<|begin_of_text|>", "question", ":", "what", "Ġis", "Ġit", "?", "ĠĊĠĊ", "Ġpassage", ":", "The", "Ġsky", "Ġis", "Ġblue", "Ġ", "123", "45"]


def test_the_place_of_images_is_one_token_where_the_vision_models_have_it() -> None:
    tokenizer = made("llama3_images")
    assert tokenizer.encode("a<IMG_CONTEXT><IMG_CONTEXT>", add_special_tokens=False).ids.count(128258) == 2
    assert tokenizer.token_to_id("<IMG_CONTEXT>") == 128258


@pytest.mark.parametrize(
    ("kind", "tokens", "types"),
    [
        ("bert", ["[CLS]", "snow", "[SEP]", "the", "road", "[SEP]"], [0, 0, 0, 1, 1, 1]),
        ("modernbert", ["[CLS]", "snow", "[SEP]", "the", "Ġroad", "[SEP]"], [0] * 6),
        ("xlm_roberta", ["<s>", "▁snow", "</s>", "</s>", "▁the", "▁road", "</s>"], [0] * 7),
    ],
)
def test_a_pair_is_framed_as_the_real_one_frames_it(kind: Kind, tokens: list[str], types: list[int]) -> None:
    pair = made(kind).encode("snow", "the road")
    assert (pair.tokens, pair.type_ids) == (tokens, types)


def test_qwen_answers_in_one_token_each_and_its_marks_are_special() -> None:
    tokenizer = made("qwen3")
    assert all(len(tokenizer.encode(word).ids) == 1 for word in ("yes", "no", "<|im_start|>", "<|im_end|>", "<think>", "</think>"))
    assert tokenizer.token_to_id("<|im_end|>") == 151645


def test_digits_are_split_by_threes_by_llama_and_by_ones_by_qwen() -> None:
    assert made("llama3").encode("2026", add_special_tokens=False).tokens == ["202", "6"]
    assert made("qwen3").encode("2026", add_special_tokens=False).tokens == ["2", "0", "2", "6"]


def test_it_is_the_same_every_time() -> None:
    assert json.dumps(tokenizer_json("llama3", 128256)) == json.dumps(tokenizer_json("llama3", 128256))


@pytest.mark.parametrize(("kind", "size"), [("llama3", 5000), ("bert", 200), ("xlm_roberta", 1000)])
def test_a_vocabulary_with_too_little_room_is_refused(kind: Kind, size: int) -> None:
    with pytest.raises(ValueError, match="too small"):
        tokenizer_json(kind, size)
