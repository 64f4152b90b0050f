"""Config files in, a description of the checkpoint out: network, task, template, head, pooling, prompts, limits. Never runs code that ships with a checkpoint.

Rules, first match wins: `architectures` says the task and what is done with the states, `model_type` the network; pooling comes from
config.json's own `pooling` (NVIDIA's), else from sentence-transformers' files, else from the kind; prompts from sentence-transformers'
files, else from the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt, WeightsError
from emberank.contract.inference import Modality, Task
from emberank.runtime.heads import Pooling
from emberank.runtime.networks import reading
from emberank.runtime.networks.bert import Bert
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.modernbert import ModernBert
from emberank.runtime.networks.network import Network, number, real
from emberank.runtime.networks.siglip import SiglipProjector
from emberank.runtime.prompts import IMAGE_TOKEN, TEMPLATES
from emberank.runtime.sentence_transformers_files import Modules, max_seq_length, modules, optional_object, prompts, read_object
from emberank.runtime.tiles import Tiling

# The longest input where the publisher's word is shorter than the position table: NVIDIA's support matrices and model cards, Qwen's model card.
_MOST_TOKENS = {"llama_bidirec": 8192, "llama_nemotron_vl": 8192, "llama_nemotron_vl_rerank": 8192, "qwen3": 8192}
_MOST_IMAGE_TOKENS: Mapping[Modality, int] = {"text": 8192, "image": 2048, "text_image": 10240}
# Matryoshka lengths: NVIDIA's support matrices of the text embedder and of the vision embedder.
_DIMENSIONS = {"llama_bidirec": (384, 512, 768, 1024, 2048), "llama_nemotron_vl": (128, 256, 384, 512, 768, 1024, 1536, 2048)}
# NVIDIA's words for pooling. `colbert` keeps every token's state, which no route here can give.
_NVIDIA_POOLING: Mapping[str, Pooling] = {"avg": "mean", "weighted_avg": "sum", "cls": "cls", "last": "last", "cls_last": "cls"}
# By model_type, what a missing `pooling` means to the published configuration classes, which leave out what is their default.
_POOLS_BY_CONFIG: Mapping[str, Pooling] = {"llama_bidirec": "mean", "llama_nemotron_vl": "last", "llama_nemotron_vl_rerank": "last"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """The image half of a checkpoint that reads images."""

    network: Network  # patches of tiles in, states for the language model out
    tiling: Tiling
    image_token: int  # the id in whose place an image's states stand
    tokens_per_tile: int
    max_tokens_by: Mapping[Modality, int]  # the longest input by what it is made of, special tokens included


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What a checkpoint folder holds."""

    network: Network
    family: str  # model_type, as config.json has it
    task: Task
    max_tokens: int  # the longest input of text, special tokens included
    pooling: Pooling = "mean"
    normalize: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)  # "query" and "passage" → text put in front
    template: str = "plain"  # a key of prompts.TEMPLATES
    head: str | None = None  # a key of heads.HEADS, for a reranker
    temperature: float = 1.0
    head_eps: float = 1e-5  # of the norm inside a head
    tied: bool = False  # the rows of a language model's head are its token table
    answers: tuple[int, int] | None = None  # the tokens of a yes and a no, where files say them
    dimensions: tuple[int, ...] = ()  # every length an embedding may have, the network's own last
    vision: Vision | None = None
    random_weights: bool = False  # made by `emberank make-checkpoint --random`: its scores mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What one word of `architectures` stands for."""

    model_type: str
    architecture: str
    task: Task
    template: str = "plain"
    head: str | None = None


