"""Every family of networks: the reference engine is held against transformers, and every other engine of the registry against the reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import families
from emberank.contract.errors import SettingError
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines.base import Batch, Engine, EngineOptions, Features, pooled
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.engines.registry import ENGINES, builder
from emberank.runtime.heads import Pooling
from emberank.runtime.named_weights import NamedWeights, Part
from emberank.runtime.networks.bert import Bert
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.modernbert import ModernBert
from emberank.runtime.networks.network import Network, check
from emberank.runtime.networks.siglip import SiglipProjector

Floats = NDArray[np.floating]
One = tuple[NDArray[np.int32], Features | None]  # a sequence: its ids, and what stands in their place

REAL = [name for name in ENGINES if name != "fake"]  # the fake one computes no network
HELD = [name for name in REAL if name != "reference"]  # held against the reference, which cannot be held against itself
CLOSE = 1e-4  # the worst token's ‖found − true‖ / ‖true‖ in float32


@dataclass(frozen=True)
class Family:
    """How a checkpoint is written and read, and what transformers makes of it (a function of family_oracles.py)."""

    write: Callable[[Path], Path]
    network: Callable[[Any], Network]
    oracle: str
    part: Part = "text"


def language_model(config: Any) -> Llama:
    return Llama.from_config(config["llm_config"], features=config["llm_config"]["hidden_size"])


FAMILIES = {
    "llama": Family(families.write_llama_reranker, Llama.from_config, "llama"),
    "llama, new config, shards, bf16": Family(
        lambda folder: families.write_llama_embedder(folder, dialect="v5", shards=3, dtype="BF16"), Llama.from_config, "llama"
    ),
    "llama, biases": Family(lambda folder: families.write_llama_embedder(folder, attention_bias=True, mlp_bias=True), Llama.from_config, "llama"),
    "llama, plain rope": Family(lambda folder: families.write_llama_embedder(folder, rope_scaling=None, rope_theta=10000.0), Llama.from_config, "llama"),
    "qwen3": Family(families.write_qwen3_reranker, Llama.from_config, "qwen3"),
    "qwen3, new config, untied": Family(lambda folder: families.write_qwen3_reranker(folder, dialect="v5", tied=False), Llama.from_config, "qwen3"),
    "modernbert": Family(families.write_modernbert_reranker, ModernBert.from_config, "modernbert"),
    "modernbert, new config, biases": Family(
        lambda folder: families.write_modernbert_reranker(folder, dialect="v5", norm_bias=True, attention_bias=True, mlp_bias=True),
        ModernBert.from_config,
        "modernbert",
    ),
    "xlm-roberta": Family(families.write_xlm_reranker, Bert.from_config, "xlm_roberta"),
    "vision model's language half": Family(families.write_vl_embedder, language_model, "llama"),
    "vision half": Family(families.write_vl_embedder, SiglipProjector.from_config, "siglip", "vision"),
    "vision half of a reranker, flattened names": Family(
        lambda folder: families.write_vl_reranker(folder, flattened_vision=True, dialect="v5"), SiglipProjector.from_config, "siglip", "vision"
    ),
}
CORE = ["llama", "qwen3", "modernbert", "xlm-roberta", "vision model's language half", "vision half"]  # one of each network and way to use it


class Model:
    """A checkpoint of one family, its sequences, and engines for it, each built once."""

    def __init__(self, family: Family, folder: Path) -> None:
        self.family, self.folder = family, family.write(folder)
        self.network = family.network(json.loads((self.folder / "config.json").read_text()))
        self.weights = NamedWeights(Checkpoint.open(self.folder), family.part)
        self._built: dict[tuple[str, str], Engine] = {}
        self._cases: dict[tuple[int, ...], tuple[Batch, NDArray[np.float64]]] = {}

    def engine(self, name: str, precision: str = "fp32") -> Engine:
        if (name, precision) not in self._built:
            self._built[name, precision] = builder(name)(self.network, self.weights, EngineOptions(precision=precision, threads=2))
        return self._built[name, precision]

    def truth(self, batch: Batch) -> NDArray[np.float64]:
        reference = self.engine("reference")
        assert isinstance(reference, ReferenceEngine)
        return reference.run_float64(batch)

    def case(self, lengths: tuple[int, ...]) -> tuple[Batch, NDArray[np.float64]]:
        """A batch and its true states, computed once: float64 takes its time."""
        if lengths not in self._cases:
            batch = pack([self.sequence(length, seed) for seed, length in enumerate(lengths)])
            self._cases[lengths] = batch, self.truth(batch)
        return self._cases[lengths]

    def sequence(self, length: int, seed: int = 0) -> One:
        """Random ids, image states in the place of some where the network reads them; or a tile of random pixels, whatever the `length`."""
        random = np.random.default_rng((seed, length))
        if not self.network.vocabulary:
            patches = self.network.max_positions
            return np.zeros(patches, np.int32), Features(np.arange(patches, dtype=np.int32), numbers(random, patches, self.network.feature_width))
        # Ids below 4 are special in XLM-RoBERTa, where transformers gives the padding token a position of its own.
        ids = random.integers(4, self.network.vocabulary, length).astype(np.int32)
        if not self.network.feature_width or length < 4:
            return ids, None
        at = np.sort(random.choice(length, length // 3, replace=False)).astype(np.int32)
        return ids, Features(at, numbers(random, len(at), self.network.feature_width))

    def close(self) -> None:
        for engine in self._built.values():
            engine.close()


def numbers(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.uniform(-1, 1, shape).astype(np.float32)


def pack(sequences: Sequence[One]) -> Batch:
    return Batch.of([ids for ids, _ in sequences], None, [features for _, features in sequences])


def split(states: Floats, batch: Batch, network: Network) -> list[Floats]:
    return np.split(states, np.cumsum(batch.lengths // network.merged)[:-1])


def error(found: Floats, true: Floats) -> float:
    """The worst row's ‖found − true‖ / ‖true‖."""
    assert found.shape == true.shape
    return float((np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)).max())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Model]]:
    """A family's name → its model, written and read once."""
    made: dict[str, Model] = {}

    def model(name: str) -> Model:
        if name not in made:
            made[name] = Model(FAMILIES[name], tmp_path_factory.mktemp("family") / "checkpoint")
        return made[name]

    yield model
    for one in made.values():
        one.close()


