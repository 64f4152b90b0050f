"""One suite for every engine: the reference engine is held against transformers, and every other engine against the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import VOCABULARY
from emberank.contract.errors import SettingError
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines.base import Batch, Engine, EngineOptions
from emberank.runtime.engines.cores import has_amx_bf16
from emberank.runtime.engines.openvino import grid_length, grid_tokens
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.engines.registry import ENGINES, builder
from emberank.runtime.heads import HeadFacts, head, pool, unit
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.recognise import recognise
from emberank.runtime.tokenizer import TextTokenizer

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]

REAL = [name for name in ENGINES if name != "fake"]  # the fake one computes no network
HELD = [name for name in REAL if name != "reference"]  # held against the reference, which cannot be held against itself
EDGES = (1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512)  # around the steps of the grids that shapes are rounded to
TEXTS = (
    "Retrieval augmented generation combines search over external documents with language model generation.",
    "ember",
    "A graphics processing unit accelerates parallel numerical workloads; rerankers are such a workload, and so are embedders.",
    "what is a warm-up? " * 12,
    "The snow on the road to the wood was red in the evening light of 1913, and nobody knew which way to go.",
)
BF16_TEXTS = TEXTS if has_amx_bf16() else TEXTS[1:2]  # without AMX it is emulated: right, and slow


@dataclass
class Model:
    """A checkpoint, and engines for it, each built once."""

    folder: Path

    def __post_init__(self) -> None:
        self.recognised = recognise(self.folder)
        self.weights = NamedWeights(Checkpoint.open(self.folder))
        self.vocabulary = self.recognised.network.vocabulary
        self._built: dict[tuple[str, str], Engine] = {}

    def engine(self, name: str, precision: str = "fp32") -> Engine:
        if (name, precision) not in self._built:
            self._built[name, precision] = builder(name)(self.recognised.network, self.weights, EngineOptions(precision=precision, threads=2))
        return self._built[name, precision]

    def truth(self, batch: Batch) -> NDArray[np.float64]:
        reference = self.engine("reference")
        assert isinstance(reference, ReferenceEngine)
        return reference.run_float64(batch)

    def encoded(self, texts: tuple[str, ...]) -> list[Ids]:
        return [encoded.sequence.ids for encoded in TextTokenizer.load(self.folder, 256).singles(list(texts), "END")]

    def close(self) -> None:
        for engine in self._built.values():
            engine.close()


@pytest.fixture(scope="module")
def tiny(tiny_embedder: Path) -> Iterator[Model]:
    yield (model := Model(tiny_embedder))
    model.close()


@pytest.fixture(scope="module")
def rank(tiny_ranker: Path) -> Iterator[Model]:
    yield (model := Model(tiny_ranker))
    model.close()


@pytest.fixture(scope="module")
def real(minilm: Path) -> Iterator[Model]:
    yield (model := Model(minilm))
    model.close()


@cache
def sequence(length: int, seed: int = 0) -> Ids:
    """Random ids that a text could have."""
    return np.random.default_rng((seed, length)).integers(5, len(VOCABULARY), length).astype(np.int32)


def split(hidden: NDArray[np.floating], batch: Batch) -> list[NDArray[np.floating]]:
    return np.split(hidden, np.cumsum(batch.lengths)[:-1])


def error(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """The worst token's ‖found − true‖ / ‖true‖."""
    assert found.shape == true.shape
    return float((np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)).max())


def cosines(found: NDArray[np.floating], true: NDArray[np.floating]) -> NDArray[np.floating]:
    """Of every token's state."""
    assert found.shape == true.shape
    return (found * true).sum(1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1))


def vectors(hidden: NDArray[np.floating], batch: Batch) -> Floats:
    """What an embedder answers: the normalised mean of each sequence."""
    return np.stack([unit(pool(part.astype(np.float32), "mean")) for part in split(hidden, batch)])


# Every engine


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_says_what_it_is_and_what_a_batch_costs_it(tiny: Model, name: str) -> None:
    engine = tiny.engine(name)
    assert engine.facts.engine == name
    assert engine.facts.precision == {"openvino": "fp32", "torch": "fp32", "reference": "fp64", "fake": "none"}[name]
    for lengths in ([1], [8], [9, 200, 1], [512]):
        tokens = np.array(lengths, np.int32)
        assert sum(lengths) <= engine.padded_tokens(tokens) < sum(lengths) + 32
        assert sum(lengths) <= engine.attention_rows(tokens) <= len(lengths) * (max(lengths) + 16)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_gives_one_row_of_float32_per_token(tiny: Model, name: str) -> None:
    batch = Batch.of([sequence(5), sequence(3)])
    hidden = tiny.engine(name).run(batch)
    assert (hidden.shape, hidden.dtype) == ((8, tiny.recognised.network.hidden), np.float32)
    assert np.isfinite(hidden).all()


