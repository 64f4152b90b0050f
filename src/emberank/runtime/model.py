"""A specification in, a model ready to be served out: files located and verified, network recognised, engine built, head attached.

Models made from the same files share one engine and one batcher: the default embedder and reranker are one network in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.contract.inference import InputType, Task, Truncate
from emberank.runtime.batcher import Batcher
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines.base import Engine
from emberank.runtime.heads import CrossEncoder
from emberank.runtime.late_interaction import VOCABULARY, LateInteraction
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.plans import EmbedPlan, LatePlan, PairPlan, Plan
from emberank.runtime.presets import ModelSpec
from emberank.runtime.recognise import Recognised, recognise
from emberank.runtime.sources.base import Progress, parse_source
from emberank.runtime.tokenizer import TextTokenizer
from emberank.runtime.weights import Manifest, locate, manifest, verify

log = logging.getLogger(__name__)

BuildEngine = Callable[[Recognised, NamedWeights], Engine]
BuildBatcher = Callable[[Engine], Batcher]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What models from the same files share."""

    engine: Engine
    batcher: Batcher


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One name that can be asked for, and everything needed to answer."""

    spec: ModelSpec
    task: Task
    recognised: Recognised
    manifest: Manifest
    tokenizer: TextTokenizer
    backend: Backend
    created: int  # Unix time, for /v1/models
    pair_head: CrossEncoder | LateInteraction | None = None

    @property
    def name(self) -> str:
        """The name it is served under."""
        return self.spec.name

    @property
    def max_tokens(self) -> int:
        """The longest input (or pair, for a cross-encoder) in tokens, special tokens included."""
        return self.tokenizer.limit

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        return self.recognised.network.hidden

    def rank_plan(self, query: str, passages: Sequence[str], truncate: Truncate) -> Plan:
        """Tokenise a ranking; blocks."""
        if isinstance(self.pair_head, CrossEncoder):
            return PairPlan(self.tokenizer, self.pair_head, query, passages, truncate)
        assert self.pair_head is not None, "a ranking model has a head for pairs"
        return LatePlan(self.tokenizer, self.pair_head, query, passages, truncate)

    def embed_plan(self, texts: Sequence[str], input_type: InputType | None, truncate: Truncate) -> Plan:
        """Tokenise inputs, the checkpoint's prompt for `input_type` in front; blocks."""
        prompt = self.recognised.prompts.get(input_type or "", "")
        texts = [prompt + text for text in texts] if prompt else texts
        return EmbedPlan(self.tokenizer, self.recognised.pooling, self.recognised.normalize, texts, truncate)


class Loader:
    """Loads models one after the other; remembers engines, so that equal files are loaded once."""

    def __init__(self, cache_dir: Path, build_engine: BuildEngine, build_batcher: BuildBatcher, progress: Progress, over_length_status: int = 400) -> None:
        self._cache_dir = cache_dir
        self._build_engine = build_engine
        self._build_batcher = build_batcher
        self._progress = progress
        self._over_length_status = over_length_status
        self._backends: dict[str, Backend] = {}
        self._manifests: dict[Path, Manifest] = {}

    def load(self, spec: ModelSpec) -> ServedModel:
        """Fetch if needed, verify, recognise, build. Raises StartError with one clear line."""
        folder = locate(parse_source(spec.source, spec.sha256), self._cache_dir, progress=self._progress)
        if folder not in self._manifests:
            self._manifests[folder] = manifest(folder)
        files = self._manifests[folder]
        verify(files, spec.sha256)
        recognised = recognise(folder)
        task = spec.task or recognised.task
        checkpoint = Checkpoint.open(folder)
        weights = NamedWeights(checkpoint)
        # Everything that can be refused comes before the engine, whose thread would be left over.
        head = _pair_head(spec, recognised, weights) if task == "rank" else None
        tokenizer = TextTokenizer.load(folder, _limit(spec, recognised), self._over_length_status)
        model = ServedModel(
            spec=spec,
            task=task,
            recognised=recognised,
            manifest=files,
            tokenizer=tokenizer,
            backend=self._backend(files, recognised, weights),
            created=int(time.time()),
            pair_head=head,
        )
        checkpoint.drop_pages()
        log.info("model loaded", extra={"action": "model_loaded", "model": spec.name, "task": task, "content_hash": files.content_hash})
        return model

    def _backend(self, files: Manifest, recognised: Recognised, weights: NamedWeights) -> Backend:
        if files.content_hash not in self._backends:
            recognised.network.check(weights)
            engine = self._build_engine(recognised, weights)
            self._backends[files.content_hash] = Backend(engine=engine, batcher=self._build_batcher(engine))
        return self._backends[files.content_hash]


def _limit(spec: ModelSpec, recognised: Recognised) -> int:
    # An embedder stops where its publisher says (256 for MiniLM); late interaction reads on as far as there are positions.
    return recognised.network.max_positions if spec.head == "late_interaction" else recognised.max_tokens


def _pair_head(spec: ModelSpec, recognised: Recognised, weights: NamedWeights) -> CrossEncoder | LateInteraction:
    if spec.head == "late_interaction":
        if recognised.network.vocabulary > VOCABULARY:  # a token beyond it has no weight
            raise UnknownArchitecture(
                f"{spec.name}: late interaction weighs tokens by bert-base-uncased's vocabulary of {VOCABULARY}, and this checkpoint has {recognised.network.vocabulary}"
            )
        return LateInteraction()
    if recognised.task != "rank":
        raise UnknownArchitecture(f"{spec.name} holds an embedder: it has no head that ranks")
    h = recognised.network.hidden
    shapes = {"pooler.dense.weight": (h, h), "pooler.dense.bias": (h,), "classifier.weight": (1, h), "classifier.bias": (1,)}
    head = [weights.get(name).copy() for name in shapes]  # copies: the engine's pages of the file are given back
    for (name, shape), found in zip(shapes.items(), head, strict=True):
        if found.shape != shape:
            raise WeightsCorrupt(f"tensor {name!r} has shape {list(found.shape)}, config.json says {list(shape)}")
    return CrossEncoder(*head)
