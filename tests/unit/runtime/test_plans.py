"""What one call runs and what it says of its tokens. Texts that are equal are run once and counted as often as they were sent."""

from __future__ import annotations

import numpy as np
import pytest

from checkpoints import VOCABULARY, tokenizer
from emberank.contract.errors import InputTooLong
from emberank.contract.inference import Truncate
from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.heads import CrossEncoder, Floats, pool, unit
from emberank.runtime.late_interaction import LateInteraction
from emberank.runtime.plans import EmbedPlan, LatePlan, PairPlan, Plan
from emberank.runtime.tokenizer import TextTokenizer

LIMIT = 12
LONG = "the " * 30


def texts_of() -> TextTokenizer:
    return TextTokenizer(tokenizer(), LIMIT)


def states(plan: Plan, index: int) -> Floats:
    return FakeEngine().run(Batch.of([plan.sequences[index].ids]))


def fed(plan: Plan, backwards: bool = False) -> Floats:
    """Every sequence run and taken; the leading one first, the others in any order."""
    order = list(range(plan.leads, len(plan.sequences)))
    for index in [0] * plan.leads + (order[::-1] if backwards else order):
        hidden = states(plan, index)
        plan.take(index, hidden)
        hidden[:] = np.nan  # the engine's next run overwrites them
    return plan.values()


def embed_plan(*texts: str, truncate: Truncate = "END", normalize: bool = True) -> EmbedPlan:
    return EmbedPlan(texts_of(), "mean", normalize, texts, truncate)


def pair_plan(query: str, *passages: str, truncate: Truncate = "END") -> PairPlan:
    random = np.random.default_rng(1)
    draw = lambda *shape: random.normal(0, 1, shape).astype(np.float32)  # noqa: E731
    head = CrossEncoder(pooler_weight=draw(8, 8), pooler_bias=draw(8), weight=draw(1, 8), bias=draw(1))
    return PairPlan(texts_of(), head, query, passages, truncate)


def late_plan(query: str, *passages: str, truncate: Truncate = "END") -> LatePlan:
    return LatePlan(texts_of(), LateInteraction(), query, passages, truncate)


def test_equal_inputs_are_run_once_and_answered_each() -> None:
    plan = embed_plan("snow", "ice", "snow", "snow", "ice")
    assert len(plan.sequences) == 2
    vectors = fed(plan)
    assert vectors.shape == (5, 8)
    assert vectors[[0, 2, 3]].tolist() == [vectors[0].tolist()] * 3
    assert vectors[1].tolist() == vectors[4].tolist() != vectors[0].tolist()


def test_usage_counts_an_input_as_often_as_it_was_sent() -> None:
    assert embed_plan("snow", "ice road", "snow").prompt_tokens == 3 + 4 + 3


@pytest.mark.parametrize("backwards", [False, True])
def test_vectors_are_in_the_order_of_the_inputs_whatever_order_they_ran_in(backwards: bool) -> None:
    texts = ("snow", "ice road", "the way", "snow")
    vectors = fed(embed_plan(*texts), backwards)
    assert vectors.tolist() == [fed(embed_plan(text))[0].tolist() for text in texts]


def test_a_vector_has_length_one_only_where_the_checkpoint_says_so() -> None:
    raw, normal = embed_plan("snow ice", normalize=False), embed_plan("snow ice")
    mean = pool(states(raw, 0), "mean")
    assert fed(raw)[0].tolist() == mean.tolist()
    assert fed(normal)[0].tolist() == unit(mean).tolist()
    assert np.linalg.norm(mean) < 0.99


def test_truncated_inputs_are_named_every_time_they_were_sent() -> None:
    plan = embed_plan("snow", LONG, "ice", LONG)
    assert plan.truncated == (1, 3)
    assert plan.prompt_tokens == 3 + LIMIT + 3 + LIMIT
    assert embed_plan("snow").truncated == ()


def test_an_over_long_input_is_refused_without_truncation() -> None:
    with pytest.raises(InputTooLong):
        embed_plan("snow", LONG, truncate="NONE")


def test_equal_passages_make_one_pair_each_and_get_equal_logits() -> None:
    plan = pair_plan("which way", "snow", "ice", "snow")
    assert len(plan.sequences) == 2
    logits = fed(plan, backwards=True)
    assert logits.shape == (3,)
    assert logits[0] == logits[2]


def test_a_pairs_usage_counts_the_query_with_every_passage() -> None:
    assert pair_plan("which way", "snow", "ice road", "snow").prompt_tokens == 6 + 7 + 6


def test_a_pair_is_query_then_passage_and_its_logit_is_the_heads() -> None:
    plan = pair_plan("way", "snow")
    cls, sep = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]
    assert plan.sequences[0].ids.tolist() == [cls, VOCABULARY["way"], sep, VOCABULARY["snow"], sep]
    assert plan.sequences[0].types is not None
    assert plan.sequences[0].types.tolist() == [0, 0, 0, 1, 1]
    # The fake engine's state of [CLS] is that of [CLS] alone.
    hidden = FakeEngine().run(Batch.of([np.array([cls], np.int32)]))
    assert fed(plan)[0] == pytest.approx(plan._head.score(hidden), abs=1e-6)


def test_truncated_pairs_are_named() -> None:
    assert pair_plan("which way", "snow", LONG).truncated == (1,)
    assert pair_plan(LONG, "snow", "ice").truncated == (0, 1)


def test_the_query_of_late_interaction_runs_once_and_first() -> None:
    plan = late_plan("which way", "snow", "ice", "snow")
    assert plan.leads
    assert [len(sequence.ids) for sequence in plan.sequences] == [4, 3, 3]
    assert plan.sequences[0].ids[1] == VOCABULARY["which"]


@pytest.mark.parametrize("backwards", [False, True])
def test_late_interaction_scores_every_passage_against_the_query(backwards: bool) -> None:
    head = LateInteraction()
    plan = late_plan("which way", "snow ice", "the way", "snow ice", "which way")
    query = head.query(states(plan, 0), plan.sequences[0].ids)
    expected = [head.score(query, states(plan, index)) for index in (1, 2, 1, 3)]
    logits = fed(plan, backwards)
    assert logits.tolist() == pytest.approx(expected, abs=1e-5)
    assert logits.argmax() == 3, "the passage that is the query"


def test_usage_of_late_interaction_counts_the_query_once_a_pair_as_nim_does() -> None:
    assert late_plan("which way", "snow", "ice road", "snow").prompt_tokens == (4 + 3) + (4 + 4) + (4 + 3)


def test_a_truncated_query_truncates_every_pair() -> None:
    assert late_plan("which way", "snow", LONG, "ice").truncated == (1,)
    assert late_plan(LONG, "snow", "ice").truncated == (0, 1)


@pytest.mark.parametrize(("query", "passage"), [(LONG, "snow"), ("snow", LONG)])
def test_late_interaction_refuses_what_is_too_long_without_truncation(query: str, passage: str) -> None:
    with pytest.raises(InputTooLong):
        late_plan(query, passage, truncate="NONE")
