"""A query, a passage, a checkpoint's template in; the exact text its network was trained on out. Knows no tokenizer and no image: texts only.

Every template is data, byte for byte: a space too many moves a score. Where each is from stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IMAGE_MARK = "<image>"
IMAGE_TOKEN = "<IMG_CONTEXT>"  # noqa: S105  a token of text


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How one kind of checkpoint wants its texts; `{}` is the caller's.

    A pair is `lead` with the query, then `tail` with the passage: one text, divided where tokenising the parts apart changes nothing, so that
    a query is tokenised once for all its passages. Both are empty where the tokenizer itself puts two texts together, as BERT's does.
    """

    lead: str = ""
    tail: str = ""
    opening: str = ""  # around both, never cut
    closing: str = ""
    prompts: Mapping[str, str] | None = None  # put before a text to embed where the checkpoint's files say none
    prompt_once: bool = False  # a text that begins with its prompt already does not get it twice
    reads_images: bool = False  # an image stands before the pair, or between the prompt and the text


# NeMo-Retriever `nemotron_rerank_v2.py`, Automodel `retrieval_collator.py`, vLLM `nemotron-rerank.jinja`. The cut is before the colon:
# Llama 3's tokenizer reads `:The` as one word.
_NVIDIA_LEAD, _NVIDIA_TAIL = "question:{} \n \n passage", ":{}"
# NeMo-Retriever `llama_nemotron_embed_1b_v2_hf_embedder.py`, which also looks for a prefix that is there already.
_NVIDIA_PROMPTS = {"query": "query: ", "passage": "passage: "}

# The model card of Qwen3-Reranker; vLLM `qwen3_reranker.jinja`.
_QWEN3_SYSTEM = (
    'Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".'
)
_QWEN3_INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"

TEMPLATES: Mapping[str, Template] = {
    "plain": Template(),
    "nvidia_rerank": Template(lead=_NVIDIA_LEAD, tail=_NVIDIA_TAIL),
    "nvidia_embed": Template(prompts=_NVIDIA_PROMPTS, prompt_once=True),
    # The processors that ship with the two vision models (`processing_llama_nemotron_vl.py`); vLLM `nemotron-vl-rerank.jinja` agrees that a
    # reranker's image stands before the question, not within the passage.
    "nvidia_vl_rerank": Template(lead=_NVIDIA_LEAD, tail=_NVIDIA_TAIL, reads_images=True),
    "nvidia_vl_rerank_other": Template(lead="{} \n", tail=" {}", reads_images=True),  # `prompt_template` other than "v1"
    "nvidia_vl_embed": Template(prompts=_NVIDIA_PROMPTS, prompt_once=True, reads_images=True),
    "qwen3_rerank": Template(
        opening=f"<|im_start|>system\n{_QWEN3_SYSTEM}<|im_end|>\n<|im_start|>user\n",
        lead=f"<Instruct>: {_QWEN3_INSTRUCT}\n<Query>: {{}}\n<Document>:",
        tail=" {}",
        closing="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
}


def filled(part: str, text: str) -> str:
    """`part` with `text` in the place of `{}`. The text is not looked at: braces in it are the caller's."""
    before, _, after = part.partition("{}")
    return f"{before}{text}{after}"


def prompted(prompt: str, text: str, *, once: bool) -> str:
    """`prompt` before `text`; with `once` only where the text does not begin with it already, in whatever case and with or without the space."""
    bare = prompt.rstrip()
    if once and bare and text[: len(bare)].lower() == bare.lower():
        return text
    return prompt + text


def around_image(prompt: str) -> tuple[str, str]:
    """What stands before an image's tokens and after them, when `prompt` comes first: `<image>` becomes `<img>`, the tokens, `</img>`."""
    return f"{prompt}<img>", "</img>"


def unmarked(text: str) -> str:
    """`text` without its first `<image>`: the published processors take it for the place of an image that is not there."""
    return text.replace(IMAGE_MARK, "", 1)


def unmarked_pair(lead: str, tails: list[str]) -> tuple[str, list[str]]:
    """The same for a pair, which is one text: the first `<image>` of the query, or of each passage where the query has none."""
    if IMAGE_MARK in lead:
        return unmarked(lead), tails
    return lead, [unmarked(tail) for tail in tails]
