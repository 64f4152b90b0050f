"""A checkpoint's configuration files, every rule and every refusal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from checkpoints import HEADS, HIDDEN, LAYERS, LIMIT, POSITIONS, VOCABULARY, WIDE, config
from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt, WeightsError
from emberank.runtime.networks.bert import Bert
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.siglip import SiglipProjector
from emberank.runtime.recognise import KINDS, Recognised, recognise
from emberank.runtime.tiles import Tiling
from families import (
    write_llama_embedder,
    write_llama_reranker,
    write_modernbert_reranker,
    write_qwen3_reranker,
    write_vl_embedder,
    write_vl_reranker,
    write_xlm_reranker,
)

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
    with pytest.raises(UnknownArchitecture, match=f"module '{kind}' is not known; known: Transformer, Pooling, Normalize, LogitScore"):
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
        ({"num_attention_heads": 0}, "num_attention_heads must be a whole number from 1 on, not 0"),
        ({"hidden_size": "wide"}, "hidden_size must be a whole number from 1 on, not 'wide'"),
        ({"hidden_size": None}, "config.json lacks 'hidden_size'"),
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


def test_a_configuration_that_asks_for_code_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownArchitecture, match=r"asks for code of its own \(modeling_evil.EvilModel\)"):
        recognise(folder(tmp_path / "other", "EvilModel", model_type="evil", auto_map={"AutoModel": "modeling_evil.EvilModel"}))


# The other families, as their publishers lay them out.


def changed(at: Path, file: str = "config.json", **values: Any) -> Path:
    """Keys of a written file replaced, or left out where None is given."""
    path = at / file
    kept = {key: value for key, value in (json.loads(path.read_text("utf-8")) | values).items() if value is not None}
    write(path, kept)
    return at


def facts(found: Recognised) -> tuple[object, ...]:
    return found.family, found.task, found.template, found.head, found.pooling, found.max_tokens


@pytest.mark.parametrize("dialect", ["old", "v5"])
def test_nvidias_text_reranker(tmp_path: Path, dialect: Any) -> None:
    found = recognise(write_llama_reranker(tmp_path / "x", dialect=dialect))
    assert facts(found) == ("llama_bidirec", "rank", "nvidia_rerank", "linear", "mean", 8192)
    assert (found.temperature, found.dimensions, found.vision, found.random_weights) == (1.0, (), None, False)
    assert isinstance(found.network, Llama)
    assert not found.network.causal


@pytest.mark.parametrize("dialect", ["old", "v5"])
def test_nvidias_text_embedder(tmp_path: Path, dialect: Any) -> None:
    found = recognise(write_llama_embedder(tmp_path / "x", dialect=dialect))
    assert facts(found) == ("llama_bidirec", "embed", "nvidia_embed", None, "mean", 8192)
    assert (found.normalize, dict(found.prompts)) == (True, {"query": "query: ", "passage": "passage: "})


@pytest.mark.claim("nim:embeddings:prompts")
def test_nvidias_prompts_are_known_without_a_file_and_a_file_may_take_them_away(tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "x", prompts=False)
    assert dict(recognise(folder).prompts) == {"query": "query: ", "passage": "passage: "}
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "Q: ", "document": ""}})
    assert dict(recognise(folder).prompts) == {"query": "Q: "}


@pytest.mark.claim("nim:embeddings:dimensions-of-nvidias-models")
@pytest.mark.parametrize(
    ("hidden", "expected"), [(64, (64,)), (384, (384,)), (1024, (384, 512, 768, 1024)), (2048, (384, 512, 768, 1024, 2048)), (600, (384, 512, 600))]
)
def test_an_embedding_may_have_the_lengths_that_nvidia_lists_up_to_its_own(tmp_path: Path, hidden: int, expected: tuple[int, ...]) -> None:
    folder = changed(write_llama_embedder(tmp_path / "x"), hidden_size=hidden)
    assert recognise(folder).dimensions == expected


def test_an_embedder_of_another_family_has_the_one_length_it_has(tiny_embedder: Path, tiny_ranker: Path) -> None:
    assert recognise(tiny_embedder).dimensions == (HIDDEN,)
    assert recognise(tiny_ranker).dimensions == ()


NVIDIAS_WORDS = {"avg": "mean", "weighted_avg": "sum", "cls": "cls", "cls_last": "cls", "last": "last"}


@pytest.mark.parametrize("word", NVIDIAS_WORDS)
@pytest.mark.parametrize("make", [write_llama_reranker, write_llama_embedder, write_vl_embedder, write_vl_reranker])
def test_nvidias_own_word_for_pooling_goes_before_other_files(tmp_path: Path, make: Any, word: str) -> None:
    assert recognise(make(tmp_path / "x", pooling=word)).pooling == NVIDIAS_WORDS[word]


@pytest.mark.parametrize(("make", "pooling"), [(write_llama_reranker, "mean"), (write_vl_reranker, "last"), (write_vl_embedder, "last")])
def test_a_word_that_is_left_out_is_the_default_of_the_published_classes(tmp_path: Path, make: Any, pooling: str) -> None:
    assert recognise(changed(make(tmp_path / "x"), pooling=None)).pooling == pooling


@pytest.mark.parametrize("word", ["colbert", "max", "", 3, ["avg"]])
def test_a_pooling_of_nvidias_that_gives_no_vector_is_refused(tmp_path: Path, word: object) -> None:
    with pytest.raises(UnknownArchitecture, match=r"config\.json: pooling .* is not known; known: avg, weighted_avg, cls, last, cls_last"):
        recognise(write_llama_embedder(tmp_path / "x", pooling=word))


def test_without_nvidias_word_the_pooling_module_says_it(tmp_path: Path) -> None:
    folder = changed(write_llama_embedder(tmp_path / "x"), pooling=None)
    assert recognise(folder).pooling == "mean"
    write(folder / "1_Pooling" / "config.json", {"pooling_mode": "lasttoken"})
    with pytest.raises(UnknownArchitecture, match="'lasttoken'"):
        recognise(folder)
    write(folder / "1_Pooling" / "config.json", {"pooling_mode_lasttoken": True})
    assert recognise(folder).pooling == "last"


@pytest.mark.parametrize("make", [write_llama_reranker, write_vl_reranker])
def test_a_temperature_is_read_and_one_that_cannot_be_is_refused(tmp_path: Path, make: Any) -> None:
    assert recognise(make(tmp_path / "x", temperature=0.02)).temperature == 0.02
    assert recognise(changed(tmp_path / "x", temperature=None)).temperature == 1.0
    with pytest.raises(WeightsCorrupt, match="temperature must be a number above 0, not 0"):
        recognise(changed(tmp_path / "x", temperature=0))


@pytest.mark.parametrize("make", [write_llama_reranker, write_vl_reranker])
def test_labels_of_nvidias_rerankers_may_be_left_to_the_tensor(tmp_path: Path, make: Any) -> None:
    folder = changed(make(tmp_path / "x"), id2label=None, num_labels=None)
    assert recognise(folder).task == "rank"
    with pytest.raises(UnknownArchitecture, match="a sequence classifier of 3 labels is not a reranker"):
        recognise(changed(folder, id2label={"0": "a", "1": "b", "2": "c"}))


@pytest.mark.parametrize(("said", "expected"), [(4096, 4096), (100_000, 8192), (None, 8192)])
def test_nvidias_embedder_reads_as_far_as_its_server_or_its_publisher_says(tmp_path: Path, said: int | None, expected: int) -> None:
    folder = write_llama_embedder(tmp_path / "x")
    write(folder / "sentence_bert_config.json", {"max_seq_length": said})
    assert recognise(folder).max_tokens == expected
    assert recognise(changed(folder, max_position_embeddings=1000)).max_tokens == 1000


def test_nvidias_vision_embedder(tmp_path: Path) -> None:
    found = recognise(write_vl_embedder(tmp_path / "x"))
    assert facts(found) == ("llama_nemotron_vl", "embed", "nvidia_vl_embed", None, "mean", 8192)
    assert (found.normalize, dict(found.prompts), found.dimensions) == (True, {"query": "query: ", "passage": "passage: "}, (64,))
    assert found.vision is not None
    assert isinstance(found.vision.network, SiglipProjector)
    assert isinstance(found.network, Llama)
    assert found.network.feature_width == found.vision.network.hidden == 64
    assert (found.vision.tokens_per_tile, dict(found.vision.max_tokens_by)) == (4, {"text": 8192, "image": 2048, "text_image": 10240})
    config, processor = (json.loads((tmp_path / "x" / name).read_text("utf-8")) for name in ("config.json", "processor_config.json"))
    assert found.vision.tiling == Tiling.from_configs(config, processor)
    assert found.vision.tiling.max_tiles == 6
    assert found.vision.image_token == config["img_context_token_id"]


def test_nvidias_vision_reranker(tmp_path: Path) -> None:
    found = recognise(write_vl_reranker(tmp_path / "x"))
    assert facts(found) == ("llama_nemotron_vl_rerank", "rank", "nvidia_vl_rerank", "linear", "mean", 8192)
    assert found.vision is not None


@pytest.mark.claim("nim:embeddings:dimensions-of-nvidias-models")
def test_vision_embedders_of_1024_numbers_have_the_lengths_that_nvidia_lists_for_them(tmp_path: Path) -> None:
    assert recognise(write_vl_embedder(tmp_path / "x", hidden=1024, layers=1)).dimensions == (128, 256, 384, 512, 768, 1024)


@pytest.mark.parametrize(
    ("processor", "config", "template"), [("v1", None, "nvidia_vl_rerank"), (None, "v1", "nvidia_vl_rerank"), (None, None, "nvidia_vl_rerank")]
)
@pytest.mark.parametrize("other", ["", "v2"])
def test_the_vision_rerankers_template_is_the_processors_word(tmp_path: Path, processor: str | None, config: str | None, template: str, other: str) -> None:
    folder = changed(changed(write_vl_reranker(tmp_path / "x"), prompt_template=config), "processor_config.json", prompt_template=processor)
    assert recognise(folder).template == template
    assert recognise(changed(folder, "processor_config.json", prompt_template=other)).template == "nvidia_vl_rerank_other"


def test_prefixes_in_a_vision_models_configuration_are_used(tmp_path: Path) -> None:
    folder = write_vl_embedder(tmp_path / "x", query_prefix="Q:", passage_prefix="")
    assert dict(recognise(folder).prompts) == {"query": "Q: "}


def test_an_image_token_that_config_does_not_name_is_looked_up_in_the_tokenizer(tmp_path: Path) -> None:
    folder = write_vl_embedder(tmp_path / "x")
    named = recognise(folder).vision
    assert named is not None
    found = recognise(changed(folder, img_context_token_id=None)).vision
    assert found is not None
    assert found.image_token == named.image_token
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer\.json has no token '<IMG_CONTEXT>'"):
        recognise(folder)


def test_an_image_token_without_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="img_context_token_id 999999 has no row in a token table of"):
        recognise(write_vl_embedder(tmp_path / "x", img_context_token_id=999_999))


def test_a_vision_model_over_a_causal_llama_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownArchitecture, match=r"model_type 'llama' is not supported for the language half of a vision model; known: 'llama_bidirec'"):
        recognise(write_vl_embedder(tmp_path / "x", llm_config={"model_type": "llama"}))


def test_xlm_robertas_reranker_reads_as_many_tokens_as_positions_are_left(tmp_path: Path) -> None:
    found = recognise(write_xlm_reranker(tmp_path / "x"))
    assert facts(found) == ("xlm-roberta", "rank", "plain", "xlm_roberta", "cls", 512)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("dialect", ["old", "v5"])
def test_modernberts_reranker_says_how_it_pools(tmp_path: Path, pooling: str, dialect: Any) -> None:
    found = recognise(write_modernbert_reranker(tmp_path / "x", pooling=pooling, dialect=dialect, norm_eps=1e-4))
    assert facts(found) == ("modernbert", "rank", "plain", "modernbert", pooling, 8192)
    assert found.head_eps == 1e-4


@pytest.mark.parametrize(("key", "value"), [("classifier_pooling", "max"), ("classifier_activation", "relu")])
def test_a_modernbert_with_another_head_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(UnknownArchitecture, match=f"config.json: {key} '{value}' is not supported for ModernBERT's head"):
        recognise(write_modernbert_reranker(tmp_path / "x", **{key: value}))


@pytest.mark.parametrize(
    ("architecture", "model_type", "writer"),
    [("XLMRobertaModel", "xlm-roberta", write_xlm_reranker), ("ModernBertModel", "modernbert", write_modernbert_reranker)],
)
def test_bodies_of_the_rerankers_families_embed(tmp_path: Path, architecture: str, model_type: str, writer: Any) -> None:
    folder = writer(tmp_path / "x", architectures=[architecture])
    write(folder / "modules.json", [TRANSFORMER, POOLING, NORMALIZE])
    write(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    found = recognise(folder)
    assert facts(found)[:5] == (model_type, "embed", "plain", None, "cls")
    assert found.normalize


@pytest.mark.parametrize("hint", ["folder", "origin", "module", "user"])
def test_a_qwen3_is_a_reranker_where_something_says_so(tmp_path: Path, hint: str) -> None:
    folder = write_qwen3_reranker(tmp_path / ("Qwen3-Reranker-0.6B" if hint == "folder" else "x"))
    if hint == "origin":
        changed(folder, _name_or_path="Qwen/Qwen3-Reranker-0.6B")
    if hint == "module":
        write(folder / "modules.json", [TRANSFORMER, {"path": "1_LogitScore", "type": NEW + "LogitScore"}])
        write(folder / "1_LogitScore" / "config.json", {"true_token_id": 40, "false_token_id": 41})
    found = recognise(folder, "rank" if hint == "user" else None)
    assert facts(found) == ("qwen3", "rank", "qwen3_rerank", "yes_no", "last", 8192)
    assert (found.tied, found.answers) == (True, (40, 41) if hint == "module" else None)
    assert isinstance(found.network, Llama)
    assert found.network.causal


@pytest.mark.parametrize("task", [None, "embed"])
def test_a_language_model_that_nothing_calls_a_reranker_is_refused(tmp_path: Path, task: Any) -> None:
    with pytest.raises(UnknownArchitecture, match=r"'Qwen3ForCausalLM' is a language model.* say `task = \"rank\"`"):
        recognise(write_qwen3_reranker(tmp_path / "x"), task)


def test_a_qwen3_made_a_classifier_scores_its_last_token(tmp_path: Path) -> None:
    found = recognise(write_qwen3_reranker(tmp_path / "x", architectures=["Qwen3ForSequenceClassification"], num_labels=1))
    assert facts(found) == ("qwen3", "rank", "qwen3_rerank", "linear", "last", 8192)


@pytest.mark.parametrize("make", [write_llama_reranker, write_llama_embedder, write_vl_embedder, write_xlm_reranker, write_modernbert_reranker])
def test_a_quantised_checkpoint_is_refused(tmp_path: Path, make: Any) -> None:
    with pytest.raises(UnknownArchitecture, match=r"quantization_config .*'modelopt'.*'FP8'"):
        recognise(make(tmp_path / "x", quantization_config={"quant_method": "modelopt", "quant_algo": "FP8"}))


def test_random_weights_are_recognised_by_their_label(tmp_path: Path) -> None:
    assert recognise(write_llama_reranker(tmp_path / "x", emberank_random_weights=True)).random_weights


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.architecture)
def test_the_list_of_known_architectures_names_every_one(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(UnknownArchitecture, match=kind.architecture):
        recognise(folder(tmp_path, "MistralModel", model_type="mistral"))


@pytest.mark.parametrize("make", [write_llama_reranker, write_vl_embedder, write_vl_reranker])
def test_nvidias_own_code_is_asked_for_and_not_needed(tmp_path: Path, make: Any) -> None:
    folder = make(tmp_path / "x")
    assert "auto_map" in json.loads((folder / "config.json").read_text("utf-8"))
    assert recognise(folder).network.hidden == 64
