"""What one call runs and what it says of its tokens. Texts that are equal are run once and counted as often as they were sent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from checkpoints import VOCABULARY, tokenizer
from emberank.contract.errors import InputTooLong
from emberank.contract.inference import MODALITIES, Modality, Truncate
from emberank.runtime.composer import Composer, ImageTokens
from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.heads import CrossEncoder, Floats, LinearHead, pool
from emberank.runtime.items import Item, Picture
from emberank.runtime.late_interaction import LateInteraction
from emberank.runtime.plans import EmbedPlan, LatePlan, PairPlan, Plan
from emberank.runtime.tokenizer import TextTokenizer
from family_tokenizers import tokenizer_llama3_like

LIMIT = 12
LONG = "the " * 30


def texts_of() -> TextTokenizer:
    return TextTokenizer(tokenizer(), LIMIT)


def composer() -> Composer:
    return Composer(texts_of(), "plain", {}, {"text": LIMIT})


def items(*texts: str) -> list[Item]:
    return [Item(text) for text in texts]


def states(plan: Plan, index: int) -> Floats:
    return FakeEngine().run(Batch.of([plan.sequences[index].ids]))


def fed(plan: Plan, backwards: bool = False, pooled: bool = False) -> Floats:
    """Every sequence run and taken; the leading one first, the others in any order."""
    order = list(range(plan.leads, len(plan.sequences)))
    for index in [0] * plan.leads + (order[::-1] if backwards else order):
        hidden = states(plan, index)
        if pooled:
            assert plan.pooling is not None
            hidden = pool(hidden, plan.pooling)[None]
        plan.take(index, hidden)
        hidden[:] = np.nan  # the engine's next run overwrites them
    return plan.values()


def embed_plan(*texts: str, truncate: Truncate = "END") -> EmbedPlan:
    return EmbedPlan(composer(), "mean", items(*texts), None, truncate)


def pair_plan(query: str, *passages: str, truncate: Truncate = "END") -> PairPlan:
    random = np.random.default_rng(1)
    draw = lambda *shape: random.normal(0, 1, shape).astype(np.float32)  # noqa: E731
    head = CrossEncoder(pooler_weight=draw(8, 8), pooler_bias=draw(8), weight=draw(1, 8), bias=draw(1))
    return PairPlan(composer(), head, query, items(*passages), truncate)


def late_plan(query: str, *passages: str, truncate: Truncate = "END") -> LatePlan:
    return LatePlan(texts_of(), LateInteraction(), query, items(*passages), truncate)


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


def test_a_vector_is_as_it_was_pooled_whatever_its_length() -> None:
    plan = embed_plan("snow ice")
    mean = pool(states(plan, 0), "mean")
    assert fed(plan)[0].tolist() == mean.tolist()
    assert np.linalg.norm(mean) < 0.99


@pytest.mark.parametrize("plan", [lambda: embed_plan("snow", "ice road"), lambda: pair_plan("which way", "snow", "ice road")])
def test_states_that_an_engine_has_pooled_give_the_same_values(plan: Callable[[], Plan]) -> None:
    assert np.abs(fed(plan(), pooled=True) - fed(plan())).max() <= 1e-6


def test_late_interaction_wants_the_state_of_every_token() -> None:
    assert late_plan("which way", "snow").pooling is None


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


# Pictures: two tiles of 16 patches, which become 4 tokens each of a model 8 wide.

PER_TILE, WIDTH = 4, 8


def pictured() -> Composer:
    made = tokenizer_llama3_like(images=True)
    limits: dict[Modality, int] = dict.fromkeys(MODALITIES, 100)
    token = made.token_to_id("<IMG_CONTEXT>")
    image = ImageTokens(token=token, per_tile=PER_TILE, width=WIDTH, rows=token + 1)
    return Composer(TextTokenizer(made, 100), "nvidia_vl_embed", {"query": "query: ", "passage": "passage: "}, limits, image)


def picture(tiles: int = 2, seed: int = 1) -> Picture:
    return Picture(np.random.default_rng(seed).normal(0, 1, (tiles, 16, 48)).astype(np.float32))


def image_plan(*contents: Item) -> EmbedPlan:
    return EmbedPlan(pictured(), "mean", contents, "passage", "END")


def test_every_tile_of_a_picture_is_a_sequence_of_its_patches() -> None:
    shown = picture(2)
    plan = image_plan(Item("snow"), Item(None, shown))
    assert len(plan.tiles) == 2
    for tile, sequence in zip(shown.tiles, plan.tiles, strict=True):
        assert sequence.features is not None
        assert sequence.ids.tolist() == [0] * 16
        assert sequence.features.at.tolist() == list(range(16))
        assert sequence.features.values is tile or np.shares_memory(sequence.features.values, tile), "pixels are not copied"


def test_the_states_of_a_tile_are_copied_to_every_place_its_picture_stands_in() -> None:
    first, second = picture(2, seed=1), picture(3, seed=2)
    plan = image_plan(Item("a", first), Item("snow"), Item(None, second), Item("b", first))
    assert len(plan.tiles) == 5, "a picture is looked at once"
    for index in reversed(range(5)):
        given = np.full((PER_TILE, WIDTH), index + 1, np.float32)
        plan.take_tile(index, given)
        given[:] = np.nan  # the engine's next run overwrites them
    found = [one.features.values[:, 0].tolist() if one.features else None for one in plan.sequences]
    assert found == [[1] * 4 + [2] * 4, None, [3] * 4 + [4] * 4 + [5] * 4, [1] * 4 + [2] * 4]


def test_equal_items_with_one_picture_are_one_sequence_and_another_picture_is_another() -> None:
    shown = picture()
    plan = image_plan(Item("a", shown), Item("a", shown), Item("a", picture()), Item("b", shown), Item("a"))
    assert len(plan.sequences) == 4
    assert len(plan.tiles) == 4
    assert fed(plan).shape == (5, WIDTH)


def test_a_call_without_pictures_has_no_tiles() -> None:
    assert image_plan(Item("snow")).tiles == []
    assert embed_plan("snow").tiles == pair_plan("way", "snow").tiles == late_plan("way", "snow").tiles == []


def test_usage_counts_the_tokens_of_an_image() -> None:
    made = tokenizer_llama3_like(images=True)
    text = len(made.encode("passage: <img></img> snow").ids)
    assert image_plan(Item("snow", picture(2)), Item("snow", picture(3))).prompt_tokens == 2 * text + (2 + 3) * PER_TILE


def test_a_pair_with_a_picture_is_fed_its_tiles_too() -> None:
    head = LinearHead("mean", np.ones(WIDTH, np.float32), 1.0)
    made = tokenizer_llama3_like(images=True)
    token = made.token_to_id("<IMG_CONTEXT>")
    limits: dict[Modality, int] = dict.fromkeys(MODALITIES, 100)
    ranking = Composer(TextTokenizer(made, 100), "nvidia_vl_rerank", {}, limits, ImageTokens(token=token, per_tile=PER_TILE, width=WIDTH, rows=token + 1))
    plan = PairPlan(ranking, head, "way", [Item("snow", picture(1)), Item("snow")], "END")
    plan.take_tile(0, np.full((PER_TILE, WIDTH), 3, np.float32))
    features = plan.sequences[0].features
    assert features is not None
    assert features.values.tolist() == [[3] * WIDTH] * PER_TILE
    assert plan.pooling == "mean"