@pytest.mark.parametrize("name", ENGINES)
def test_the_same_batch_gives_the_same_numbers_after_others_have_run(tiny: Model, name: str) -> None:
    engine, batch = tiny.engine(name), Batch.of([sequence(20), sequence(7)])
    before = engine.run(batch).copy()
    engine.run(Batch.of([sequence(64, seed=1), sequence(130, seed=2)]))
    assert np.array_equal(engine.run(batch), before)


@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize("name", HELD)
def test_one_sequence_of_any_length_has_the_true_states(tiny: Model, name: str, length: int) -> None:
    batch = Batch.of([sequence(length)])
    assert error(tiny.engine(name).run(batch), tiny.truth(batch)) <= 1e-4


MIXED = [(1, 1), (7, 1), (8, 1), (1, 512), (9, 63, 65), (64, 64, 1), (129, 2, 127, 128), (40, 41, 39, 3, 300), (8,) * 33, tuple(range(1, 30)), (512, 511)]


@pytest.mark.parametrize("lengths", MIXED, ids=str)
@pytest.mark.parametrize("name", HELD)
def test_a_batch_of_mixed_lengths_has_the_true_states(tiny: Model, name: str, lengths: tuple[int, ...]) -> None:
    batch = Batch.of([sequence(length, seed) for seed, length in enumerate(lengths)])
    assert error(tiny.engine(name).run(batch), tiny.truth(batch)) <= 1e-4


@pytest.mark.parametrize("length", [1, 8, 9, 64, 129])
@pytest.mark.parametrize("name", REAL)
def test_a_sequence_has_the_same_states_alone_and_in_any_company(tiny: Model, name: str, length: int) -> None:
    engine, one = tiny.engine(name), sequence(length, seed=5)
    alone = engine.run(Batch.of([one])).copy()
    for before, after in ([], [3]), ([3], []), ([200, 1], [64]), ([length] * 3, [length] * 4), ([], [512]):
        company = [*(sequence(n, seed=6) for n in before), one, *(sequence(n, seed=7) for n in after)]
        batch = Batch.of(company)
        assert error(split(engine.run(batch), batch)[len(before)], alone) <= 1e-5


@pytest.mark.parametrize("name", REAL)
def test_every_token_sees_every_other_of_its_sequence_and_none_of_another(tiny: Model, name: str) -> None:
    engine, one, other = tiny.engine(name), sequence(20), sequence(20, seed=1)
    changed = one.copy()
    changed[-1] = one[-1] - 1 if one[-1] > 5 else one[-1] + 1
    batch = Batch.of([other, one, other])
    before, after = (engine.run(Batch.of([other, ids, other])).copy() for ids in (one, changed))
    places = split(np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1), batch)
    assert places[1].min() > 1e-3, "from the first token on all are moved by the last"
    assert max(places[0].max(), places[2].max()) <= 1e-6


@pytest.mark.parametrize("name", REAL)
def test_the_order_and_the_types_of_tokens_matter(tiny: Model, name: str) -> None:
    engine, ids = tiny.engine(name), sequence(12)
    plain = engine.run(Batch.of([ids])).copy()
    assert error(engine.run(Batch.of([ids[::-1].copy()]))[::-1], plain) > 1e-2
    types = np.repeat(np.array([0, 1], np.int32), 6)
    typed = Batch.of([ids, ids], [np.zeros(12, np.int32), types])
    hidden = engine.run(typed)
    assert error(hidden[:12], plain) <= 1e-5
    assert error(hidden[12:], plain) > 1e-2
    assert error(hidden, tiny.truth(typed)) <= 1e-4


@pytest.mark.parametrize("name", HELD)
def test_real_weights_give_the_true_states(real: Model, name: str) -> None:
    batch = Batch.of(real.encoded(TEXTS))
    assert error(real.engine(name).run(batch), real.truth(batch)) <= 1e-4


# Lower precisions of the engine for CPUs


def test_int8_on_random_weights_keeps_the_direction_of_every_state(tiny: Model) -> None:
    batch = Batch.of([sequence(length, seed=3) for length in (1, 9, 40, 65, 129)])
    found, true = tiny.engine("openvino", "int8").run(batch), tiny.truth(batch)
    assert cosines(found, true).min() >= 0.99
    assert error(found, true) > 1e-4, "it is int8 that ran"