@pytest.fixture(scope="module")
def oracles() -> Any:
    import family_oracles

    return family_oracles


# The reference engine against transformers


LENGTHS = (1, 2, 9, 33, 64, 129, 130, 300)  # ModernBERT's local layers see 64 tokens to either side


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reference_engine_computes_what_transformers_does(models: Callable[[str], Model], oracles: Any, name: str) -> None:
    model = models(name)
    oracle = getattr(oracles, model.family.oracle)(model.folder)
    sequences = [model.sequence(length) for length in LENGTHS]
    batch = pack(sequences)
    ours = split(model.truth(batch), batch, model.network)
    assert max(error(found, oracle(*one)) for found, one in zip(ours, sequences, strict=True)) <= CLOSE


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_holds_every_tensor_in_the_shape_that_is_expected(models: Callable[[str], Model], name: str) -> None:
    model = models(name)
    check(model.network, model.weights)
    heads = ("score.", "classifier.", "head.")
    assert [tensor for tensor in model.weights.unused(model.network.shapes()) if not tensor.startswith(heads)] == []


@pytest.mark.parametrize("name", ["llama", "llama, biases", "vision model's language half"])
def test_in_a_bidirectional_llama_the_last_token_moves_the_first_also_in_transformers(models: Callable[[str], Model], oracles: Any, name: str) -> None:
    model = models(name)
    ids, features = model.sequence(20)
    changed = other_last(ids)
    oracle = getattr(oracles, model.family.oracle)(model.folder)
    for states in (lambda one: model.truth(pack([one])), lambda one: oracle(*one)):
        before, after = states((ids, None)), states((changed, None))
        assert (np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)).min() > 1e-3
        assert features is None or error(states((ids, features)), before) > 1e-1, "image states are read"


