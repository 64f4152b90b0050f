"""The reranker made of an embedder, against its formula written out in loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from emberank.runtime.late_interaction import LateInteraction, token_weights

CLS, SEP, THE, OF, SNOW = 101, 102, 1996, 1997, 4586
Floats = NDArray[np.float32]


def cosine(a: Floats, b: Floats) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def slow_logit(query: Floats, ids: list[int], passage: Floats) -> float:
    """½ · cosine of the means + ½ · Σ_t w_t · max_s cosine(q_t, p_s) / Σ_t w_t, then 12 · score − 7."""
    weights = token_weights()
    sentence = cosine(sum(query) / len(query), sum(passage) / len(passage))
    total = best = 0.0
    for token, state in zip(ids, query, strict=True):
        total += float(weights[token])
        best += float(weights[token]) * max(cosine(state, other) for other in passage)
    return 12 * (0.5 * sentence + 0.5 * best / total) - 7


def states(random: np.random.Generator, tokens: int) -> Floats:
    return (random.normal(0, 1, (tokens, 16)) + 0.3).astype(np.float32)


def logit(query: Floats, ids: list[int], passage: Floats) -> float:
    head = LateInteraction()
    return head.score(head.query(query, np.array(ids, np.int32)), passage)


@pytest.mark.parametrize("seed", range(8))
def test_the_logit_is_the_formula_written_out_in_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = [CLS, *random.integers(999, 30522, random.integers(1, 12)).tolist(), SEP]
    query, passage = states(random, len(ids)), states(random, int(random.integers(2, 30)))
    assert logit(query, ids, passage) == pytest.approx(slow_logit(query, ids, passage), abs=1e-4)


def test_the_length_of_a_state_does_not_matter_to_its_match() -> None:
    random = np.random.default_rng(3)
    head = LateInteraction()
    ids = np.array([CLS, SNOW, SEP], np.int32)
    query, passage = head.query(states(random, 3), ids), states(random, 5)
    assert head.score(query, passage * 1000) == pytest.approx(head.score(query, passage), abs=1e-4)


def test_one_query_is_used_for_many_passages() -> None:
    random = np.random.default_rng(4)
    head = LateInteraction()
    ids = [CLS, SNOW, OF, SEP]
    hidden = states(random, 4)
    query = head.query(hidden, np.array(ids, np.int32))
    for passage in (states(random, 3), states(random, 9), states(random, 2)):
        assert head.score(query, passage) == pytest.approx(slow_logit(hidden, ids, passage), abs=1e-4)


def test_a_passage_that_is_the_query_gets_the_highest_logit_there_is() -> None:
    hidden = states(np.random.default_rng(5), 4)
    assert logit(hidden, [CLS, SNOW, OF, SEP], hidden) == pytest.approx(12 * 1.0 - 7, abs=1e-4)


def test_a_rare_word_that_matches_counts_more_than_a_frequent_one() -> None:
    axes = np.eye(4, 16, dtype=np.float32)
    query, ids = axes, [CLS, THE, SNOW, SEP]
    filler = axes[[0, 3]]
    assert logit(query, ids, np.concatenate([filler, axes[2:3]])) > logit(query, ids, np.concatenate([filler, axes[1:2]]))


def test_special_tokens_of_the_query_have_no_say_in_its_words_matches() -> None:
    random = np.random.default_rng(6)
    head = LateInteraction()
    hidden = states(random, 4)
    moved = hidden.copy()
    moved[[0, 3]] = states(random, 2)
    ids = np.array([CLS, SNOW, OF, SEP], np.int32)
    assert head.query(hidden, ids).tokens.tolist() == head.query(moved, ids).tokens.tolist()
    assert len(head.query(hidden, ids).weights) == 2


def test_a_query_of_nothing_but_special_tokens_is_scored_by_them() -> None:
    random = np.random.default_rng(7)
    query, passage = states(random, 2), states(random, 5)
    best = sum(max(cosine(state, other) for other in passage) for state in query) / 2
    sentence = cosine(query.mean(0), passage.mean(0))
    assert logit(query, [CLS, SEP], passage) == pytest.approx(12 * (sentence + best) / 2 - 7, abs=1e-4)


def test_states_of_zeros_give_a_finite_logit() -> None:
    zeros = np.zeros((3, 16), np.float32)
    assert logit(zeros, [CLS, SNOW, SEP], zeros) == pytest.approx(-7)


def test_special_tokens_weigh_nothing_and_the_rarest_word_weighs_one() -> None:
    weights = token_weights()
    assert weights[[CLS, SEP]].tolist() == [0, 0]
    assert weights[-1] == pytest.approx(1, abs=1e-6)
    assert (np.delete(weights, [CLS, SEP]) >= 0.05 - 1e-7).all()
    assert (weights <= 1 + 1e-6).all()


def test_the_is_the_lightest_of_words_and_a_rarer_word_is_heavier() -> None:
    words = token_weights()[THE:].astype(np.float64)
    assert words[0] == pytest.approx(0.05)
    assert (np.diff(words) > 0).all()
    assert words[1] < 0.1 < words[1000]


def test_the_places_in_the_vocabulary_are_those_of_the_real_one(minilm: Path) -> None:
    vocabulary = Tokenizer.from_file(str(minilm / "tokenizer.json")).get_vocab()
    assert len(vocabulary) == len(token_weights())
    assert [vocabulary[word] for word in ("[CLS]", "[SEP]", "the", "of")] == [CLS, SEP, THE, OF]
    weights = token_weights()
    middling = {word for word, place in vocabulary.items() if weights[place] == np.float32(0.05 + 0.95 * 0.25)}
    assert set("0123456789abcdefghijklmnopqrstuvwxyz") <= middling
    assert not {"!", ".", ",", "the", "[UNK]"} & middling