def test_int8_on_real_weights_keeps_the_direction_of_every_vector(real: Model) -> None:
    batch = Batch.of(real.encoded(TEXTS))
    found, true = vectors(real.engine("openvino", "int8").run(batch), batch), vectors(real.truth(batch), batch)
    assert cosines(found, true).min() >= 0.998
    assert error(found, true) > 1e-4, "it is int8 that ran"


@pytest.mark.parametrize("kind", ["tiny", "real"])
def test_bf16_keeps_the_direction_of_every_state(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    engine = model.engine("openvino", "bf16")
    batch = Batch.of(model.encoded(BF16_TEXTS))
    found, true = engine.run(batch), model.truth(batch)
    assert engine.facts.precision == "bf16"
    assert cosines(found, true).min() >= (0.9995 if kind == "real" else 0.999)
    assert error(found, true) > 1e-4, "it is bf16 that ran"


def test_auto_is_bf16_where_the_cpu_multiplies_it_and_fp32_elsewhere(tiny: Model) -> None:
    assert tiny.engine("openvino", "auto").facts.precision == ("bf16" if has_amx_bf16() else "fp32")


def test_a_precision_that_does_not_exist_is_refused_with_those_that_do(tiny: Model) -> None:
    with pytest.raises(SettingError, match="precision 'fp4' is not known to the openvino engine; known: auto, fp32, bf16, int8"):
        tiny.engine("openvino", "fp4")


def test_an_engine_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SettingError, match="unknown engine 'cuda'; known: auto, openvino, torch, reference, fake"):
        builder("cuda")


@pytest.mark.parametrize("grid", [grid_tokens, grid_length])
def test_the_grid_is_never_too_small_and_never_much_too_large(grid: Callable[[int], int]) -> None:
    for n in range(1, 2100):
        assert n <= grid(n) <= min(grid(n + 1), n + 31)
        assert grid(n) % 8 == 0
        assert grid(grid(n)) == grid(n)
        assert grid(n) <= max(8, n * 1.25 + 7)


# The reference engine against transformers, from the same folder


@pytest.fixture(scope="module")
def transformers_model() -> Callable[..., list[NDArray[np.float64]]]:
    """(class, folder, sequences, types) → its answers for one sequence at a time, in float64: no padding, no mask."""
    import torch
    import transformers

    def answers(kind: str, folder: Path, sequences: list[Ids], types: list[Ids], what: str) -> list[NDArray[np.float64]]:
        model = getattr(transformers, kind).from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()
        with torch.no_grad():
            outputs = [
                model(input_ids=torch.tensor(i[None]).long(), token_type_ids=torch.tensor(t[None]).long()) for i, t in zip(sequences, types, strict=True)
            ]
        return [getattr(output, what)[0].numpy() for output in outputs]

    return answers


def typed_sequences(lengths: tuple[int, ...]) -> tuple[list[Ids], list[Ids]]:
    sequences = [sequence(length, seed=11) for length in lengths]
    return sequences, [(np.arange(length) >= length // 2).astype(np.int32) for length in lengths]


def test_the_reference_engine_computes_what_transformers_does(tiny: Model, transformers_model: Callable[..., list[NDArray[np.float64]]]) -> None:
    sequences, types = typed_sequences((1, 2, 9, 33, 128, 512))
    batch = Batch.of(sequences, types)
    theirs = transformers_model("BertModel", tiny.folder, sequences, types, "last_hidden_state")
    assert all(error(ours, one) <= 1e-5 for ours, one in zip(split(tiny.truth(batch), batch), theirs, strict=True))


def test_the_reference_engine_and_the_head_compute_a_rerankers_logit_as_transformers_does(
    rank: Model, transformers_model: Callable[..., list[NDArray[np.float64]]]
) -> None:
    sequences, types = typed_sequences((5, 12, 40, 65))
    batch = Batch.of(sequences, types)
    cross_encoder = head("bert", rank.weights, HeadFacts(hidden=rank.recognised.network.hidden))
    logits = [cross_encoder.score(part) for part in split(rank.engine("reference").run(batch), batch)]
    theirs = [float(one[0]) for one in transformers_model("BertForSequenceClassification", rank.folder, sequences, types, "logits")]
    assert logits == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert max(theirs) - min(theirs) > 0.1, "the logits differ"


def test_the_reference_engine_computes_the_default_model_as_transformers_does(
    real: Model, transformers_model: Callable[..., list[NDArray[np.float64]]]
) -> None:
    sequences = real.encoded(TEXTS)
    batch = Batch.of(sequences)
    theirs = transformers_model("BertModel", real.folder, sequences, [np.zeros_like(ids) for ids in sequences], "last_hidden_state")
    assert all(error(ours, one) <= 1e-5 for ours, one in zip(split(real.truth(batch), batch), theirs, strict=True))
