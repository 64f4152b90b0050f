"""Passages that are longer than is read at one time: cut to so many tokens, or read in pieces of which the best counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from checkpoints import VOCABULARY, tokenizer
from emberank.contract.errors import BadRequest, InputTooLong
from emberank.contract.inference import MODALITIES, Chunk, Modality
from emberank.runtime import passages as passages_module
from emberank.runtime.composer import Composer, ImageTokens
from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.heads import Floats, LinearHead
from emberank.runtime.items import Item, Picture
from emberank.runtime.late_interaction import LateInteraction
from emberank.runtime.plans import LatePlan, PairPlan
from emberank.runtime.tokenizer import TextTokenizer
from family_tokenizers import tokenizer_llama3_like, tokenizer_modernbert_like, tokenizer_qwen3_like, tokenizer_xlm_like

LIMIT = 20
QUERY = "which way"
LONG = "the snow of the road. red hot ice and the wood. which way should ember go, and rank the warm wood of ice?"
PER_TILE, WIDTH = 4, 8


def bert() -> Composer:
    return Composer(TextTokenizer(tokenizer(), LIMIT), "plain", {}, {"text": LIMIT})


def llama(limit: int = 60, template: str = "nvidia_vl_rerank") -> Composer:
    made = tokenizer_llama3_like(images=True)
    limits: dict[Modality, int] = dict.fromkeys(MODALITIES, limit)
    token = made.token_to_id("<IMG_CONTEXT>")
    return Composer(TextTokenizer(made, limit), template, {}, limits, ImageTokens(token=token, per_tile=PER_TILE, width=WIDTH, rows=token + 1))


def pair_plan(*passages: str | Item, query: str = QUERY, truncate: Any = "END", composer: Composer | None = None, **long: int | None) -> PairPlan:
    head = LinearHead("mean", np.random.default_rng(1).normal(0, 1, 8).astype(np.float32), 1.0)
    items = [Item(passage) if isinstance(passage, str) else passage for passage in passages]
    return PairPlan(composer or bert(), head, query, items, truncate, **long)


def late_plan(*passages: str, query: str = QUERY, truncate: Any = "END", **long: int | None) -> LatePlan:
    return LatePlan(TextTokenizer(tokenizer(), LIMIT), LateInteraction(), query, [Item(passage) for passage in passages], truncate, **long)


MAKERS = [pytest.param(pair_plan, id="pairs"), pytest.param(late_plan, id="late interaction")]
Make = Callable[..., PairPlan | LatePlan]


def fed(plan: PairPlan | LatePlan) -> Floats:
    for index, sequence in enumerate(plan.sequences):
        plan.take(index, FakeEngine().run(Batch.of([sequence.ids])))
    return plan.values()


def ids(plan: PairPlan | LatePlan) -> list[list[int]]:
    return [sequence.ids.tolist() for sequence in plan.sequences]


def of(*words: str) -> list[int]:
    return [VOCABULARY[word] for word in words]


# Cut to so many tokens


@pytest.mark.parametrize("truncate", ["END", "NONE"])
@pytest.mark.parametrize("make", MAKERS)
def test_a_passage_over_the_tokens_asked_for_is_cut_to_them_whatever_truncate_says(make: Make, truncate: str) -> None:
    plan = make("snow", LONG, "the snow of", truncate=truncate, max_passage_tokens=3)
    assert ids(plan)[-2][-4:] == of("the", "snow", "of", "[SEP]")
    assert plan.truncated == (1,)
    assert plan.chunks() == {}
    same = make("snow", "the snow of")
    assert ids(plan) == [*ids(same)[:-1], ids(same)[-1], ids(same)[-1]], "a cut passage is read as though it were no longer"


@pytest.mark.parametrize("make", MAKERS)
def test_more_tokens_than_the_model_takes_change_nothing(make: Make) -> None:
    assert ids(make("snow", LONG, max_passage_tokens=400)) == ids(make("snow", LONG))
    with pytest.raises(InputTooLong, match=rf"^Input length \d+ exceeds maximum allowed token size {LIMIT}$"):
        make("snow", LONG, truncate="NONE", max_passage_tokens=400)


def test_a_query_that_is_too_long_is_still_refused() -> None:
    for make in (pair_plan, late_plan):
        with pytest.raises(InputTooLong):
            make("snow", query=LONG, truncate="NONE", max_passage_tokens=2)  # type: ignore[operator]


@pytest.mark.parametrize("template", ["nvidia_vl_rerank", "nvidia_vl_rerank_other"])
def test_the_templates_tokens_are_not_the_passages(template: str) -> None:
    composer = llama(template=template)
    empty, whole, cut = (composer.rank(QUERY, [Item(text)], "END", most)[0].sequence.ids.tolist() for text, most in (("", 5), ("ice", 5), ("ice" * 9, 5)))
    assert whole == composer.rank(QUERY, [Item("ice")], "END")[0].sequence.ids.tolist()
    assert len(cut) == len(empty) + 5
    assert cut == composer.rank(QUERY, [Item("ice" * 9)], "END")[0].sequence.ids.tolist()[: len(cut)]


def test_the_text_beside_an_image_is_cut_and_the_image_is_not_counted() -> None:
    shown = Picture(np.zeros((2, 16, 48), np.float32))
    composer = llama(200)
    empty, cut = (composer.rank(QUERY, [Item(text, shown)], "NONE", 5)[0] for text in ("", "snow " * 30))
    assert len(cut.sequence.ids) == len(empty.sequence.ids) + 5
    assert (empty.truncated, cut.truncated) == (False, True)


# What fits


@pytest.mark.parametrize("truncate", ["END", "NONE"])
@pytest.mark.parametrize("make", MAKERS)
def test_passages_that_fit_are_read_as_without_pieces(make: Make, truncate: str) -> None:
    texts = ("snow", " the  road\n", "", "snow")
    plan, plain = make(*texts, truncate=truncate, max_chunks=5), make(*texts, truncate=truncate)
    assert ids(plan) == ids(plain)
    assert (plan.prompt_tokens, plan.truncated, plan.chunks()) == (plain.prompt_tokens, (), {})
    assert fed(plan).tolist() == fed(plain).tolist()


TEXT = st.lists(
    st.sampled_from(["the sky", " the snow", ". ", "\n\n", "'s", ":", "1234", "\u96ea\u9053", "\U0001f525", "e\u0301", "<image>", "<|eot_id|>", "  "])
    | st.text(max_size=5),
    max_size=30,
).map("".join)
COMPOSERS: dict[str, Callable[[], Composer]] = {
    "bert": bert,
    "xlm": lambda: Composer(TextTokenizer(tokenizer_xlm_like(), 40), "plain", {}, {"text": 40}),
    "modernbert": lambda: Composer(TextTokenizer(tokenizer_modernbert_like(), 40), "plain", {}, {"text": 40}),
    "llama": lambda: Composer(TextTokenizer(tokenizer_llama3_like(), 60), "nvidia_rerank", {}, {"text": 60}),
    "vision": llama,
    "other vision": lambda: llama(template="nvidia_vl_rerank_other"),
    "qwen3": lambda: Composer(TextTokenizer(tokenizer_qwen3_like(), 600), "qwen3_rerank", {}, {"text": 600}),
}


def undivided() -> Composer:
    made = llama()
    made._divides = False
    return made


COMPOSERS["undivided"] = undivided
_made: dict[str, Composer] = {}


@pytest.mark.parametrize("name", COMPOSERS)
@given(query=TEXT, text=TEXT, most=st.sampled_from([None, 1, 4, 15, 40]))
@hypothesis_settings(max_examples=60)
def test_the_ruler_agrees_with_the_composer_on_what_fits(name: str, query: str, text: str, most: int | None) -> None:
    composer = _made.setdefault(name, COMPOSERS[name]())
    ruler, encoded = composer.ruler(query, most), composer.rank(query, [Item(text)], "END", most)[0]
    assert encoded.truncated == (ruler.count(text) > ruler.most)
    if not encoded.truncated:
        empty = composer.rank(query, [Item("")], "END")[0]
        assert ruler.count(text) == len(encoded.sequence.ids) - len(empty.sequence.ids)


# In pieces


@pytest.mark.parametrize("make", MAKERS)
def test_a_long_passage_is_read_as_its_pieces_would_be_and_has_the_logit_of_the_best(make: Make) -> None:
    plan = make("snow", LONG, max_passage_tokens=8, max_chunks=10)
    logits = fed(plan)
    chunk = plan.chunks()[1]
    assert plan.truncated == ()
    assert chunk.of == 4
    parts = ("the snow of the road. red hot", "ice and the wood. which way should", "ember go, and rank the warm wood", "of ice?")
    alone = make("snow", *parts)
    assert ids(plan) == ids(alone)
    each = fed(alone)
    assert logits.tolist() == [each[0], max(each[1:])]
    assert LONG[chunk.start : chunk.end] == parts[chunk.number]
    assert each[1 + chunk.number] == logits[1]
    assert plan.prompt_tokens == alone.prompt_tokens


@pytest.mark.parametrize("make", MAKERS)
def test_without_a_number_of_tokens_a_piece_is_what_fits_the_model(make: Make) -> None:
    plan = make(LONG * 3, max_chunks=30)
    lengths = [len(sequence) for sequence in ids(plan)][plan.leads :]
    assert max(lengths) <= LIMIT
    assert sorted(lengths)[1] >= LIMIT - 4
    fed(plan)
    assert plan.chunks()[0].of >= 5


@pytest.mark.parametrize("make", MAKERS)
def test_what_more_pieces_would_have_held_is_cut_away_and_said(make: Make) -> None:
    plan = make("snow", LONG, max_passage_tokens=8, max_chunks=2)
    fed(plan)
    assert plan.truncated == (1,)
    assert plan.chunks()[1].of == 2
    only = make(LONG, max_passage_tokens=8, max_chunks=1)
    fed(only)
    assert only.truncated == (0,)
    assert only.chunks() == {}, "what was read in one piece has no best one"


@pytest.mark.parametrize("make", MAKERS)
def test_without_truncation_too_few_pieces_are_refused_and_the_number_said_is_enough(make: Make) -> None:
    with pytest.raises(InputTooLong) as refused:
        make("snow", LONG, truncate="NONE", max_passage_tokens=8, max_chunks=3)
    assert refused.value.message == ("Input length 27 exceeds maximum allowed token size 8: it takes 4 pieces of at most 8 tokens, and max_chunks_per_doc is 3")
    plan = make("snow", LONG, truncate="NONE", max_passage_tokens=8, max_chunks=4)
    assert plan.truncated == ()


def test_without_truncation_a_passage_that_no_number_of_pieces_holds_is_refused() -> None:
    with pytest.raises(InputTooLong, match=r"^Input length 3001 exceeds maximum allowed token size 3: not even 1000 pieces of at most 3 tokens hold it, and"):
        late_plan("the " * 3001, truncate="NONE", max_passage_tokens=3, max_chunks=1000)


def test_a_refusal_has_the_status_of_the_settings() -> None:
    tokenizer_422 = TextTokenizer(tokenizer(), LIMIT, 422)
    with pytest.raises(InputTooLong) as refused:
        LatePlan(tokenizer_422, LateInteraction(), QUERY, [Item(LONG)], "NONE", 8, 1)
    assert refused.value.http_status == 422


@pytest.mark.parametrize("make", MAKERS)
def test_equal_pieces_and_passages_are_run_once_and_counted_as_often_as_they_stand_there(make: Make) -> None:
    texts = ("the snow. " * 4, "ice", "the snow. " * 4, "the snow.")
    plan = make(*texts, max_passage_tokens=3, max_chunks=10)
    assert len(plan.sequences) == plan.leads + 2
    alone = make(*["the snow."] * 9, "ice")
    assert plan.prompt_tokens == alone.prompt_tokens
    logits = fed(plan)
    assert logits[0] == logits[2] == logits[3]
    assert plan.chunks() == {0: Chunk(0, 9, 0, 4), 2: Chunk(0, 9, 0, 4)}, "of equal pieces the first counts"


@pytest.mark.parametrize("make", MAKERS)
def test_white_space_alone_makes_no_passage_long(make: Make) -> None:
    plan = make(f"\n\n{' ' * 50}snow{' ' * 50}ice\t", max_passage_tokens=2, max_chunks=3)
    assert (plan.truncated, plan.chunks()) == ((), {})


def test_a_passage_of_white_space_that_a_tokenizer_counts_is_read_as_nothing() -> None:
    composer = llama(template="nvidia_rerank")
    plan = pair_plan(" \t" * 40, composer=composer, max_passage_tokens=4, max_chunks=3, truncate="NONE")
    assert ids(plan) == ids(pair_plan("", composer=composer))
    assert (plan.truncated, plan.chunks()) == ((), {})


def test_beside_a_query_that_fills_the_sequence_a_passage_is_cut_and_not_split() -> None:
    plan = pair_plan("snow", LONG, query=LONG, max_chunks=5)
    assert len(plan.sequences) == 2
    assert (plan.truncated, plan.chunks()) == ((0, 1), {})
    for make in (pair_plan, late_plan):
        with pytest.raises(InputTooLong, match=rf"token size {LIMIT}$"):
            make("snow", query=LONG, max_chunks=5, truncate="NONE")  # type: ignore[operator]


def test_a_character_that_does_not_fit_is_cut_and_said() -> None:
    composer = llama(template="nvidia_rerank")
    plan = pair_plan("\U0001f525 ice", composer=composer, max_passage_tokens=3, max_chunks=3)
    assert plan.truncated == (0,)
    fed(plan)
    assert plan.chunks()[0].of == 2
    with pytest.raises(InputTooLong, match=r"^Input length 4 exceeds maximum allowed token size 3$"):
        pair_plan("\U0001f525 ice", composer=composer, max_passage_tokens=3, max_chunks=3, truncate="NONE")


@pytest.mark.parametrize("make", MAKERS)
def test_the_pieces_of_one_call_are_bounded_all_passages_together(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages_module, "MOST_PIECES", 8)
    other = LONG.replace("snow", "ice")
    make(LONG, other, "snow", "road", max_passage_tokens=8, max_chunks=10)
    for truncate in ("END", "NONE"):
        with pytest.raises(BadRequest) as refused:
            make(LONG, other, "the snow of ice and the road of wood", truncate=truncate, max_passage_tokens=8, max_chunks=10)
        assert type(refused.value) is BadRequest
        assert refused.value.message == (
            "max_chunks_per_doc 10 with pieces of at most 8 tokens splits the passages into more than 8 pieces; "
            "lower max_chunks_per_doc, raise max_tokens_per_doc, or send fewer passages in one call"
        )
    with pytest.raises(BadRequest, match="more than 8 pieces"):
        make(LONG * 3, max_passage_tokens=8, max_chunks=10)
    cut = make(*(LONG + word for word in "abcdefghij"), max_passage_tokens=8, max_chunks=1)
    assert cut.truncated == tuple(range(10)), "a passage in one piece adds none"


# Beside images


def test_a_passage_with_an_image_is_never_split() -> None:
    shown, composer = Picture(np.zeros((1, 16, 48), np.float32)), llama(60)
    items = (Item("snow " * 60, shown), Item("snow road " * 40), Item("ice", shown))
    plan, plain = (pair_plan(*items, composer=composer, max_chunks=chunks) for chunks in (30, None))
    assert ids(plan)[0] in ids(plain)
    assert plan.truncated == (0,)
    assert len(plan.tiles) == 1
    features = [index for index, sequence in enumerate(plan.sequences) if sequence.features is not None]
    assert len(features) == 2
    plan.take_tile(0, np.full((PER_TILE, WIDTH), 3, np.float32))
    for index in features:
        found = plan.sequences[index].features
        assert found is not None
        assert found.values.min() == 3
    fed(plan)
    assert set(plan.chunks()) == {1}


def test_without_truncation_a_text_that_is_too_long_beside_its_image_is_refused_as_ever() -> None:
    shown, composer = Picture(np.zeros((1, 16, 48), np.float32)), llama(60)
    with pytest.raises(InputTooLong, match=r"exceeds maximum allowed token size 60$"):
        pair_plan(Item("snow " * 60, shown), composer=composer, max_chunks=30, truncate="NONE")
