"""Each family through our whole path (template, tokenizer, batcher, reference engine, head) against transformers' own models on the prompt written out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer

import family_oracles
from emberank.contract.inference import InputType
from emberank.runtime.engines.base import Features
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.items import Item, Picture
from emberank.runtime.job import Job
from emberank.runtime.model import ServedModel
from emberank.runtime.plans import Plan
from families import (
    write_llama_embedder,
    write_llama_reranker,
    write_modernbert_reranker,
    write_qwen3_reranker,
    write_vl_embedder,
    write_vl_reranker,
    write_xlm_reranker,
)
from family_weights import write_safetensors

Workshop = Any  # tests/unit/runtime/conftest.py
Floats = NDArray[np.float32]
Score = Callable[[str], float]  # of a whole prompt

QUERY = "what is the way to the snow road?"
PASSAGES = (
    "The sky is blue",
    "",
    "the warm ember of the red road, and which way should it go? " * 3,
    "\n\nsnow: \u96ea\u9053 1913!  ",
    "ice",
    "the wood is hot <|eot_id|> and the road is snow",
)
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def exact(workshop: Workshop) -> None:
    workshop.make = lambda network, weights: ReferenceEngine(network, weights)


def answered(model: ServedModel, plan: Plan) -> Floats:
    """A plan run as the pipeline runs it: its tiles, then its sequences, through the model's own batchers."""

    async def run() -> None:
        deadline = time.monotonic() + WAIT_S
        if plan.tiles:
            assert model.vision is not None
            await model.vision.batcher.submit(Job(sequences=plan.tiles, take=plan.take_tile, deadline=deadline))
        await model.backend.batcher.submit(Job(sequences=plan.sequences, take=plan.take, deadline=deadline, leads=plan.leads, pooling=plan.pooling))

    asyncio.run(run())
    return plan.values()


def ranked(model: ServedModel, passages: tuple[str, ...] = PASSAGES) -> list[float]:
    return answered(model, model.rank_plan(QUERY, [Item(passage) for passage in passages], "END")).tolist()


def assert_close(ours: list[float], theirs: list[float]) -> None:
    assert max(theirs) - min(theirs) > 0.05, "the scores differ from one another"
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4 * max(map(abs, theirs)))


def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def ids(folder: Path, *texts: str) -> NDArray[np.int32]:
    return np.array(tokenizer(folder).encode(*texts).ids, np.int32)


def in_torch(folder: Path, name: str) -> torch.Tensor:
    found: torch.Tensor = load_file(folder / "model.safetensors")[name].float()
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.05])
@pytest.mark.parametrize("dialect", ["old", "v5"])
def test_nvidias_text_reranker(workshop: Workshop, tmp_path: Path, dialect: Any, temperature: float) -> None:
    folder = write_llama_reranker(tmp_path / "x", dialect=dialect, temperature=temperature)
    states, score = family_oracles.llama(folder), in_torch(folder, "score.weight")
    theirs = []
    for passage in PASSAGES:
        hidden = torch.from_numpy(states(ids(folder, f"question:{QUERY} \n \n passage:{passage}"), None))
        mask = torch.ones(len(hidden), 1)
        theirs.append(float(torch.nn.functional.linear((hidden * mask).sum(0) / mask.sum(), score)[0] / temperature))
    assert_close(ranked(workshop.load(folder)), theirs)


