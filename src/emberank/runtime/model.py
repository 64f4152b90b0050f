"""A specification in, a model ready to be served out: files located and verified, network recognised, engines built, head attached.

Models made from the same files share their engines and batchers: the default embedder and reranker are one network in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emberank.contract.errors import SettingError, UnknownArchitecture, WeightsCorrupt
from emberank.contract.inference import MODALITIES, InputType, Modality, Task, Truncate
from emberank.dialects.scores import Calibration
from emberank.runtime.batcher import Batcher
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.composer import Composer, ImageTokens
from emberank.runtime.engines.base import Engine
from emberank.runtime.engines.prepared import folder_for
from emberank.runtime.heads import Head, HeadFacts, head
from emberank.runtime.inspection import Asked, Watched, check_vocabulary, inspect
from emberank.runtime.items import Item
from emberank.runtime.late_interaction import VOCABULARY, LateInteraction
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights
from emberank.runtime.plans import EmbedPlan, LatePlan, PairPlan, Plan
from emberank.runtime.presets import ModelSpec
from emberank.runtime.prompts import IMAGE_TOKEN
from emberank.runtime.recognise import Recognised, recognise
from emberank.runtime.sources.base import Progress, parse_source
from emberank.runtime.tokenizer import TextTokenizer
from emberank.runtime.weights import Manifest, locate, manifest, verify

log = logging.getLogger(__name__)

BuildEngine = Callable[[Network, NamedWeights, Path], Engine]  # the folder is for what an engine makes of the weights: EngineOptions.prepared
BuildBatcher = Callable[[Engine, Network], Batcher]
CheckFits = Callable[[str, Sequence[Network], int], None]  # name, networks, longest input; raises StartError when they cannot be held


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One network at work; what models from the same files share."""

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
    composer: Composer
    backend: Backend
    created: int  # Unix time, for /v1/models
    vision: Backend | None = None  # of a model that reads images: tiles in, states for the backend out
    pair_head: Head | LateInteraction | None = None

    @property
    def name(self) -> str:
        """The name it is served under."""
        return self.spec.name

    @property
    def max_tokens(self) -> int:
        """The longest text (or pair, for a cross-encoder) in tokens, special tokens included."""
        return self.tokenizer.limit

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Every length an embedding may have, the network's own last; of a reranker nothing."""
        if self.task != "embed":
            return ()
        return self.spec.dimensions or self.recognised.dimensions or (self.recognised.network.hidden,)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it reads."""
        return MODALITIES if self.vision is not None else ("text",)

    @property
    def calibration(self) -> Calibration | None:
        """What makes a share of relevant passages of a logit; None where nobody measured it."""
        return Calibration(*self.spec.calibration) if self.spec.calibration is not None and self.task == "rank" else None

    @property
    def random_weights(self) -> bool:
        """Whether its weights are random numbers, good for measuring speed and for nothing else."""
        return self.recognised.random_weights

    def rank_plan(self, query: str, passages: Sequence[Item], truncate: Truncate, max_passage_tokens: int | None = None, max_chunks: int | None = None) -> Plan:
        """Tokenise a ranking; blocks. The last two are RankCall's. Raises InputTooLong, BadRequest."""
        if isinstance(self.pair_head, LateInteraction):
            return LatePlan(self.tokenizer, self.pair_head, query, passages, truncate, max_passage_tokens, max_chunks)
        assert self.pair_head is not None, "a ranking model has a head for pairs"
        return PairPlan(self.composer, self.pair_head, query, passages, truncate, max_passage_tokens, max_chunks)

    def embed_plan(self, items: Sequence[Item], input_type: InputType | None, truncate: Truncate) -> Plan:
        """Tokenise inputs, the checkpoint's prompt for `input_type` in front; blocks. Raises InputTooLong, BadRequest."""
        return EmbedPlan(self.composer, self.recognised.pooling, items, input_type, truncate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """One checkpoint folder, opened and recognised."""

    folder: Path
    manifest: Manifest
    recognised: Recognised
    checkpoint: Checkpoint

    @property
    def networks(self) -> list[Network]:
        vision = self.recognised.vision
        return [self.recognised.network, *([vision.network] if vision else [])]


class Loader:
    """Loads models one after the other; remembers engines, so that equal files are loaded once."""

    def __init__(
        self,
        cache_dir: Path,
        build_engine: BuildEngine,
        build_batcher: BuildBatcher,
        progress: Progress,
        over_length_status: int = 400,
        check_fits: CheckFits | None = None,
    ) -> None:
        self._cache_dir = cache_dir
        self._build_engine = build_engine
        self._build_batcher = build_batcher
        self._progress = progress
        self._over_length_status = over_length_status
        self._check_fits = check_fits
        self._backends: dict[str, list[Backend]] = {}
        self._manifests: dict[Path, Manifest] = {}

    def load(self, spec: ModelSpec) -> ServedModel:
        """Fetch if needed, verify, recognise, build. Raises StartError with one clear line."""
        files = self._opened(spec)
        recognised, task = files.recognised, spec.task or files.recognised.task
        # Everything that can be refused comes before the engine, whose thread would be left over.
        if any(not 1 <= length <= recognised.network.hidden for length in spec.dimensions):
            raise SettingError(f"{spec.name}: dimensions {list(spec.dimensions)} have to be from 1 to {recognised.network.hidden}, the width of its network")
        if task == "embed" and recognised.task == "rank":
            raise UnknownArchitecture(f"{spec.name} holds a reranker: it makes no embeddings")
        tokenizer = TextTokenizer.load(files.folder, _limit(spec, recognised), self._over_length_status)
        text, vision = NamedWeights(files.checkpoint), NamedWeights(files.checkpoint, "vision")
        watched = Watched(text)
        pair_head = _pair_head(spec, recognised, watched, tokenizer) if task == "rank" else None
        _check_tokenizer(files, tokenizer)
        composer = Composer(tokenizer, recognised.template, recognised.prompts, _limits(spec, recognised), _image_tokens(recognised))
        asked = [Asked(weights=text, shapes=recognised.network.shapes(), head=watched.names)]
        if recognised.vision is not None:
            asked.append(Asked(weights=vision, shapes=recognised.vision.network.shapes()))
        for said in inspect(files.checkpoint, asked, files.manifest):
            log.warning("%s: %s", spec.name, said, extra={"action": "checkpoint_inspected", "model": spec.name})
        backends = self._shared(spec, files, tokenizer.limit, [text, vision])
        model = ServedModel(
            spec=spec,
            task=task,
            recognised=recognised,
            manifest=files.manifest,
            tokenizer=tokenizer,
            composer=composer,
            backend=backends[0],
            vision=backends[1] if len(backends) > 1 else None,
            created=int(time.time()),
            pair_head=pair_head,
        )
        files.checkpoint.drop_pages()
        if model.random_weights:
            log.warning("%s has random weights: good for measuring speed, and its scores mean nothing", spec.name, extra={"action": "random_weights"})
        log.info("model loaded", extra={"action": "model_loaded", "model": spec.name, "task": task, "content_hash": files.manifest.content_hash})
        return model

    def _opened(self, spec: ModelSpec) -> _Files:
        folder = locate(parse_source(spec.source, spec.sha256), self._cache_dir, progress=self._progress)
        if folder not in self._manifests:
            self._manifests[folder] = manifest(folder, self._cache_dir)
        verify(self._manifests[folder], spec.sha256)
        recognised = recognise(folder, spec.task)
        return _Files(folder=folder, manifest=self._manifests[folder], recognised=recognised, checkpoint=Checkpoint.open(folder))

    def _shared(self, spec: ModelSpec, files: _Files, longest: int, weights: list[NamedWeights]) -> list[Backend]:
        """The engines for these files, text first, then vision; built for the first model that has them."""
        key = files.manifest.content_hash
        if key not in self._backends:
            if self._check_fits is not None:
                self._check_fits(spec.name, files.networks, longest)
            prepared = folder_for(self._cache_dir, key)
            built = [(self._build_engine(network, part, prepared), network) for network, part in zip(files.networks, weights)]
            self._backends[key] = [Backend(engine=engine, batcher=self._build_batcher(engine, network)) for engine, network in built]
        return self._backends[key]


def _limit(spec: ModelSpec, recognised: Recognised) -> int:
    # An embedder stops where its publisher says (256 for MiniLM); late interaction reads on as far as there are positions.
    longest = recognised.network.max_positions
    if spec.max_tokens is not None:
        if not 1 <= spec.max_tokens <= longest:
            raise SettingError(f"{spec.name}: max_tokens {spec.max_tokens} has to be from 1 to {longest}, the positions of its network")
        return spec.max_tokens
    return longest if spec.head == "late_interaction" else recognised.max_tokens


def _limits(spec: ModelSpec, recognised: Recognised) -> dict[Modality, int]:
    limits: dict[Modality, int] = {modality: _limit(spec, recognised) for modality in MODALITIES}
    if recognised.vision is not None and spec.max_tokens is None:
        limits |= {modality: limit for modality, limit in recognised.vision.max_tokens_by.items() if modality != "text"}
    return limits


def _image_tokens(recognised: Recognised) -> ImageTokens | None:
    vision = recognised.vision
    if vision is None:
        return None
    return ImageTokens(token=vision.image_token, per_tile=vision.tokens_per_tile, width=recognised.network.hidden, rows=recognised.network.vocabulary)


def _check_tokenizer(files: _Files, tokenizer: TextTokenizer) -> None:
    """Raises WeightsCorrupt for a tokenizer that was made for another network."""
    path, recognised = files.folder / "tokenizer.json", files.recognised
    said = check_vocabulary(tokenizer.vocabulary - 1, recognised.network.vocabulary, str(path), padded=recognised.vision is not None)
    if said:
        log.warning(said, extra={"action": "vocabulary_padded"})
    found = tokenizer.token(IMAGE_TOKEN)
    if recognised.vision is not None and found != recognised.vision.image_token:
        raise WeightsCorrupt(f"config.json: img_context_token_id is {recognised.vision.image_token}, and {path} has {IMAGE_TOKEN!r} at {found}")


def _pair_head(spec: ModelSpec, recognised: Recognised, weights: Weights, tokenizer: TextTokenizer) -> Head | LateInteraction:
    if spec.head == "late_interaction":
        if recognised.network.vocabulary > VOCABULARY:  # a token beyond it has no weight
            raise UnknownArchitecture(
                f"{spec.name}: late interaction weighs tokens by bert-base-uncased's vocabulary of {VOCABULARY}, and this checkpoint has {recognised.network.vocabulary}"
            )
        return LateInteraction()
    if recognised.task != "rank" or recognised.head is None:
        raise UnknownArchitecture(f"{spec.name} holds an embedder: it has no head that ranks")
    return head(
        recognised.head,
        weights,
        HeadFacts(
            hidden=recognised.network.hidden,
            pooling=recognised.pooling,
            temperature=recognised.temperature,
            eps=recognised.head_eps,
            tied=recognised.tied,
            answers=_answers(recognised, tokenizer) if recognised.head == "yes_no" else None,
        ),
    )


def _answers(recognised: Recognised, tokenizer: TextTokenizer) -> tuple[int, int]:
    if recognised.answers is not None:
        return recognised.answers
    yes, no = tokenizer.token("yes"), tokenizer.token("no")
    if yes is None or no is None:
        raise WeightsCorrupt("tokenizer.json has no tokens 'yes' and 'no', which a reranker made of a language model answers with")
    return yes, no
