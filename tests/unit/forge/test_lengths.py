"""How long a request is, by its characters: what a model reads of it, in tokens as it was measured to make of them."""

from __future__ import annotations

import pytest

from emberank.contract.inference import Content, EmbedCall, RankCall
from emberank.forge.figures import request_figures
from emberank.forge.lengths import Length, length_of, sample_chars, tokens_of
from measured import CPU, SLUG, VERSION, probes, windows


def rank(query: str, *passages: str) -> RankCall:
    return RankCall(model=None, query=Content(query), passages=tuple(map(Content, passages)), truncate="END")


def embed(*texts: str) -> EmbedCall:
    return EmbedCall(model=None, inputs=tuple(map(Content, texts)), truncate="END")


def test_a_reranker_reads_the_query_once_with_every_passage_and_an_embedder_each_text_once() -> None:
    assert length_of(rank("ab", "cde", "f")) == Length(chars=8, passages=2)
    assert length_of(embed("abc", "d")) == Length(chars=4, passages=2)


def test_what_is_beyond_the_context_is_not_read() -> None:
    assert length_of(embed("x" * 1000, "y"), context_tokens=10).chars == 41
    assert length_of(rank("x" * 30, "y" * 30), context_tokens=10).chars == 40


def test_an_image_has_no_characters() -> None:
    call = EmbedCall(model=None, inputs=(Content(None, "data:image/png;base64,AAAA"),), truncate="END")
    assert length_of(call) == Length(chars=0, passages=1)


def test_the_sample_has_as_many_tokens_as_were_measured_of_it() -> None:
    figures = request_figures(windows(probes([10.0] * 6, tokens=53, passages=3)).of(SLUG, VERSION, CPU, "probe"))
    assert tokens_of(sample_chars("rank"), "rank", figures) == (53, "measured")
    assert tokens_of(2 * sample_chars("rank"), "rank", figures) == (106, "measured")


@pytest.mark.parametrize("passages", [0, 24])
def test_where_the_sample_was_not_measured_four_characters_are_a_token(passages: int) -> None:
    measured = windows(probes([10.0] * 6, tokens=900, passages=passages)) if passages else windows()
    figures = request_figures(measured.of(SLUG, VERSION, CPU, "probe"))
    assert tokens_of(400, "rank", figures) == (100, "assumed")
    assert tokens_of(1, "rank", figures) == (1, "assumed")