def test_in_qwen3_a_token_moves_those_behind_it_and_none_before(models: Callable[[str], Model], oracles: Any) -> None:
    model = models("qwen3")
    ids, _ = model.sequence(20)
    changed = ids.copy()
    changed[10] = 4 + (ids[10] - 3) % (model.network.vocabulary - 4)
    oracle = oracles.qwen3(model.folder)
    for states in (lambda ids: model.truth(pack([(ids, None)])), lambda ids: oracle(ids, None)):
        moved = np.linalg.norm(states(changed) - states(ids), axis=1) / np.linalg.norm(states(ids), axis=1)
        assert moved[:10].max() == 0
        assert moved[10:].min() > 1e-3


def test_is_causal_in_config_json_overrides_the_family(tmp_path: Path, oracles: Any) -> None:
    model = Model(Family(lambda folder: families.write_llama_embedder(folder, is_causal=True), Llama.from_config, "llama"), tmp_path / "causal")
    ids, _ = model.sequence(20)
    true = oracles.llama(model.folder, causal=True)(ids, None)
    assert error(model.truth(pack([(ids, None)])), true) <= CLOSE
    assert error(oracles.llama(model.folder)(ids, None), true) > 1e-1, "the mask matters"


def test_padding_to_the_left_as_the_publisher_pads_changes_nothing(models: Callable[[str], Model], oracles: Any) -> None:
    """Rotary positions are relative: that NVIDIA counts them from the padding on, and a packed batch from the first token, is the same."""
    model = models("llama")
    sequences = [model.sequence(length)[0] for length in (3, 17, 40)]
    batch = pack([(ids, None) for ids in sequences])
    ours = split(model.truth(batch), batch, model.network)
    theirs = oracles.llama_left_padded(model.folder, sequences)
    assert max(error(one, other) for one, other in zip(ours, theirs, strict=True)) <= CLOSE


def test_a_local_layer_of_modernbert_sees_64_tokens_to_either_side_and_no_further(tmp_path: Path, oracles: Any) -> None:
    def write(folder: Path) -> Path:
        return families.write_modernbert_reranker(folder, layers=1, dialect="v5", layer_types=["sliding_attention"])

    model = Model(Family(write, ModernBert.from_config, "modernbert"), tmp_path / "local")
    ids, _ = model.sequence(200)
    changed = ids.copy()
    changed[100] = 4 + (ids[100] - 3) % (model.network.vocabulary - 4)
    oracle = oracles.modernbert(model.folder)
    for states in (lambda ids: model.truth(pack([(ids, None)])), lambda ids: oracle(ids, None)):
        moved = np.abs(states(changed) - states(ids)).max(1)
        assert np.flatnonzero(moved).tolist() == list(range(36, 165))


def test_the_states_of_a_picture_are_put_among_a_texts_as_in_the_whole_model(tmp_path: Path, oracles: Any) -> None:
    folder = families.write_vl_embedder(tmp_path / "vl")
    config = json.loads((folder / "config.json").read_text())
    eye, text = (
        Model(Family(lambda _: folder, network, oracle, part), folder)
        for network, oracle, part in ((SiglipProjector.from_config, "siglip", "vision"), (language_model, "llama", "text"))
    )
    tiles = [eye.sequence(0, seed) for seed in range(3)]
    ours, theirs = eye.truth(pack(tiles)), np.concatenate([oracles.siglip(folder)(*tile) for tile in tiles])
    assert error(ours, theirs) <= CLOSE
    ids = np.random.default_rng(0).integers(4, 300, 30).astype(np.int32)
    at = np.arange(8, 20, dtype=np.int32)
    ids[at] = config["img_context_token_id"]
    true = oracles.llama(folder)(ids, Features(at, theirs))
    assert error(text.truth(pack([(ids, Features(at, ours.astype(np.float32)))])), true) <= CLOSE


