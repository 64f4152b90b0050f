"""Vectors and logits from hidden states, against values worked out by hand or by a loop."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime.heads import HEADS, CrossEncoder, HeadFacts, LinearHead, Pooling, YesNoHead, head, pool, unit

HIDDEN = np.array([[1, 2, -3], [3, -2, 5], [5, 6, -8], [-1, 2, 2]], np.float32)  # (tokens, hidden)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [2, 2, -1]), ("cls", [1, 2, -3]), ("max", [5, 6, 5]), ("mean_sqrt_len", [4, 4, -2]), ("last", [-1, 2, 2]), ("sum", [8, 8, -4])],
)
def test_every_pooling_is_what_its_name_says(how: Pooling, expected: list[float]) -> None:
    pooled = pool(HIDDEN, how)
    assert pooled.tolist() == expected
    assert pooled.dtype == np.float32


@pytest.mark.parametrize("how", get_args(Pooling))
def test_one_row_is_its_own_pooling_so_that_an_engine_may_pool(how: Pooling) -> None:
    assert pool(HIDDEN[1:2], how).tolist() == HIDDEN[1].tolist()


@pytest.mark.parametrize("how", get_args(Pooling))
def test_what_was_pooled_outlives_the_hidden_states(how: Pooling) -> None:
    hidden = HIDDEN.copy()  # an engine's next run overwrites them
    pooled = pool(hidden, how)
    before = pooled.copy()
    hidden[:] = 99
    assert pooled.tolist() == before.tolist()


def test_one_token_is_its_own_mean() -> None:
    assert pool(HIDDEN[:1], "mean").tolist() == [1, 2, -3]


def test_a_unit_vector_has_length_one_and_the_same_direction() -> None:
    assert unit(np.array([3, -4], np.float32)).tolist() == pytest.approx([0.6, -0.8])
    rows = unit(HIDDEN)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    assert rows.dtype == np.float32


def test_a_zero_vector_stays_zero() -> None:
    assert unit(np.zeros(5, np.float32)).tolist() == [0] * 5
    assert unit(np.array([[0, 0], [0, 2]], np.float32)).tolist() == [[0, 0], [0, 1]]


def test_a_cross_encoder_is_a_linear_layer_on_the_tanh_of_a_linear_layer_on_the_first_token() -> None:
    head = CrossEncoder(
        pooler_weight=np.array([[1, 0, 0], [0, 0.5, 0], [0.1, 0.2, 0.3]], np.float32),
        pooler_bias=np.array([-1, 0, 0.5], np.float32),
        weight=np.array([[2, -3, 10]], np.float32),
        bias=np.array([0.25], np.float32),
    )
    expected = 2 * math.tanh(0) - 3 * math.tanh(1) + 10 * math.tanh(0.1 + 0.4 - 0.9 + 0.5) + 0.25
    assert head.score(HIDDEN) == pytest.approx(expected, rel=1e-5)
    assert head.score(HIDDEN[:1]) == head.score(HIDDEN), "only the first token counts"


class Tensors:
    """Named tensors in memory; those named in `bf16` are stored so."""

    def __init__(self, bf16: bool = False, **tensors: NDArray[np.float32]) -> None:
        self._tensors = {name.replace("__", "."): array for name, array in tensors.items()}
        self._bf16 = bf16
        self.converted: list[str] = []

    def has(self, name: str) -> bool:
        return name in self._tensors

    def get(self, name: str) -> NDArray[np.float32]:
        self.converted.append(name)
        if name not in self._tensors:
            raise WeightsCorrupt(f"there is no tensor {name!r}")
        return self._tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.get(name).shape

    def stored(self, name: str) -> tuple[str, NDArray[Any]]:
        array = self.get(name)
        self.converted.remove(name)
        return ("BF16", (array.view(np.uint32) >> 16).astype(np.uint16)) if self._bf16 else ("F32", array)


RANDOM = np.random.default_rng(5)


def draw(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


STATES = draw(7, 16)


def linear(x: torch.Tensor, weights: Tensors, name: str) -> torch.Tensor:
    bias = torch.from_numpy(weights.get(f"{name}.bias")) if weights.has(f"{name}.bias") else None
    return torch.nn.functional.linear(x, torch.from_numpy(weights.get(f"{name}.weight")), bias)


def test_xlm_robertas_head_is_two_layers_with_a_tanh_between_on_the_first_token() -> None:
    weights = Tensors(
        classifier__dense__weight=draw(16, 16), classifier__dense__bias=draw(16), classifier__out_proj__weight=draw(1, 16), classifier__out_proj__bias=draw(1)
    )
    expected = linear(torch.tanh(linear(torch.from_numpy(STATES[0]), weights, "classifier.dense")), weights, "classifier.out_proj")
    made = head("xlm_roberta", weights, HeadFacts(hidden=16))
    assert made.pooling == "cls"
    assert made.score(STATES) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernberts_head_is_a_layer_a_gelu_a_norm_and_a_layer(pooling: Pooling, biased: bool) -> None:
    named = {"head__dense__weight": draw(16, 16), "head__norm__weight": draw(16), "classifier__weight": draw(1, 16), "classifier__bias": draw(1)}
    named |= {"head__dense__bias": draw(16), "head__norm__bias": draw(16)} if biased else {}
    weights = Tensors(**named)
    pooled = torch.from_numpy(STATES[0] if pooling == "cls" else STATES.mean(0))
    norm_bias = torch.from_numpy(named["head__norm__bias"]) if biased else None
    x = torch.nn.functional.gelu(linear(pooled, weights, "head.dense"))
    x = torch.nn.functional.layer_norm(x, (16,), torch.from_numpy(named["head__norm__weight"]), norm_bias, eps=1e-3)
    made = head("modernbert", weights, HeadFacts(hidden=16, pooling=pooling, eps=1e-3))
    assert made.pooling == pooling
    assert made.score(STATES) == pytest.approx(float(linear(x, weights, "classifier")), rel=1e-4)
    assert made.score(pool(STATES, pooling)[None]) == pytest.approx(made.score(STATES), rel=1e-5), "an engine may have pooled"


@pytest.mark.parametrize("temperature", [1.0, 0.02, 4.0])
@pytest.mark.parametrize("pooling", ["mean", "sum", "last", "cls"])
def test_a_linear_head_multiplies_what_was_pooled_and_divides_by_the_temperature(pooling: Pooling, temperature: float) -> None:
    weight = draw(1, 16)
    made = head("linear", Tensors(score__weight=weight), HeadFacts(hidden=16, pooling=pooling, temperature=temperature))
    expected = {"mean": STATES.mean(0), "sum": STATES.sum(0), "last": STATES[-1], "cls": STATES[0]}[pooling] @ weight[0] / temperature
    assert made.score(STATES) == pytest.approx(float(expected), rel=1e-5)
    assert isinstance(made, LinearHead)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("tied", "name"), [(True, "embed_tokens__weight"), (False, "lm_head__weight")])
def test_yes_and_no_are_two_rows_of_a_language_models_head(tied: bool, name: str, bf16: bool) -> None:
    table = draw(50, 16)
    if bf16:
        table = (table.view(np.uint32) & 0xFFFF0000).view(np.float32)
    weights = Tensors(bf16=bf16, **{name: table})
    made = head("yes_no", weights, HeadFacts(hidden=16, tied=tied, answers=(31, 7)))
    logits = table @ STATES[-1]
    assert made.score(STATES) == pytest.approx(float(logits[31] - logits[7]), rel=1e-5, abs=1e-5)
    assert made.score(STATES[-1:]) == made.score(STATES), "only the last token counts"
    assert isinstance(made, YesNoHead)
    assert not weights.converted, "a table of all words is not turned into float32 for two rows"


def test_a_table_too_small_for_the_answers_is_refused() -> None:
    with pytest.raises(WeightsCorrupt, match=r"'lm_head.weight' has shape \[5, 16\]: it has to have a row of 16 for each of the tokens \(31, 7\)"):
        head("yes_no", Tensors(lm_head__weight=draw(5, 16)), HeadFacts(hidden=16, answers=(31, 7)))


def test_a_classifier_of_several_labels_is_refused_with_its_tensor() -> None:
    with pytest.raises(WeightsCorrupt, match=r"'score.weight' has shape \[3, 16\], config.json says \[1, 16\]: a classifier of 3 labels is not a reranker"):
        head("linear", Tensors(score__weight=draw(3, 16)), HeadFacts(hidden=16))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_without_its_tensors_is_refused(name: str) -> None:
    with pytest.raises(WeightsCorrupt, match="there is no tensor"):
        head(name, Tensors(), HeadFacts(hidden=16, answers=(1, 0)))


def test_a_head_keeps_no_page_of_the_file() -> None:
    weight = draw(1, 16)
    made = head("linear", Tensors(score__weight=weight), HeadFacts(hidden=16, pooling="mean"))
    before = made.score(STATES)
    weight[:] = np.nan
    assert made.score(STATES) == before
