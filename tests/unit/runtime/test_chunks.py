"""A long text in pieces: where they may end, that nothing is lost, and that each is as short as was asked, with every family's tokenizer."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from checkpoints import tokenizer as tokenizer_bert_like
from emberank.runtime.chunks import Begins, Pieces, Ruler, split
from emberank.runtime.tokenizer import TextTokenizer
from family_tokenizers import tokenizer_llama3_like, tokenizer_modernbert_like, tokenizer_qwen3_like, tokenizer_xlm_like
from tinybert import write_checkpoint

ANY = 1 << 30
FAMILIES = {
    "bert": tokenizer_bert_like,
    "llama3": tokenizer_llama3_like,
    "qwen3": tokenizer_qwen3_like,
    "modernbert": tokenizer_modernbert_like,
    "xlm": tokenizer_xlm_like,
}
SENTENCES = "The sky is blue. Which way should the snow go? Ice!"
TEXTS = st.lists(
    st.sampled_from(
        ["the sky", " the snow. ", "Which way? ", "  ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\x1c", "\u200b", "word, and ", "unbelievableness ", "x" * 130]
    )
    | st.sampled_from(["\u96ea\u9053\u6797\u3002", "\u96ea", "\U0001f525", "\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "e\u0301", "a\u0301\u0302"])
    | st.sampled_from(["\u05e9\u05dc\u05d5\u05dd ", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629\u061f ", "\ufdfa", "123456 ", "<|eot_id|>", "[SEP]", "<image>"])
    | st.text(max_size=8),
    max_size=60,
).map("".join)


@cache
def texts_of(name: str) -> TextTokenizer:
    return TextTokenizer(FAMILIES[name](), 512)


def words(most: int) -> Ruler:
    """A token is a run of letters or one other character, spaces none: what is expected can be read off the text."""
    found = re.compile(r"\w+|[^\w\s]")

    def begins(text: str) -> Begins:
        return np.array([one.start() for one in found.finditer(text)], np.int64)

    return Ruler(most=most, count=lambda text: len(found.findall(text)), begins=begins)


def pieces(text: str, ruler: Ruler, at_most: int = ANY) -> list[str]:
    return [text[start:end] for start, end in split(text, ruler, at_most).spans]


def check(text: str, found: Pieces, ruler: Ruler) -> None:
    """The pieces follow one another with nothing but white space between, each within the length unless it is one character."""
    behind = 0
    for start, end in found.spans:
        piece = text[start:end]
        assert behind <= start <= end <= len(text)
        assert text[behind:start].strip() == ""
        assert piece == piece.strip()
        assert ruler.count(piece) <= ruler.most or len(piece) == 1
        behind = end
    assert found.whole == (text[behind:].strip() == "")


@pytest.mark.parametrize("name", FAMILIES)
@given(text=TEXTS, most=st.sampled_from([1, 2, 3, 5, 8, 13, 40, 64]), at_most=st.sampled_from([1, 2, 7, ANY]))
@hypothesis_settings(max_examples=80)
def test_pieces_of_any_text_stand_in_order_leave_out_white_space_only_and_are_short_enough(name: str, text: str, most: int, at_most: int) -> None:
    ruler = texts_of(name).ruler_of_singles(most)
    found = split(text, ruler, at_most)
    assert 1 <= len(found.spans) <= at_most
    check(text, found, ruler)
    everything = split(text, ruler, ANY)
    assert everything.whole
    assert everything.spans[: len(found.spans)] == found.spans, "what is left out does not move what is read"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_text_makes_pieces_that_are_nearly_full(name: str) -> None:
    ruler = texts_of(name).ruler_of_singles(64)
    text = "the snow road of ice and red wood, which way is hot, " * 400
    found = split(text, ruler, ANY)
    check(text, found, ruler)
    counts = [ruler.count(text[start:end]) for start, end in found.spans]
    assert len(found.spans) > 20
    assert min(counts[:-1]) >= 64 - 7 - 6, "a tenth less, or a word less than that"


def test_the_checkpoint_of_a_tiny_bert_splits_too(tmp_path: Path) -> None:
    ruler = TextTokenizer.load(write_checkpoint(tmp_path / "tiny", ranks=True), 40).ruler_of_singles(8)
    text = "which way should i go in the snow? the red road, \U0001f525 \u96ea \u05e9\u05dc\u05d5\u05dd. " * 9
    found = split(text, ruler, ANY)
    check(text, found, ruler)
    assert len(found.spans) >= 9 * 17 // 8


def test_the_real_tokenizer_splits_too(minilm: Path) -> None:
    ruler = TextTokenizer.load(minilm, 512).ruler_of_singles(32)
    text = (
        "Antidisestablishmentarianism, \u00dcn\u00efc\u00f6d\u00e9 \ufb01 \u00bd \ufdfa \u96ea\u9053. \U0001f525\U0001f469\u200d\U0001f467 e\u0301 \u0627\u0644\u0639\u0631\u0628\u064a\u0629\n"
        * 40
    )
    found = split(text, ruler, ANY)
    check(text, found, ruler)
    assert all(ruler.count(text[start:end]) <= 32 for start, end in found.spans)


# The rule, read off a tokenizer of words


def test_a_piece_ends_at_a_sentences_end_in_its_last_tenth_if_there_is_one() -> None:
    text = "a b c d e f g h i j k l m n o p q r. s t u v w x"
    assert pieces(text, words(20)) == ["a b c d e f g h i j k l m n o p q r.", "s t u v w x"]


def test_of_several_sentences_ends_the_last_one_counts() -> None:
    text = "a b c d e f g h i j k l m n o p q. r. s t"
    assert pieces(text, words(20)) == ["a b c d e f g h i j k l m n o p q. r.", "s t"]


def test_an_earlier_sentences_end_is_no_reason_to_make_a_piece_short() -> None:
    text = "a b. c d e f g h i j k l m n o p q r s t u"
    assert pieces(text, words(20)) == ["a b. c d e f g h i j k l m n o p q r s", "t u"]


@pytest.mark.parametrize("mark", ["?", "!", '."', ".)", "\u2026", "\u061f", "\u0964"])
def test_what_closes_a_sentence_stays_with_it(mark: str) -> None:
    text = "a b c d e f g h i j k l m n o p" + mark + " q r s t u"
    assert pieces(text, words(17 + len(mark)))[0] == "a b c d e f g h i j k l m n o p" + mark


def test_a_point_inside_a_number_ends_no_sentence() -> None:
    text = "a b c d e f g h i j k l m n o p 3.1 q r s t"
    assert pieces(text, words(19))[0] == "a b c d e f g h i j k l m n o p 3.1"


def test_a_lines_end_is_as_good_as_a_sentences() -> None:
    text = "a b c d e f g h i\nj k l"
    assert pieces(text, words(10)) == ["a b c d e f g h i", "j k l"]


def test_a_script_without_spaces_is_cut_behind_its_own_full_stop() -> None:
    text = "\u96ea " * 17 + "\u96ea\u3002\u9053 \u6797 \u96ea \u9053"
    assert pieces(text, words(20))[0].endswith("\u3002")


def test_words_are_not_halved_where_there_is_white_space_in_the_last_tenth() -> None:
    ruler = texts_of("bert").ruler_of_singles(40)
    text = "embers ranking woods roads " * 40
    for piece in pieces(text, ruler):
        assert set(piece.split()) <= {"embers", "ranking", "woods", "roads"}


def test_a_word_longer_than_a_piece_is_cut_between_tokens() -> None:
    assert pieces("x" * 60 + " the", texts_of("bert").ruler_of_singles(8)) == ["x" * 8] * 7 + ["x" * 4 + " the"]


@pytest.mark.parametrize("unit", ["e\u0301\u0302", "\U0001f44d\U0001f3fd", "\U0001f469\u200d\U0001f467", "\u0915\u094d"])
def test_a_mark_stays_with_its_letter_where_no_better_border_is_near(unit: str) -> None:
    def begins(text: str) -> Begins:
        return np.arange(len(text))

    for most in range(len(unit), 3 * len(unit)):
        ruler = Ruler(most=most, count=len, begins=begins)
        assert all(len(piece) % len(unit) == 0 for piece in pieces(unit * 9, ruler))


def test_a_letter_with_marks_without_end_is_cut_all_the_same() -> None:
    text = "e" + "\u0301" * 500
    ruler = Ruler(most=50, count=len, begins=lambda text: np.arange(len(text)))
    found = split(text, ruler, ANY)
    check(text, found, ruler)
    assert len(found.spans) <= 12


def test_a_character_of_more_tokens_than_a_piece_may_have_is_a_piece_of_its_own() -> None:
    ruler = texts_of("llama3").ruler_of_singles(3)
    assert ruler.count("\U0001f525") == 4
    assert pieces("\U0001f525ice\U0001f525", ruler) == ["\U0001f525", "ice", "\U0001f525"]


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000" * 50])
def test_a_text_of_nothing_but_white_space_is_one_empty_piece(text: str) -> None:
    assert split(text, words(3), 5) == Pieces([(0, 0)], True)


def test_white_space_around_and_between_is_in_no_piece_and_costs_none() -> None:
    assert split("  a b \n\n  c ", words(2), 2) == Pieces([(2, 5), (10, 11)], True)


def test_what_is_over_the_number_of_pieces_is_left_out_and_said() -> None:
    assert split("a b c d e", words(2), 2) == Pieces([(0, 3), (4, 7)], False)
    assert split("a b c d e", words(2), 3) == Pieces([(0, 3), (4, 7), (8, 9)], True)


def test_a_piece_whose_tokens_are_more_by_themselves_is_made_shorter() -> None:
    # Each text costs two tokens more by itself than inside of another one.
    plain = words(10)
    dear = Ruler(most=10, count=lambda text: plain.count(text) + 2, begins=plain.begins)
    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    found = split(text, dear, ANY)
    check(text, found, dear)
    assert [len(text[start:end].split()) for start, end in found.spans] == [8, 8, 8, 2]


# Time


KINDS = {
    "words": SENTENCES + " ",
    "one word": "x",
    "CJK": "\u96ea\u9053\u6797\u68ee",
    "white space": " \n",
    "zero width": "a" + "\u200b" * 500,
    "marks": "e" + "\u0301" * 400,
    "emoji": "\U0001f525",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["bert", "llama3", "xlm"])
def test_what_is_tokenised_of_a_long_text_grows_with_it_and_no_faster(name: str, kind: str) -> None:
    one = texts_of(name).ruler_of_singles(64)
    read = 0

    def counted(text: str) -> int:
        nonlocal read
        read += len(text)
        return one.count(text)

    def begins(text: str) -> Begins:
        nonlocal read
        read += len(text)
        return one.begins(text)

    for size in (30_000, 240_000):
        read = 0
        text = (KINDS[kind] * size)[:size]
        found = split(text, Ruler(most=64, count=counted, begins=begins), ANY)
        assert found.whole
        assert read <= 4 * size + 4096


def test_of_a_text_of_megabytes_only_what_its_pieces_need_is_read() -> None:
    read: list[int] = []
    one = texts_of("bert").ruler_of_singles(32)

    def begins(text: str) -> Begins:
        read.append(len(text))
        return one.begins(text)

    found = split(SENTENCES * 100_000, Ruler(most=32, count=one.count, begins=begins), 10)
    assert (len(found.spans), found.whole) == (10, False)
    assert sum(read) < 10_000


def test_tokens_that_a_normalizer_made_out_of_order_stand_in_order() -> None:
    made: Tokenizer = tokenizer_xlm_like()
    text = "\ufdfa the  e\u0301 \u96ea\n\n"
    begins = TextTokenizer(made, 64).ruler_of_singles(8).begins(text)
    assert (np.diff(begins) >= 0).all()
    assert begins.max() < len(text)