# The first of a model_type is what it is when `architectures` is missing.
KINDS = (
    _Kind(model_type="bert", architecture="BertModel", task="embed"),
    _Kind(model_type="bert", architecture="BertForMaskedLM", task="embed"),
    _Kind(model_type="bert", architecture="BertForSequenceClassification", task="rank", head="bert"),
    _Kind(model_type="xlm-roberta", architecture="XLMRobertaModel", task="embed"),
    _Kind(model_type="xlm-roberta", architecture="XLMRobertaForSequenceClassification", task="rank", head="xlm_roberta"),
    _Kind(model_type="modernbert", architecture="ModernBertModel", task="embed"),
    _Kind(model_type="modernbert", architecture="ModernBertForSequenceClassification", task="rank", head="modernbert"),
    _Kind(model_type="llama_bidirec", architecture="LlamaBidirectionalModel", task="embed", template="nvidia_embed"),
    _Kind(model_type="llama_bidirec", architecture="LlamaBidirectionalForSequenceClassification", task="rank", template="nvidia_rerank", head="linear"),
    _Kind(model_type="llama_nemotron_vl", architecture="LlamaNemotronVLModel", task="embed", template="nvidia_vl_embed"),
    _Kind(
        model_type="llama_nemotron_vl_rerank",
        architecture="LlamaNemotronVLForSequenceClassification",
        task="rank",
        template="nvidia_vl_rerank",
        head="linear",
    ),
    _Kind(model_type="qwen3", architecture="Qwen3ForCausalLM", task="rank", template="qwen3_rerank", head="yes_no"),
    _Kind(model_type="qwen3", architecture="Qwen3ForSequenceClassification", task="rank", template="qwen3_rerank", head="linear"),
)


def recognise(folder: Path, task: Task | None = None) -> Recognised:
    """Read a checkpoint's configuration; `task` is what the user says it is for, where its files do not.

    Raises WeightsError (missing or broken file), WeightsCorrupt (numbers that cannot be), UnknownArchitecture.
    """
    config = read_object(folder / "config.json")
    kind = _kind(config)
    reading.refuse_quantized(config)
    processor = optional_object(folder / "processor_config.json")
    network = _network(config, kind)
    vision = _vision(folder, config, processor, network) if kind.model_type.startswith("llama_nemotron_vl") else None
    listed = modules(folder) if kind.task == "embed" or kind.head == "yes_no" else None
    if kind.head == "yes_no" and not _is_reranker(folder, config, listed, task):
        raise UnknownArchitecture(
            f'{folder}: {kind.architecture!r} is a language model, and nothing in its files says that it ranks; if it is a reranker, say `task = "rank"`'
        )
    if kind.task == "rank":
        _one_label(config, kind)
    facts = _rank_facts(config, kind, listed, processor) if kind.task == "rank" else _embed_facts(folder, config, kind, listed, network)
    return Recognised(
        network=network,
        family=kind.model_type,
        task=kind.task,
        max_tokens=_max_tokens(folder, kind, network),
        vision=vision,
        random_weights=config.get("emberank_random_weights") is True,
        **facts,
    )


def _kind(config: Mapping[str, Any]) -> _Kind:
    model_type = str(config.get("model_type") or "")
    architectures = config.get("architectures")
    architecture = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    for kind in KINDS:
        if kind.model_type == model_type and architecture in ("", kind.architecture):
            return kind
    code = config.get("auto_map")
    asked = f" Its config.json asks for code of its own ({', '.join(sorted(str(name) for name in code.values()))})." if isinstance(code, dict) and code else ""
    raise UnknownArchitecture(
        f"architecture {architecture or 'unnamed'!r} of model_type {model_type or 'unnamed'!r} is not known here; "
        f"known architectures: {', '.join(kind.architecture for kind in KINDS)}.{asked} Code that ships with a checkpoint is never run."
    )


def _network(config: Mapping[str, Any], kind: _Kind) -> Network:
    if kind.model_type.startswith("llama_nemotron_vl"):
        llm = reading.mapping(config, "llm_config")
        reading.choice(llm, "model_type", ("llama_bidirec",), network="the language half of a vision model")
        return Llama.from_config(llm, features=number(llm, "hidden_size"))
    if kind.model_type in ("llama_bidirec", "qwen3"):
        return Llama.from_config(config)
    return ModernBert.from_config(config) if kind.model_type == "modernbert" else Bert.from_config(config)


def _is_reranker(folder: Path, config: Mapping[str, Any], listed: Modules | None, task: Task | None) -> bool:
    named = f"{folder.name} {config.get('_name_or_path') or ''}".lower()
    return task == "rank" or "rerank" in named or (listed is not None and listed.scores_logits)


def _one_label(config: Mapping[str, Any], kind: _Kind) -> None:
    names = config.get("id2label")
    labels = config.get("num_labels") or (len(names) if isinstance(names, dict) else 0)
    if not labels and kind.head in ("linear", "yes_no"):
        return  # NVIDIA's files may say neither: then the head's tensor does. A language model has no labels.
    # transformers leaves both out of a config.json when there are two labels, its default.
    if kind.head != "yes_no" and (labels or 2) != 1:
        raise UnknownArchitecture(f"a sequence classifier of {labels or 2} labels is not a reranker: one label is needed")


