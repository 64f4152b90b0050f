"""BERT's and XLM-RoBERTa's numbers from a config.json. What they compute is held against transformers elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

import checkpoints
from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.bert import Bert
from family_configs import xlm_config
from family_tokenizers import tokenizer_xlm_like

BERT, XLM = checkpoints.config("BertModel"), xlm_config(tokenizer_xlm_like())


def test_in_xlm_roberta_the_first_token_has_the_position_behind_the_paddings() -> None:
    network = Bert.from_config(XLM)
    assert (network.position_first, network.max_positions, network.types) == (2, 512, 1)
    assert network.shapes()["embeddings.position_embeddings.weight"] == (514, 64)
    assert Bert.from_config(XLM | {"pad_token_id": 4}).position_first == 5
    assert Bert.from_config({key: value for key, value in XLM.items() if key != "pad_token_id"}).position_first == 2


def test_in_bert_positions_count_from_nothing_whatever_the_padding() -> None:
    network = Bert.from_config(BERT | {"pad_token_id": 7})
    assert (network.position_first, network.max_positions, network.types) == (0, checkpoints.POSITIONS, 2)


@pytest.mark.parametrize("config", [BERT, XLM], ids=["bert", "xlm-roberta"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "gelu_new"}, "hidden_act 'gelu_new' is not supported for BERT; known: 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "'relative_key' is not supported"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quant_method 'bitsandbytes'"),
    ],
    ids=str,
)
def test_a_variant_that_is_not_computed_here_is_refused(config: dict[str, Any], change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownArchitecture, match=reason):
        Bert.from_config(config | change)


def test_a_table_with_rows_for_padding_only_is_refused() -> None:
    with pytest.raises(WeightsCorrupt, match="max_position_embeddings 2 leaves no position for a token"):
        Bert.from_config(XLM | {"max_position_embeddings": 2})