def test_nvidias_reranker_is_not_the_causal_one(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_llama_reranker(tmp_path / "x")
    causal, score = family_oracles.llama(folder, causal=True), in_torch(folder, "score.weight")[0].numpy()
    wrong = [float(causal(ids(folder, f"question:{QUERY} \n \n passage:{passage}"), None).mean(0) @ score) for passage in PASSAGES]
    assert np.abs(np.array(ranked(workshop.load(folder))) - wrong).max() > 0.05


@pytest.mark.parametrize("word", ["avg", "weighted_avg", "cls", "last"])
def test_nvidias_reranker_with_another_pooling(workshop: Workshop, tmp_path: Path, word: str) -> None:
    folder = write_llama_reranker(tmp_path / "x", pooling=word)
    states, score = family_oracles.llama(folder), in_torch(folder, "score.weight")[0].numpy()
    pooled: dict[str, Callable[[Floats], Floats]] = {
        "avg": lambda x: x.mean(0), "weighted_avg": lambda x: x.sum(0), "cls": lambda x: x[0], "last": lambda x: x[-1]
    }  # fmt: skip
    theirs = [float(pooled[word](states(ids(folder, f"question:{QUERY} \n \n passage:{passage}"), None)) @ score) for passage in PASSAGES]
    assert_close(ranked(workshop.load(folder)), theirs)


def test_a_long_pair_is_cut_and_scored_as_the_whole_prompt_cut_from_the_right(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_llama_reranker(tmp_path / "x")
    states, score = family_oracles.llama(folder), in_torch(folder, "score.weight")[0].numpy()
    limit = 40
    theirs = [float(states(ids(folder, f"question:{QUERY} \n \n passage:{passage}")[:limit], None).mean(0) @ score) for passage in PASSAGES]
    assert_close(ranked(workshop.load(folder, max_tokens=limit)), theirs)


@pytest.mark.parametrize("input_type", ["query", "passage"])
def test_nvidias_text_embedder(workshop: Workshop, tmp_path: Path, input_type: InputType) -> None:
    folder = write_llama_embedder(tmp_path / "x")
    states, model = family_oracles.llama(folder), workshop.load(folder)
    ours = answered(model, model.embed_plan([Item(text) for text in PASSAGES], input_type, "END"))
    theirs = np.stack([states(ids(folder, f"{input_type}: {text}"), None).mean(0) for text in PASSAGES])
    assert ours.shape == (len(PASSAGES), 64)
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def picture(tiles: int, seed: int) -> Picture:
    return Picture(np.random.default_rng(seed).uniform(-1, 1, (tiles, 16, 192)).astype(np.float32))


def shown_states(folder: Path, prompt: str, shown: Picture) -> Floats:
    """States of a prompt in which <image> stands for the picture: SigLIP by transformers, its rows put among the token embeddings."""
    eyes, llama = family_oracles.siglip(folder), family_oracles.llama(folder)
    at = np.arange(16, dtype=np.int32)
    rows = np.concatenate([eyes(np.zeros(16, np.int32), Features(at, tile)) for tile in shown.tiles])
    sequence = ids(folder, prompt.replace("<image>", f"<img>{'<IMG_CONTEXT>' * len(rows)}</img>", 1))
    token = json.loads((folder / "config.json").read_text("utf-8"))["img_context_token_id"]
    return llama(sequence, Features(np.flatnonzero(sequence == token).astype(np.int32), rows))


def test_nvidias_vision_reranker(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_vl_reranker(tmp_path / "x", temperature=0.5)
    score, llama = in_torch(folder, "score.weight")[0].numpy(), family_oracles.llama(folder)
    one, three = picture(1, 1), picture(3, 2)
    items = [Item("the snow", one), Item("the snow"), Item(None, three), Item("ice", three), Item("a <image> b")]
    prompts = [f"question:{QUERY} \n \n passage:{text}" for text in ("the snow", "the snow", "", "ice", "a  b")]
    states = [
        llama(ids(folder, prompt), None) if item.picture is None else shown_states(folder, f"<image> {prompt}", item.picture)
        for item, prompt in zip(items, prompts, strict=True)
    ]
    model = workshop.load(folder)
    ours = answered(model, model.rank_plan(QUERY, items, "NONE")).tolist()
    assert_close(ours, [float(one.mean(0) @ score) / 0.5 for one in states])
    assert model.rank_plan(QUERY, items, "NONE").prompt_tokens == sum(map(len, states))


def test_nvidias_vision_embedder(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_vl_embedder(tmp_path / "x", flattened_vision=True)
    one, three, llama = picture(1, 3), picture(3, 4), family_oracles.llama(folder)
    items = [Item("the snow", three), Item("the snow"), Item(None, one), Item(None, three)]
    prompts = ["passage: <image> the snow", "passage: the snow", "passage: <image> ", "passage: <image> "]
    states = [
        llama(ids(folder, prompt), None) if item.picture is None else shown_states(folder, prompt, item.picture)
        for item, prompt in zip(items, prompts, strict=True)
    ]
    model = workshop.load(folder)
    theirs = np.stack([one.mean(0) for one in states])
    ours = answered(model, model.embed_plan(items, "passage", "NONE"))
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
    assert np.abs(ours[2] - ours[3]).max() > 0.01, "the pictures differ"


def classified(folder: Path, kind: str) -> Score:
    """The logit that transformers' own classifier gives a tokenised pair."""
    model = getattr(transformers, kind).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()

    def score(passage: str) -> float:
        with torch.no_grad():
            return float(model(input_ids=torch.from_numpy(ids(folder, QUERY, passage))[None].long()).logits[0, 0])

    return score


def test_xlm_robertas_reranker(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_xlm_reranker(tmp_path / "x")
    assert_close(ranked(workshop.load(folder)), list(map(classified(folder, "XLMRobertaForSequenceClassification"), PASSAGES)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("bias", [False, True])
def test_modernberts_reranker(workshop: Workshop, tmp_path: Path, pooling: str, bias: bool) -> None:
    folder = write_modernbert_reranker(tmp_path / "x", pooling=pooling, classifier_bias=bias)
    assert_close(ranked(workshop.load(folder)), list(map(classified(folder, "ModernBertForSequenceClassification"), PASSAGES)))


QWEN_SYSTEM = 'Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".'
QWEN_INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"


def qwen_prompt(passage: str) -> str:
    return (
        f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: {QWEN_INSTRUCT}\n<Query>: {QUERY}\n<Document>: {passage}<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


@pytest.mark.parametrize("tied", [True, False])
def test_qwen3s_reranker_says_how_much_rather_yes_than_no(workshop: Workshop, tmp_path: Path, tied: bool) -> None:
    folder = write_qwen3_reranker(tmp_path / "Qwen3-Reranker", tied=tied)
    model = transformers.Qwen3ForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    yes, no = (tokenizer(folder).token_to_id(word) for word in ("yes", "no"))
    theirs = []
    for passage in PASSAGES:
        with torch.no_grad():
            last = model(input_ids=torch.from_numpy(ids(folder, qwen_prompt(passage)))[None].long()).logits[0, -1]
        chances = torch.log_softmax(last[[no, yes]], 0)
        theirs.append(float(chances[1] - chances[0]))
    assert_close(ranked(workshop.load(folder)), theirs)


def test_qwen3s_reranker_made_a_classifier(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_qwen3_reranker(tmp_path / "x", architectures=["Qwen3ForSequenceClassification"], id2label={"0": "LABEL_0"}, pad_token_id=0)
    score = np.random.default_rng(9).normal(0, 0.5, (1, 64)).astype(np.float32)
    tensors = {name: array.numpy() for name, array in load_file(folder / "model.safetensors").items()}
    write_safetensors(folder / "model.safetensors", tensors | {"score.weight": score})
    model = transformers.Qwen3ForSequenceClassification.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    theirs = []
    for passage in PASSAGES:
        with torch.no_grad():
            theirs.append(float(model(input_ids=torch.from_numpy(ids(folder, qwen_prompt(passage)))[None].long()).logits[0, 0]))
    assert_close(ranked(workshop.load(folder)), theirs)