def _rank_facts(config: Mapping[str, Any], kind: _Kind, listed: Modules | None, processor: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"template": kind.template, "head": kind.head, "pooling": "cls"}
    if kind.model_type in _POOLS_BY_CONFIG:
        facts |= {
            "pooling": _nvidia_pooling(config) or _POOLS_BY_CONFIG[kind.model_type],
            "temperature": real(config, "temperature", 1.0) if config.get("temperature") is not None else 1.0,
        }
        said = processor.get("prompt_template", config.get("prompt_template"))
        if kind.template == "nvidia_vl_rerank" and said not in (None, "v1"):
            facts["template"] = "nvidia_vl_rerank_other"
    elif kind.model_type == "modernbert":
        reading.choice(config, "classifier_activation", ("gelu",), "gelu", network="ModernBERT's head")
        facts |= {"pooling": reading.choice(config, "classifier_pooling", ("cls", "mean"), "cls", network="ModernBERT's head")}
        facts |= {"head_eps": real(config, "norm_eps", 1e-5)}
    elif kind.model_type == "qwen3":
        facts |= {"pooling": "last", "tied": reading.flag(config, "tie_word_embeddings"), "answers": listed.answers if listed else None}
    return facts


def _embed_facts(folder: Path, config: Mapping[str, Any], kind: _Kind, listed: Modules | None, network: Network) -> dict[str, Any]:
    nvidia = kind.model_type in _POOLS_BY_CONFIG
    pooling = _nvidia_pooling(config) if nvidia else None
    said = {**_built_in_prompts(config, kind), **prompts(folder)}
    # Without modules.json: mean and normalised, the common case of embedders. NVIDIA's are normalised in every server of theirs.
    return {
        "template": kind.template,
        "pooling": pooling or (listed.pooling if listed else None) or _POOLS_BY_CONFIG.get(kind.model_type, "mean"),
        "normalize": nvidia or listed is None or listed.normalize,
        "prompts": {name: text for name, text in said.items() if text},
        "dimensions": (*(length for length in _DIMENSIONS.get(kind.model_type, ()) if length < network.hidden), network.hidden),
    }


def _nvidia_pooling(config: Mapping[str, Any]) -> Pooling | None:
    said = config.get("pooling")
    if said is None:
        return None
    if not isinstance(said, str) or said not in _NVIDIA_POOLING:
        raise UnknownArchitecture(f"config.json: pooling {said!r} is not known; known: {', '.join(_NVIDIA_POOLING)}")
    return _NVIDIA_POOLING[said]


def _built_in_prompts(config: Mapping[str, Any], kind: _Kind) -> dict[str, str]:
    found = dict(TEMPLATES[kind.template].prompts or {})
    for name, key in (("query", "query_prefix"), ("passage", "passage_prefix")):
        said = config.get(key)
        if kind.model_type == "llama_nemotron_vl" and isinstance(said, str):
            found[name] = f"{said} " if said else ""
    return found


def _max_tokens(folder: Path, kind: _Kind, network: Network) -> int:
    limits = [network.max_positions, _MOST_TOKENS.get(kind.model_type), max_seq_length(folder) if kind.task == "embed" else None]
    return min(limit for limit in limits if limit is not None)


def _vision(folder: Path, config: Mapping[str, Any], processor: Mapping[str, Any], network: Network) -> Vision:
    eyes = SiglipProjector.from_config(config)
    token = number(config, "img_context_token_id", least=0) if config.get("img_context_token_id") is not None else _added_token(folder, IMAGE_TOKEN)
    if token >= network.vocabulary:
        raise WeightsCorrupt(f"config.json: img_context_token_id {token} has no row in a token table of {network.vocabulary}")
    return Vision(
        network=eyes,
        tiling=Tiling.from_configs(config, processor),
        image_token=token,
        tokens_per_tile=eyes.tokens_per_tile,
        max_tokens_by={modality: min(most, network.max_positions) for modality, most in _MOST_IMAGE_TOKENS.items()},
    )


def _added_token(folder: Path, word: str) -> int:
    added = read_object(folder / "tokenizer.json").get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and token.get("content") == word and isinstance(token.get("id"), int):
            return int(token["id"])
    raise WeightsError(f"{folder / 'tokenizer.json'} has no token {word!r}, and config.json no img_context_token_id: images cannot be put into its sequences")
