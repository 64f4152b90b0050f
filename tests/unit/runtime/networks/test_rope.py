"""Rotary frequencies: Llama 3's scaling against numbers computed elsewhere, both dialects of config.json, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.rope import from_config, llama3, of_kind, plain
from family_configs import LLAMA3_SCALING

SCALING = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}

# θ 500000, heads of 64, scaling as in Llama 3.2 1B; computed from the formula by another program, nine digits.
LLAMA_3_2_1B = (
    *(1, 0.663601238, 0.440366603, 0.292227823, 0.193922745, 0.128687373, 0.0853971003, 0.0566696214, 0.0376060309, 0.0249554087, 0.0165604401),
    *(0.0109895285, 0.00729266474, 0.00483942135, 0.00321144599, 0.00129054793, 0.000429556797, 9.7082878e-05, 1.94616382e-05, 1.29147672e-05),
    *(8.57025549e-06, 5.68723215e-06, 3.77405429e-06, 2.5044671e-06, 1.66196747e-06, 1.10288367e-06, 7.31874968e-07, 4.85673134e-07),
    *(3.22293293e-07, 2.13874228e-07, 1.41927203e-07, 9.41830673e-08),
)


def test_llama_3_2s_frequencies_are_the_published_formulas() -> None:
    found = llama3(plain(64, 500000.0), factor=32.0, low=1.0, high=4.0, original=8192)
    assert found.shape == (32,)
    assert found == pytest.approx(LLAMA_3_2_1B, rel=2e-8)


def test_short_wavelengths_are_kept_long_ones_divided_and_those_between_mixed() -> None:
    # Wavelengths of 6.3, 32, 167 … positions, of which those below 16 are short and those above 64 long.
    share = np.array(from_config({"rope_theta": 5e5, "rope_scaling": LLAMA3_SCALING}, 16)) / plain(16, 5e5)
    assert share[0] == 1
    assert 1 / 32 < share[1] < 1
    assert share[2:] == pytest.approx([1 / 32] * 6)


@pytest.mark.parametrize(
    "config",
    [
        {"rope_theta": 500000.0, "rope_scaling": SCALING},
        {"rope_theta": 500000.0, "rope_scaling": {key: value for key, value in SCALING.items() if key != "rope_type"} | {"type": "llama3"}},
        {"rope_parameters": SCALING | {"rope_theta": 500000.0}},
        {"rope_parameters": SCALING, "rope_theta": 500000},
        {"rope_theta": 5e5, "rope_scaling": SCALING | {"original_max_position_embeddings": 8192.0}, "rope_parameters": {"rope_type": "default"}},
        {
            "rope_theta": 5e5,
            "rope_scaling": {key: value for key, value in SCALING.items() if key != "original_max_position_embeddings"},
            "max_position_embeddings": 8192,
        },
    ],
    ids=["old", "older", "new", "new with the base outside", "both", "without the original length"],
)
def test_every_dialect_gives_the_same_frequencies(config: dict[str, Any]) -> None:
    assert from_config(config, 64) == pytest.approx(LLAMA_3_2_1B, rel=2e-8)


@pytest.mark.parametrize("config", [{}, {"rope_scaling": None}, {"rope_parameters": {"rope_type": "default"}}, {"rope_scaling": {"type": "default"}}], ids=str)
def test_without_scaling_frequencies_are_plain_and_the_base_is_10000(config: dict[str, Any]) -> None:
    assert from_config(config, 8) == pytest.approx([1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    ("rope", "reason"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, "rotary positions of type 'yarn' are not supported; known: 'default', 'llama3'"),
        ({"type": "linear", "factor": 4.0}, "of type 'linear'"),
        ({"rope_type": ["llama3"]}, "of type"),
        ({"full_attention": {"rope_theta": 1e4}}, "with 'full_attention' are not supported"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor other than 1"),
    ],
)
def test_rotary_positions_that_are_not_computed_here_are_refused(rope: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownArchitecture, match=reason):
        from_config({"rope_scaling": rope}, 16)


def test_a_share_of_rotated_numbers_beside_the_scaling_is_refused_too() -> None:
    with pytest.raises(UnknownArchitecture, match="partial_rotary_factor"):
        from_config({"partial_rotary_factor": 0.25}, 16)
    assert from_config({"partial_rotary_factor": 1.0}, 16) == from_config({}, 16)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"factor": 0}, "factor must be a number above 0"),
        ({"factor": None}, "lacks 'factor'"),
        ({"low_freq_factor": 4.0}, r"low_freq_factor 4\.0 must be below high_freq_factor 4\.0"),
        ({"original_max_position_embeddings": 0}, "original_max_position_embeddings must be a whole number from 1 on"),
        ({"rope_theta": -1.0}, "rope_theta must be a number above 0"),
    ],
)
def test_numbers_of_the_scaling_that_cannot_be_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsCorrupt, match=reason):
        from_config({"rope_scaling": SCALING | change}, 16)


@pytest.mark.parametrize("head_dim", [0, 1, 15])
def test_heads_of_an_odd_size_cannot_be_rotated(head_dim: int) -> None:
    with pytest.raises(WeightsCorrupt, match="an even size of the heads"):
        of_kind({}, head_dim, theta=1e4)


def test_scaling_that_is_no_object_is_refused() -> None:
    with pytest.raises(WeightsCorrupt, match="must be an object, not 'llama3'"):
        from_config({"rope_scaling": "llama3"}, 16)
