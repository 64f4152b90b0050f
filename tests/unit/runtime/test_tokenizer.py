"""Text to token ids, held against the library's own encoding of the whole text."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE

from checkpoints import VOCABULARY, tokenizer
from emberank.contract.errors import BadRequest, InputTooLong, WeightsError
from emberank.contract.inference import Truncate
from emberank.runtime.job import Sequence
from emberank.runtime.tokenizer import Encoded, Tail, TextTokenizer
from family_tokenizers import tokenizer_llama3_like, tokenizer_modernbert_like, tokenizer_qwen3_like, tokenizer_xlm_like

LIMITS = (4, 9, 48, 300)
SENTENCE = "The warm ember of the road, which way should it go? Ranking snow in 1913 (red-hot ICE)! 雪道林 naïve "
# One kind of text each: what the bounded first look at a long text could get wrong.
LONG = {
    "words": (SENTENCE * 11_000)[: 1 << 20],
    "one word": "x" * (1 << 20),
    "CJK without spaces": "雪道林森" * (1 << 15),
    "emoji": "🔥❄️👩‍👩‍👧" * 6_000,
    "zero width": "snow\u200broad\u200d\ufeff" * 20_000,
    "only white space": " \t\n" * 300_000,
    "white space, then words": " " * 500_000 + SENTENCE,
    "words, then white space": SENTENCE + "\u3000" * 500_000,
    "words of a hundred letters": ("a" * 100 + "b ") * 1_000,
    "punctuation": "!?" * 40_000,
    "control characters that are no spaces here": "ab\x1ccd\x1d" * 20_000,
    "combining marks": "e\u0301" * 40_000,
    "special tokens": "[SEP][CLS] [MASK]" * 4_000,
    "one long word among short ones": SENTENCE + "z" * 100_000 + " " + SENTENCE * 100,
}
# Text that is cut in the middle of a word which is unknown only as a whole, with hardly a token before it.
CUT_WORDS = [
    before + letter * size + after for before in ("", "a,", "a" * 950 + ",") for letter in "ab" for size in (99, 5000) for after in ("", " of snow", ".go")
]

TEXTS = st.lists(
    st.sampled_from(
        ["the", "snow", "way", "ing", "embers", "[SEP]", "🔥", "雪道", "\u200b", "\u00a0", "\x1c", "e\u0301", "x" * 101, "ab" * 40, " ", "\n", ",", "-", "7"]
    )
    | st.text(max_size=8),
    max_size=60,
).map("".join)


def library(limit: int, direction: str = "right", strategy: str = "longest_first") -> Tokenizer:
    """A second tokenizer that truncates by itself."""
    other = tokenizer()
    other.no_padding()
    other.enable_truncation(limit, direction=direction, strategy=strategy)
    return other


def whole() -> Tokenizer:
    other = tokenizer()
    other.no_padding()
    other.no_truncation()
    return other


def ours(limit: int) -> TextTokenizer:
    return TextTokenizer(tokenizer(), limit)


def types(sequence: Sequence) -> list[int]:
    return [0] * len(sequence.ids) if sequence.types is None else sequence.types.tolist()


def assert_single(text: str, limit: int, truncate: Truncate, encoded: Encoded) -> None:
    expected = library(limit, "left" if truncate == "START" else "right").encode(text)
    assert encoded.sequence.ids.tolist() == expected.ids
    assert types(encoded.sequence) == expected.type_ids
    assert encoded.truncated == (len(whole().encode(text).ids) > limit)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("truncate", ["END", "START"])
def test_texts_are_encoded_as_the_library_encodes_them(limit: int, truncate: Truncate) -> None:
    texts = ["", "a", SENTENCE, SENTENCE * 4, "雪道林", "unknownword", "ember ember", "\u200b", *CUT_WORDS]
    for text, encoded in zip(texts, ours(limit).singles(texts, truncate), strict=True):
        assert_single(text, limit, truncate, encoded)


@pytest.mark.parametrize("limit", [9, 254])
@pytest.mark.parametrize("truncate", ["END", "START"])
@pytest.mark.parametrize("kind", LONG)
def test_a_very_long_text_gives_what_encoding_the_whole_of_it_gives(kind: str, truncate: Truncate, limit: int) -> None:
    ids = whole_ids(kind)
    room = limit - 2
    expected = ids if len(ids) <= room else ids[-room:] if truncate == "START" else ids[:room]
    encoded = ours(limit).singles([LONG[kind]], truncate)[0]
    assert encoded.sequence.ids.tolist() == [VOCABULARY["[CLS]"], *expected, VOCABULARY["[SEP]"]]
    assert encoded.truncated == (len(ids) > room)


@cache
def whole_ids(kind: str) -> list[int]:
    return whole().encode(LONG[kind], add_special_tokens=False).ids


@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(3, 64), st.sampled_from(["END", "START"]))
@hypothesis_settings(max_examples=80)
def test_any_text_is_encoded_as_the_library_encodes_it(texts: list[str], limit: int, truncate: Truncate) -> None:
    for text, encoded in zip(texts, ours(limit).singles(texts, truncate), strict=True):
        assert_single(text, limit, truncate, encoded)
        assert len(encoded.sequence.ids) <= limit


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=4), st.integers(4, 64), st.sampled_from(["END", "START"]))
@hypothesis_settings(max_examples=80)
def test_any_pair_is_the_query_then_as_much_of_the_passage_as_fits(query: str, passages: list[str], limit: int, truncate: Truncate) -> None:
    cls, sep = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]
    first = whole().encode(query, add_special_tokens=False).ids
    for passage, encoded in zip(passages, ours(limit).pairs(query, passages, truncate), strict=True):
        second = whole().encode(passage, add_special_tokens=False).ids
        room = limit - 3
        kept, rest = first[:room], second[: max(0, room - len(first))]
        assert encoded.sequence.ids.tolist() == [cls, *kept, sep, *rest, sep]
        assert types(encoded.sequence) == [0] * (len(kept) + 2) + [1] * (len(rest) + 1)
        assert encoded.truncated == (len(first) + len(second) > room)


@pytest.mark.parametrize("limit", [24, 48, 300])
def test_pairs_are_truncated_as_the_library_truncates_the_second_text(limit: int) -> None:
    query = "which way of the road"
    passages = ["", "snow", SENTENCE, SENTENCE * 20, "雪" * 3000]
    for passage, encoded in zip(passages, ours(limit).pairs(query, passages, "END"), strict=True):
        expected = library(limit, strategy="only_second").encode(query, passage)
        assert encoded.sequence.ids.tolist() == expected.ids
        assert types(encoded.sequence) == expected.type_ids


def test_a_query_as_long_as_the_limit_leaves_nothing_of_the_passage() -> None:
    encoded = ours(8).pairs("the " * 50, ["snow"], "END")[0]
    word = VOCABULARY["the"]
    assert encoded.sequence.ids.tolist() == [VOCABULARY["[CLS]"], *[word] * 5, VOCABULARY["[SEP]"], VOCABULARY["[SEP]"]]
    assert encoded.truncated


def test_a_single_text_has_no_types_and_a_pair_has_two() -> None:
    assert ours(48).singles(["snow"], "END")[0].sequence.types is None
    assert types(ours(48).pairs("the", ["snow ice"], "END")[0].sequence) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("count", [6, 7, 8, 40])
def test_the_limit_counts_special_tokens(count: int) -> None:
    text = "the " * count
    encoded = ours(8).singles([text], "END")[0]
    assert len(encoded.sequence.ids) == min(8, count + 2)
    assert encoded.truncated == (count > 6)


def test_the_length_before_truncation_is_said() -> None:
    assert [encoded.length for encoded in ours(10).singles(["the " * 30, "the"], "END")] == [32, 3]
    assert ours(10).pairs("the of", ["the " * 30], "END")[0].length == 35


@pytest.mark.parametrize("status", [400, 422])
def test_without_truncation_an_over_long_text_is_refused_in_nvidias_words(status: int) -> None:
    with pytest.raises(InputTooLong) as refused:
        TextTokenizer(tokenizer(), 8, status).singles(["the", "the " * 9], "NONE")
    assert refused.value.message == "Input length 11 exceeds maximum allowed token size 8"
    assert refused.value.http_status == status


def test_without_truncation_an_over_long_pair_is_refused_in_nvidias_words() -> None:
    with pytest.raises(InputTooLong) as refused:
        ours(8).pairs("the", ["of", "the " * 9], "NONE")
    assert refused.value.message == "Input length 13 exceeds maximum allowed token size 8"


def test_without_truncation_a_text_of_a_megabyte_is_refused() -> None:
    with pytest.raises(InputTooLong, match=re.compile(r"^Input length \d+ exceeds maximum allowed token size 48$")):
        ours(48).singles([LONG["words"]], "NONE")


def test_what_lies_beyond_the_first_megabyte_is_not_read_and_counts_as_too_long() -> None:
    text = "snow " + " " * (1 << 20) + " road"
    encoded = ours(48).singles([text], "END")[0]
    assert encoded.sequence.ids.tolist() == [VOCABULARY[word] for word in ("[CLS]", "snow", "[SEP]")]
    assert encoded.truncated
    with pytest.raises(InputTooLong):
        ours(48).singles([text], "NONE")
    last = ours(48).singles([text], "START")[0]
    assert last.sequence.ids.tolist() == [VOCABULARY[word] for word in ("[CLS]", "road", "[SEP]")]


def test_without_truncation_what_fits_exactly_is_taken() -> None:
    encoded = ours(8).singles(["the " * 6], "NONE")[0]
    assert (len(encoded.sequence.ids), encoded.truncated) == (8, False)


@pytest.mark.parametrize("letter", ["x", " ", "☃"])
def test_of_ten_megabytes_without_a_words_end_only_a_bounded_part_is_read(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    encode = TextTokenizer._encode
    monkeypatch.setattr(TextTokenizer, "_encode", lambda self, texts: sizes.extend(map(len, texts)) or encode(self, texts))
    one = TextTokenizer(tokenizer(), 48)
    truncated = one.singles([letter * 10_000_000], "END")[0]
    assert truncated.truncated
    assert len(truncated.sequence.ids) <= 48
    with pytest.raises(InputTooLong):
        one.singles([letter * 10_000_000], "NONE")
    assert max(sizes) <= 1 << 20


def test_no_texts_give_no_sequences() -> None:
    assert ours(8).singles([], "END") == []
    assert ours(8).pairs("the", [], "END") == []


def test_truncation_and_padding_written_in_the_file_are_not_obeyed(tiny_embedder: Path) -> None:
    encoded = TextTokenizer.load(tiny_embedder, 48).singles(["the " * 30, "the"], "END")
    assert [len(one.sequence.ids) for one in encoded] == [32, 3]


def test_a_missing_tokenizer_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"tokenizer\.json is missing"):
        TextTokenizer.load(tmp_path, 48)


def test_a_broken_tokenizer_is_said_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model"')
    with pytest.raises(WeightsError, match=r"tokenizer\.json cannot be read"):
        TextTokenizer.load(tmp_path, 48)


def test_the_real_tokenizer_encodes_as_the_library_does(minilm: Path) -> None:
    mine, other = TextTokenizer.load(minilm, 256), Tokenizer.from_file(str(minilm / "tokenizer.json"))
    other.no_padding()
    other.enable_truncation(256)
    texts = [SENTENCE, SENTENCE * 40, "Ünïcödé ﬁ ½ ﷺ", "雪" * 9000, "antidisestablishmentarianism " * 900, "🔥" * 4000]
    for text, encoded in zip(texts, mine.singles(texts, "END"), strict=True):
        assert encoded.sequence.ids.tolist() == other.encode(text).ids
    for passage, encoded in zip(texts, mine.pairs("what is ﬁre?", texts, "END"), strict=True):
        expected = other.encode("what is ﬁre?", passage)
        assert encoded.sequence.ids.tolist() == expected.ids
        assert types(encoded.sequence) == expected.type_ids


def tokenizer_of_runs() -> Tokenizer:
    """Llama 3's rules with tokens for runs, as the real vocabulary has them: two and four spaces or letters, digits in threes. Where a run begins decides."""
    merges = [
        ("Ġ", "Ġ"),
        ("ĠĠ", "ĠĠ"),
        ("a", "a"),
        ("aa", "aa"),
        ("1", "2"),
        ("12", "3"),
        ("4", "5"),
        ("45", "6"),
        ("7", "8"),
        ("78", "9"),
        ("t", "h"),
        ("th", "e"),
    ]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    made = Tokenizer(BPE({piece: place for place, piece in enumerate(pieces)}, merges))
    made.pre_tokenizer = tokenizer_llama3_like().pre_tokenizer
    return made


