"""Every template byte for byte, as the models' publishers write it."""

from __future__ import annotations

import pytest

from emberank.runtime.prompts import TEMPLATES, around_image, filled, prompted, unmarked, unmarked_pair

QUERY, PASSAGE = "what is ai?", "The sky is blue"


def pair(template: str, query: str = QUERY, passage: str = PASSAGE) -> str:
    one = TEMPLATES[template]
    return one.opening + filled(one.lead, query) + filled(one.tail, passage) + one.closing


@pytest.mark.claim("nim:ranking:template")
@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("nvidia_rerank", "question:what is ai? \n \n passage:The sky is blue"),
        ("nvidia_vl_rerank", "question:what is ai? \n \n passage:The sky is blue"),
        ("nvidia_vl_rerank_other", "what is ai? \n The sky is blue"),
        (
            "qwen3_rerank",
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
            'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
            "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n<Query>: what is ai?\n<Document>: The sky is blue"
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
    ],
)
def test_a_pair_is_written_as_its_model_was_trained_on_it(template: str, expected: str) -> None:
    assert pair(template) == expected


@pytest.mark.parametrize("text", ["{}", "{0}", "{query}", "%s", "\\1", "question:{} \n \n passage"])
def test_braces_in_a_callers_text_are_the_callers(text: str) -> None:
    assert pair("nvidia_rerank", text, text) == f"question:{text} \n \n passage:{text}"


def test_a_prompt_stands_before_the_text_as_it_is() -> None:
    assert prompted("query: ", "snow", once=True) == "query: snow"
    assert prompted("", "snow", once=True) == "snow"
    assert prompted(" ", "snow", once=True) == " snow"


@pytest.mark.claim("nim:embeddings:prompt-not-doubled")
@pytest.mark.parametrize("text", ["query: snow", "Query: snow", "QUERY:snow", "query:", "query:\nsnow"])
def test_a_prompt_that_is_there_already_is_not_put_there_again(text: str) -> None:
    assert prompted("query: ", text, once=True) == text
    assert prompted("query: ", text, once=False) == f"query: {text}"


@pytest.mark.parametrize("text", ["queryx: snow", "query snow", " query: snow", "the query: snow", "passage: snow", "quer"])
def test_what_only_looks_like_the_prompt_is_text(text: str) -> None:
    assert prompted("query: ", text, once=True) == f"query: {text}"


@pytest.mark.claim("nim:embeddings:prompts")
@pytest.mark.parametrize("template", ["nvidia_embed", "nvidia_vl_embed"])
def test_nvidias_embedders_know_their_prompts_without_a_file(template: str) -> None:
    assert dict(TEMPLATES[template].prompts or {}) == {"query": "query: ", "passage": "passage: "}
    assert TEMPLATES[template].prompt_once


def test_other_embedders_repeat_a_prompt_as_sentence_transformers_does() -> None:
    assert not TEMPLATES["plain"].prompt_once


def test_an_image_stands_between_its_two_marks() -> None:
    before, after = around_image("passage: ")
    assert before + "<IMG_CONTEXT>" * 2 + after == "passage: <img><IMG_CONTEXT><IMG_CONTEXT></img>"


def test_the_first_mark_of_an_image_that_is_not_there_is_taken_out() -> None:
    assert unmarked("passage: a <image> b <image>") == "passage: a  b <image>"
    assert unmarked("no mark") == "no mark"


@pytest.mark.parametrize(
    ("lead", "tails", "expected"),
    [
        ("question:a", [":b <image> c <image>", ":d"], ("question:a", [":b  c <image>", ":d"])),
        ("question:a <image>", [":b <image>"], ("question:a ", [":b <image>"])),
        ("question:<image><image>", [":b"], ("question:<image>", [":b"])),
    ],
)
def test_in_a_pair_it_is_the_first_of_the_whole_text(lead: str, tails: list[str], expected: tuple[str, list[str]]) -> None:
    found = unmarked_pair(lead, tails)
    assert found == expected
    assert [found[0] + tail for tail in found[1]] == [unmarked(lead + tail) for tail in tails]