def other_last(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    changed = ids.copy()
    changed[-1] = ids[-1] - 1 if ids[-1] > 4 else ids[-1] + 1
    return changed


# Every engine, and those of lower precision, against the reference


MIXED = [(1,), (7, 1), (9, 63, 65), (129, 2, 128), (40, 41, 39, 3, 300), tuple(range(1, 20))]


@pytest.mark.parametrize("lengths", MIXED, ids=str)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("engine", HELD)
def test_an_engine_in_float32_has_the_true_states(models: Callable[[str], Model], engine: str, name: str, lengths: tuple[int, ...]) -> None:
    model = models(name)
    batch, true = model.case(lengths)
    assert error(model.engine(engine).run(batch), true) <= CLOSE


@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("engine", REAL)
def test_a_sequence_has_the_same_states_alone_and_in_any_company(models: Callable[[str], Model], engine: str, name: str) -> None:
    model = models(name)
    built, one = model.engine(engine), model.sequence(70, seed=5)
    alone = built.run(pack([one])).copy()
    for before, after in ([], [3]), ([3], []), ([130, 1], [64]), ([70] * 2, [70]):
        batch = pack([*(model.sequence(n, seed=6) for n in before), one, *(model.sequence(n, seed=7) for n in after)])
        assert error(split(built.run(batch), batch, model.network)[len(before)], alone) <= 2e-5


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", ["llama", "qwen3", "modernbert"])
@pytest.mark.parametrize("engine", REAL)
def test_an_engine_pools_each_sequence_as_the_states_would_be(models: Callable[[str], Model], engine: str, name: str, how: Pooling) -> None:
    model = models(name)
    batch, true = model.case((1, 9, 130, 40))
    found = model.engine(engine).run(batch, how)
    assert found.dtype == np.float32
    assert error(found, pooled(true.astype(np.float32), batch.lengths, how)) <= CLOSE


def test_a_vision_model_reads_a_batch_with_no_picture_in_it(models: Callable[[str], Model]) -> None:
    model = models("vision model's language half")
    batch = pack([(model.sequence(length)[0], None) for length in (5, 40)])
    assert batch.features is None
    for engine in HELD:
        assert error(model.engine(engine).run(batch), model.truth(batch)) <= CLOSE


# Random weights of this size make attention sharp, so that a rounding error grows as it would not in a trained network: what is asked for here is
# that nothing but rounding happened. How ranks hold on trained networks is measured elsewhere.
# By precision: the least mean cosine of sequences' pooled states, and the largest share of pairs that change places.
LOW = {"bf16": (0.997, 0.03), "fp16": (0.9995, 0.01), "int8": (0.99, 0.06)}


def lower(model: Model, engine: str, precision: str) -> Engine | None:
    """None when the engine does not know the precision, or the machine cannot compute it."""
    try:
        return model.engine(engine, precision)
    except SettingError:
        return None


@pytest.mark.parametrize("engine", HELD)
def test_every_engine_has_a_precision_below_float32(models: Callable[[str], Model], engine: str) -> None:
    assert [precision for precision in LOW if lower(models("llama"), engine, precision)]


@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("engine", HELD)
def test_a_lower_precision_keeps_directions_and_nearly_all_ranks(models: Callable[[str], Model], engine: str, precision: str, name: str) -> None:
    model = models(name)
    if (built := lower(model, engine, precision)) is None:
        pytest.skip(f"the {engine} engine does not compute {precision} here")
    least, flips = LOW[precision]
    batch, states = model.case((5, 12, 20, 33, 48, 70, 129) * 4)
    lengths = batch.lengths // model.network.merged
    found, true = (pooled(one.astype(np.float32), lengths, "mean") for one in (built.run(batch), states))
    assert error(found, true) > 1e-4, "it is the lower precision that ran"
    assert cosines(found, true).mean() >= least
    head = np.random.default_rng(9).normal(size=(true.shape[1], 8))
    assert np.mean([flipped(a, b) for a, b in zip((found @ head).T, (true @ head).T, strict=True)]) <= flips


def cosines(found: Floats, true: Floats) -> Floats:
    return (found * true).sum(1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1))


def flipped(found: Floats, true: Floats) -> float:
    """The share of pairs that stand in another order."""
    pairs = list(combinations(range(len(true)), 2))
    return float(np.mean([(found[i] < found[j]) != (true[i] < true[j]) for i, j in pairs]))
