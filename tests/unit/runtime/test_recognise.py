"""A checkpoint's configuration files, every rule and every refusal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from checkpoints import HEADS, HIDDEN, LAYERS, LIMIT, POSITIONS, VOCABULARY, WIDE, config
from emberank.contract.errors import UnknownArchitecture, WeightsError
from emberank.runtime.networks.bert import Bert
from emberank.runtime.recognise import recognise

OLD = "sentence_transformers.models."
NEW = "sentence_transformers.sentence_transformer.modules."
TRANSFORMER, POOLING, NORMALIZE = ({"path": path, "type": OLD + kind} for path, kind in (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_N", "Normalize")))


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def folder(at: Path, architecture: str = "BertModel", modules: object = None, pooling: dict[str, Any] | None = None, **more: Any) -> Path:
    write(at / "config.json", config(architecture) | more)
    if modules is not None:
        write(at / "modules.json", modules)
    if pooling is not None:
        write(at / "1_Pooling" / "config.json", pooling)
    return at


def test_an_embedder_as_sentence_transformers_writes_it(tiny_embedder: Path) -> None:
    found = recognise(tiny_embedder)
    assert (found.task, found.pooling, found.normalize, found.max_tokens, dict(found.prompts)) == ("embed", "mean", True, LIMIT, {})
    assert found.network == Bert(
        hidden=HIDDEN, layers=LAYERS, heads=HEADS, intermediate=WIDE, vocabulary=len(VOCABULARY), positions=POSITIONS, types=2, eps=1e-12
    )


def test_a_reranker_as_transformers_writes_it(tiny_ranker: Path) -> None:
    found = recognise(tiny_ranker)
    assert (found.task, found.max_tokens) == ("rank", POSITIONS)


def test_the_default_model(minilm: Path) -> None:
    found = recognise(minilm)
    assert (found.task, found.pooling, found.normalize, found.max_tokens) == ("embed", "mean", True, 256)
    assert (found.network.hidden, found.network.layers, found.network.heads) == (384, 6, 12)


@pytest.mark.parametrize(("architecture", "task"), [("BertModel", "embed"), ("BertForMaskedLM", "embed"), ("BertForSequenceClassification", "rank")])
def test_the_architecture_says_the_task(tmp_path: Path, architecture: str, task: str) -> None:
    assert recognise(folder(tmp_path, architecture, num_labels=1)).task == task


@pytest.mark.parametrize("architectures", [None, []])
def test_a_bert_without_an_architecture_is_an_embedder(tmp_path: Path, architectures: object) -> None:
    assert recognise(folder(tmp_path, architectures=architectures)).task == "embed"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "'LlamaForCausalLM' of model_type 'llama'"),
        ({"architectures": ["BertForTokenClassification"]}, "'BertForTokenClassification' of model_type 'bert'"),
        ({"architectures": ["BertModel"], "model_type": "nomic_bert"}, "'BertModel' of model_type 'nomic_bert'"),
        ({"architectures": None, "model_type": ""}, "'unnamed' of model_type 'unnamed'"),
    ],
)
def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path, more: dict[str, Any], named: str) -> None:
    with pytest.raises(UnknownArchitecture) as refused:
        recognise(folder(tmp_path, **more))
    assert f"architecture {named} is not known here" in refused.value.message
    assert "known architectures: BertModel, BertForMaskedLM, BertForSequenceClassification" in refused.value.message


@pytest.mark.parametrize("labels", [{"num_labels": 1}, {"id2label": {"0": "LABEL_0"}}])
def test_one_label_is_a_reranker(tmp_path: Path, labels: dict[str, Any]) -> None:
    assert recognise(folder(tmp_path, "BertForSequenceClassification", **labels)).task == "rank"


@pytest.mark.parametrize(
    ("labels", "count"),
    [({"num_labels": 2}, 2), ({"id2label": {"0": "no", "1": "yes"}}, 2), ({"id2label": {"0": "a", "1": "b", "2": "c"}}, 3), ({}, 2)],
    ids=["num_labels", "id2label", "three", "transformers writes nothing for its default of two"],
)
def test_a_classifier_of_several_labels_is_refused(tmp_path: Path, labels: dict[str, Any], count: int) -> None:
    with pytest.raises(UnknownArchitecture, match=f"a sequence classifier of {count} labels is not a reranker"):
        recognise(folder(tmp_path, "BertForSequenceClassification", **labels))


def test_without_modules_an_embedder_takes_the_mean_and_normalises(tmp_path: Path) -> None:
    found = recognise(folder(tmp_path))
    assert (found.pooling, found.normalize, found.max_tokens) == ("mean", True, POSITIONS)


@pytest.mark.parametrize(("modules", "normalize"), [([TRANSFORMER, POOLING], False), ([TRANSFORMER, POOLING, NORMALIZE], True)])
def test_the_modules_say_whether_vectors_are_normalised(tmp_path: Path, modules: object, normalize: bool) -> None:
    assert recognise(folder(tmp_path, modules=modules, pooling={})).normalize is normalize


@pytest.mark.parametrize("classes", [OLD, NEW])
def test_only_the_last_word_of_a_modules_class_counts(tmp_path: Path, classes: str) -> None:
    modules = [{"path": "", "type": f"{classes}Transformer"}, {"path": "1_Pooling", "type": f"{classes}Pooling"}]
    assert recognise(folder(tmp_path, modules=modules, pooling={"pooling_mode": "cls"})).pooling == "cls"


OLD_FORM = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len", "lasttoken": "last"}


@pytest.mark.parametrize("mode", OLD_FORM)
def test_the_older_form_of_pooling_is_one_boolean_that_is_true(tmp_path: Path, mode: str) -> None:
    pooling = {f"pooling_mode_{other}": other == mode for other in OLD_FORM} | {"word_embedding_dimension": 64, "include_prompt": True}
    assert recognise(folder(tmp_path, modules=[TRANSFORMER, POOLING], pooling=pooling)).pooling == OLD_FORM[mode]


@pytest.mark.parametrize("mode", OLD_FORM.values())
def test_the_newer_form_of_pooling_is_a_word(tmp_path: Path, mode: str) -> None:
    pooling = {"embedding_dimension": 64, "pooling_mode": mode, "include_prompt": True}
    assert recognise(folder(tmp_path, modules=[TRANSFORMER, POOLING], pooling=pooling)).pooling == mode


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode": "weightedmean"}, "'weightedmean'"),
        ({"pooling_mode_weightedmean_tokens": True, "pooling_mode_mean_tokens": False}, "'weightedmean_tokens'"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "'cls+mean'"),
    ],
)
def test_a_pooling_that_is_not_computed_here_is_refused(tmp_path: Path, pooling: dict[str, Any], named: str) -> None:
    with pytest.raises(UnknownArchitecture, match="known, one at a time: mean, cls, max, mean_sqrt_len, last") as refused:
        recognise(folder(tmp_path, modules=[TRANSFORMER, POOLING], pooling=pooling))
    assert f"pooling {named} is not known" in refused.value.message


@pytest.mark.parametrize("kind", ["Dense", "LayerNorm", "WeightedLayerPooling"])
def test_a_module_that_is_not_computed_here_is_refused(tmp_path: Path, kind: str) -> None:
    modules = [TRANSFORMER, POOLING, {"path": "2", "type": OLD + kind}]
    with pytest.raises(UnknownArchitecture, match=f"module '{kind}' is not known; known: Transformer, Pooling, Normalize"):
        recognise(folder(tmp_path, modules=modules, pooling={}))


@pytest.mark.parametrize(("said", "expected"), [(128, 128), (100_000, POSITIONS), (None, POSITIONS), (0, POSITIONS)])
def test_the_longest_input_is_the_publishers_or_the_position_tables(tmp_path: Path, said: int | None, expected: int) -> None:
    write(folder(tmp_path) / "sentence_bert_config.json", {"max_seq_length": said})
    assert recognise(tmp_path).max_tokens == expected


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"query": "query: ", "passage": "passage: "}, {"query": "query: ", "passage": "passage: "}),
        ({"query": "q ", "document": "d "}, {"query": "q ", "passage": "d "}),
        ({"query": "", "document": ""}, {}),
        ({"query": None, "sts": "x"}, {}),
        ("none", {}),
    ],
)
def test_prompts_are_taken_for_queries_and_passages(tmp_path: Path, prompts: object, expected: dict[str, str]) -> None:
    write(folder(tmp_path) / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    assert dict(recognise(tmp_path).prompts) == expected


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"hidden_act": "relu"}, "hidden_act 'relu' is not supported"), ({"position_embedding_type": "relative_key"}, "'relative_key' is not supported")],
)
def test_a_bert_of_another_kind_is_refused(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownArchitecture, match=reason):
        recognise(folder(tmp_path, **more))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"num_attention_heads": 5}, "hidden_size 64 is not a multiple of num_attention_heads 5"),
        ({"num_attention_heads": 0}, "not a multiple"),
        ({"hidden_size": "wide"}, "invalid literal"),
        ({"hidden_size": None}, "config.json: "),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        recognise(folder(tmp_path, **more))


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings"])
def test_a_number_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    lacking = {name: value for name, value in config("BertModel").items() if name != key}
    write(tmp_path / "config.json", lacking)
    with pytest.raises(WeightsError, match=f"config.json lacks '{key}'"):
        recognise(tmp_path)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        recognise(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "\ud800", '"bert"'])
@pytest.mark.parametrize("file", ["config.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"])
def test_a_broken_file_is_named(tmp_path: Path, file: str, text: str) -> None:
    folder(tmp_path, modules=[TRANSFORMER, POOLING], pooling={})
    (tmp_path / file).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(WeightsError, match=file):
        recognise(tmp_path)


@pytest.mark.parametrize("text", ["[", "{}", '["Pooling"]', "3"])
def test_a_broken_list_of_modules_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(WeightsError, match=r"modules\.json"):
        recognise(folder(tmp_path, modules=text))


def test_a_pooling_module_without_its_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"1_Pooling/config\.json is missing"):
        recognise(folder(tmp_path, modules=[TRANSFORMER, POOLING]))


@pytest.mark.parametrize("architecture", ["BertModel", "EvilModel"])
def test_code_that_ships_with_a_checkpoint_is_never_run(tmp_path: Path, architecture: str) -> None:
    model = folder(tmp_path / "model", architecture, auto_map={"AutoModel": f"modeling_evil.{architecture}", "AutoConfig": "modeling_evil.EvilConfig"})
    marker = tmp_path / "ran"
    for name in ("modeling_evil.py", "__init__.py", "config.py", "custom_st.py"):
        (model / name).write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch(); raise SystemExit('it ran')\n")
    if architecture == "BertModel":
        assert recognise(model).task == "embed"
    else:
        with pytest.raises(UnknownArchitecture, match="Code that ships with a checkpoint is never run"):
            recognise(model)
    assert not marker.exists()
    assert not [name for name in sys.modules if "evil" in name]