# The tokenizers of the other families: byte-level ones read a space as part of the word behind it, and white space as words of its own.
FAMILIES = {
    "runs": tokenizer_of_runs,
    "llama3": tokenizer_llama3_like,
    "qwen3": tokenizer_qwen3_like,
    "modernbert": tokenizer_modernbert_like,
    "xlm": tokenizer_xlm_like,
}
TRICKY = st.lists(
    st.sampled_from(
        ["the sky", " the", "  ", "\n", " \n \n", "\r\n", "\t", ".", "...\n", "'s", "'S", "1", "1234", "\u0301", "\u00e9", "\u96ea\u9053", "\U0001f525"]
    )
    | st.sampled_from(
        [":", "::", "passage", "question:", "<|begin_of_text|>", "<|eot_id|>", "<|im_end|>", "</s>", "[SEP]", "<think>", "<image>", "\u3000", "\x1c"]
    )
    | st.text(max_size=6),
    max_size=80,
).map("".join)


@cache
def family(name: str, limit: int) -> TextTokenizer:
    return TextTokenizer(FAMILIES[name](), limit)


@cache
def theirs(name: str) -> Tokenizer:
    made = FAMILIES[name]()
    made.no_truncation()
    made.no_padding()
    return made


def kept(name: str, text: str, limit: int, truncate: Truncate) -> list[int]:
    """What the library gives for the whole text, cut as truncation has it, special tokens around it."""
    bare = theirs(name).encode(text, add_special_tokens=False).ids
    around = theirs(name).encode("", add_special_tokens=True).ids  # of all of them, half of it stands in front
    before, after = around[: (len(around) + 1) // 2], around[(len(around) + 1) // 2 :]
    room = limit - len(around)
    return [*before, *(bare if len(bare) <= room else bare[len(bare) - room :] if truncate == "START" else bare[:room]), *after]


@pytest.mark.parametrize("name", FAMILIES)
@given(text=TRICKY, limit=st.integers(3, 96), truncate=st.sampled_from(["END", "START"]))
@hypothesis_settings(max_examples=120)
def test_every_familys_tokenizer_encodes_as_the_library_does(name: str, text: str, limit: int, truncate: Truncate) -> None:
    encoded = family(name, limit).singles([text], truncate)[0]
    assert encoded.sequence.ids.tolist() == kept(name, text, limit, truncate)
    assert encoded.sequence.types is None


LONG_TEXTS = {
    "digits": "123456789" * 30_000 + "1",
    "one letter": "a" * 300_001,
    "one word": "the" * 100_001,
    "no spaces": "\u96ea\u9053\u6797\u68ee" * 40_000,
    "white space in front": " " * 150_001 + SENTENCE[:20],
    "a word, then white space": "snow" + " " * 150_001,
    "lines": "the sky is blue.\n\n  " * 12_000,
    "spaces": ("snow" + " " * 37) * 6_000,
    "words": SENTENCE * 3_000,
    "special tokens": "<|eot_id|> <|im_end|></s>" * 9_000,
}


@cache
def long_ids(name: str, kind: str) -> list[int]:
    ids: list[int] = theirs(name).encode(LONG_TEXTS[kind], add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize("truncate", ["END", "START"])
@pytest.mark.parametrize("kind", LONG_TEXTS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_text_gives_every_family_what_encoding_the_whole_of_it_gives(name: str, kind: str, truncate: Truncate) -> None:
    limit = 130
    ids = long_ids(name, kind)
    encoded = family(name, limit).singles([LONG_TEXTS[kind]], truncate)[0]
    around = len(theirs(name).encode("").ids)
    room = limit - around
    expected = ids if len(ids) <= room else ids[-room:] if truncate == "START" else ids[:room]
    found = encoded.sequence.ids.tolist()
    assert found[(around + 1) // 2 : len(found) - around // 2] == expected
    assert encoded.truncated == (len(ids) > room)


@pytest.mark.parametrize("name", ["llama3", "qwen3", "runs"])
@given(query=TRICKY, passages=st.lists(TRICKY, min_size=1, max_size=3), limit=st.integers(8, 200))
@hypothesis_settings(max_examples=150)
def test_a_query_tokenised_once_gives_what_tokenising_each_pair_gives(name: str, query: str, passages: list[str], limit: int) -> None:
    one = family(name, limit)
    lead, tails = f"question:{query} \n \n passage", [f":{passage}" for passage in passages]
    whole = one.joined(one.framed(), lead, [Tail(tail, limit) for tail in tails], "END", divides=False)
    once = one.joined(one.framed(), lead, [Tail(tail, limit) for tail in tails], "END", divides=True)
    for tail, apart, together in zip(tails, once, whole, strict=True):
        assert apart.sequence.ids.tolist() == together.sequence.ids.tolist() == kept(name, lead + tail, limit, "END")
        assert (apart.truncated, apart.length) == (together.truncated, together.length)


def test_a_cut_behind_the_colon_would_not_divide() -> None:
    one = family("llama3", 64)
    assert one.divides("question:what is ai? \n \n passage", ":The sky")
    assert not one.divides("question:what is ai? \n \n passage:", "The sky")


def test_tokens_of_a_block_and_of_a_frame_are_never_cut() -> None:
    one = family("llama3", 64)
    frame = one.framed("the sky", " is blue")
    before, after = [0, *one.ids("the sky")], one.ids(" is blue")
    encoded = one.joined(frame, "", [Tail(" snow road" * 50, 24, [7, 7, 7])], "END")[0]
    ids = encoded.sequence.ids.tolist()
    assert len(ids) == 24
    assert ids[1 : len(before) + 3] == [*before[1:], 7, 7, 7]
    assert ids[-len(after) :] == after
    assert encoded.truncated
    last = one.joined(frame, "", [Tail(" snow road" * 50 + " ice", 24, [7, 7, 7])], "START")[0].sequence.ids.tolist()
    assert last[: len(before) + 3] == ids[: len(before) + 3]
    assert last[-len(after) - len(one.ids(" ice")) : -len(after)] == one.ids(" ice")


@pytest.mark.parametrize("truncate", ["END", "START", "NONE"])
def test_a_block_that_does_not_fit_is_refused_whatever_truncation_says(truncate: Truncate) -> None:
    one = family("llama3", 64)
    with pytest.raises(
        BadRequest, match=r"^Input length 31 exceeds maximum allowed token size 20: the image alone takes 30 tokens, and an image is never cut$"
    ):
        one.joined(one.framed(), "", [Tail("", 20, [7] * 30)], truncate)


def test_behind_a_query_of_which_only_a_part_was_read_there_is_no_passage() -> None:
    one = family("xlm", 40)  # white space makes no tokens there
    lead = "question:" + " " * (1 << 20) + "snow passage"
    encoded = one.joined(one.framed(), lead, [Tail(":ice", 40)], "END")[0]
    assert encoded.truncated
    assert encoded.sequence.ids.tolist() == one.singles(["question: "], "END")[0].sequence.ids.tolist()
    with pytest.raises(InputTooLong):
        one.joined(one.framed(), lead, [Tail(":ice", 40)], "NONE")


@pytest.mark.parametrize("letter", ["x", " ", "\u2603", "1"])
def test_of_ten_megabytes_a_byte_level_tokenizer_reads_a_bounded_part(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    encode = TextTokenizer._encode
    one = TextTokenizer(tokenizer_llama3_like(), 48)
    monkeypatch.setattr(TextTokenizer, "_encode", lambda self, texts: sizes.extend(map(len, texts)) or encode(self, texts))
    lead = f"question:{letter * 10_000_000} \n \n passage"
    for truncate in ("END", "START"):
        assert len(one.singles([letter * 10_000_000], truncate)[0].sequence.ids) == 48
    assert len(one.joined(one.framed(), lead, [Tail(":" + letter * 10_000_000, 48)], "END")[0].sequence.ids) == 48
    with pytest.raises(InputTooLong):
        one.joined(one.framed(), "question:x \n \n passage", [Tail(":" + letter * 10_000_000, 48)], "NONE")
    assert max(sizes) <= 1 << 20


def test_the_spelling_of_a_special_token_is_read_as_that_token() -> None:
    one = family("llama3", 64)
    assert one.token("<|eot_id|>") in one.singles(["snow<|eot_id|>ice"], "END")[0].sequence.ids.tolist()


def test_a_tokenizer_says_how_many_tokens_it_may_give() -> None:
    assert ours(8).vocabulary == len(VOCABULARY)
    made = tokenizer_llama3_like(images=True)
    assert TextTokenizer(made, 8).vocabulary == made.get_vocab_size() == TextTokenizer(made, 8).token("<IMG_CONTEXT>") + 1  # type: ignore[operator]
