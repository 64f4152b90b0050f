"""From a specification to a model that can be served, on tiny checkpoints."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import HIDDEN, LIMIT, POSITIONS, VOCABULARY, write_embedder, write_ranker, write_safetensors
from emberank.contract.errors import SettingError, StartError, UnknownArchitecture, WeightsCorrupt, WeightsError
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.heads import CrossEncoder, LinearHead, YesNoHead
from emberank.runtime.items import Item, Picture
from emberank.runtime.late_interaction import LateInteraction
from emberank.runtime.model import ServedModel
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.siglip import SiglipProjector
from emberank.runtime.plans import EmbedPlan, LatePlan, PairPlan
from emberank.runtime.presets import presets
from families import write_llama_embedder, write_llama_reranker, write_qwen3_reranker, write_vl_embedder, write_vl_reranker
from family_tokenizers import tokenizer_xlm_like

Workshop = Any  # tests/unit/runtime/conftest.py


def tensors(folder: Path) -> dict[str, np.ndarray]:
    checkpoint = Checkpoint.open(folder)
    return {name: checkpoint.float32(name) for name in checkpoint.names()}


def rewritten(folder: Path, at: Path, **changes: np.ndarray | None) -> Path:
    """A copy of a checkpoint with tensors replaced, or left out where None is given."""
    shutil.copytree(folder, at)
    kept = {name: array for name, array in (tensors(folder) | changes).items() if array is not None}
    (at / "model.safetensors").unlink()
    write_safetensors(at / "model.safetensors", kept)
    return at


def test_an_embedder_is_loaded_with_its_publishers_limit(embedder: ServedModel) -> None:
    assert (embedder.name, embedder.task, embedder.max_tokens, embedder.dimensions) == ("tiny-embed", "embed", LIMIT, (HIDDEN,))
    assert embedder.pair_head is None
    assert isinstance(embedder.embed_plan([Item("snow")], None, "END"), EmbedPlan)


def test_a_cross_encoder_is_loaded_with_its_own_head(ranker: ServedModel, tiny_ranker: Path) -> None:
    assert (ranker.task, ranker.max_tokens) == ("rank", POSITIONS)
    saved = tensors(tiny_ranker)
    assert isinstance(ranker.pair_head, CrossEncoder)
    head = {name: array.tolist() for name, array in asdict(ranker.pair_head).items()}
    assert head == {
        "pooler_weight": saved["bert.pooler.dense.weight"].tolist(),
        "pooler_bias": saved["bert.pooler.dense.bias"].tolist(),
        "weight": saved["classifier.weight"].tolist(),
        "bias": saved["classifier.bias"].tolist(),
    }
    assert isinstance(ranker.rank_plan("snow", [Item("ice")], "END"), PairPlan)


def test_late_interaction_makes_a_reranker_of_an_embedder_and_reads_as_far_as_there_are_positions(late_ranker: ServedModel) -> None:
    assert (late_ranker.task, late_ranker.max_tokens) == ("rank", POSITIONS)
    assert isinstance(late_ranker.pair_head, LateInteraction)
    assert isinstance(late_ranker.rank_plan("snow", [Item("ice")], "END"), LatePlan)


def test_models_of_the_same_files_share_one_engine_and_one_batcher(workshop: Workshop, embedder: ServedModel, late_ranker: ServedModel) -> None:
    assert embedder.backend is late_ranker.backend
    assert (len(workshop.engines), len(workshop.batchers)) == (1, 1)


def test_a_copy_of_the_files_shares_too_and_other_weights_do_not(workshop: Workshop, embedder: ServedModel, tiny_embedder: Path, tmp_path: Path) -> None:
    copy = workshop.load(Path(shutil.copytree(tiny_embedder, tmp_path / "copy")))
    other = workshop.load(write_embedder(tmp_path / "other", seed=99))
    assert copy.backend is embedder.backend
    assert other.backend is not embedder.backend


def test_an_embedder_cannot_rank_without_a_head(workshop: Workshop, tiny_embedder: Path) -> None:
    with pytest.raises(UnknownArchitecture, match="tiny-embed holds an embedder: it has no head that ranks"):
        workshop.load(tiny_embedder, task="rank")


def test_the_files_must_have_the_hashes_that_were_asked_for(workshop: Workshop, tiny_embedder: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        workshop.load(tiny_embedder, sha256={"model.safetensors": "0" * 64})


def test_the_default_models_have_the_hashes_that_are_pinned(workshop: Workshop, minilm: Path) -> None:
    model = workshop.load(minilm, sha256=presets()[0].sha256)
    assert (model.max_tokens, model.dimensions) == (256, (384,))


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        (
            "embeddings.word_embeddings.weight",
            np.zeros((3, HIDDEN), np.float32),
            rf"shape \[3, {HIDDEN}\], and by config.json it has to be \[{len(VOCABULARY)}, {HIDDEN}\]",
        ),
        ("encoder.layer.1.output.dense.weight", np.zeros((HIDDEN, HIDDEN), np.float32), "'encoder.layer.1.output.dense.weight' has shape"),
        ("encoder.layer.0.attention.self.key.weight", None, "no tensor 'encoder.layer.0.attention.self.key.weight'"),
    ],
)
def test_tensors_that_do_not_fit_the_configuration_are_refused(
    workshop: Workshop, tiny_embedder: Path, tmp_path: Path, name: str, array: np.ndarray | None, reason: str
) -> None:
    with pytest.raises(WeightsError, match=reason):
        workshop.load(rewritten(tiny_embedder, tmp_path / "bad", **{name: array}))
    assert not workshop.engines


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias", "bert.pooler.dense.weight"])
def test_a_cross_encoder_without_its_head_is_refused(workshop: Workshop, tiny_ranker: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=f"no tensor '{name.removeprefix('bert.')}'"):
        workshop.load(rewritten(tiny_ranker, tmp_path / "bad", **{name: None}))


@pytest.mark.parametrize(("input_type", "prompt"), [("query", "the way "), ("passage", "of snow "), (None, "")])
def test_the_checkpoints_prompt_stands_before_each_text(workshop: Workshop, tmp_path: Path, input_type: Any, prompt: str) -> None:
    folder = write_embedder(tmp_path / "prompted")
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "the way ", "document": "of snow "}}))
    model = workshop.load(folder)
    plan = model.embed_plan([Item("ice"), Item("road")], input_type, "END")
    expected = [encoded.sequence.ids.tolist() for encoded in model.tokenizer.singles([f"{prompt}ice", f"{prompt}road"], "END")]
    assert [sequence.ids.tolist() for sequence in plan.sequences] == expected


def test_the_status_for_over_long_input_reaches_the_tokenizer(workshop: Workshop, tiny_embedder: Path) -> None:
    workshop.loader._over_length_status = 422
    with pytest.raises(Exception, match="exceeds") as refused:
        workshop.load(tiny_embedder).embed_plan([Item("the " * 100)], None, "NONE")
    assert refused.value.http_status == 422  # type: ignore[attr-defined]


def test_the_weights_of_a_classifier_are_found_without_their_prefix(tiny_ranker: Path) -> None:
    weights = NamedWeights(Checkpoint.open(tiny_ranker))
    saved = tensors(tiny_ranker)
    assert weights.has("encoder.layer.0.output.dense.weight")
    assert not weights.has("encoder.layer.9.output.dense.weight")
    assert np.array_equal(weights.get("encoder.layer.0.output.dense.weight"), saved["bert.encoder.layer.0.output.dense.weight"])
    assert np.array_equal(weights.get("classifier.weight"), saved["classifier.weight"])


def test_the_names_of_files_converted_from_tensorflow_are_understood(tiny_ranker: Path, tmp_path: Path) -> None:
    saved = tensors(tiny_ranker)
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array for name, array in saved.items()}
    assert old.keys() != saved.keys()
    write_safetensors(tmp_path / "model.safetensors", old)
    weights = NamedWeights(Checkpoint.open(tmp_path))
    for part in ("weight", "bias"):
        assert np.array_equal(weights.get(f"embeddings.LayerNorm.{part}"), saved[f"bert.embeddings.LayerNorm.{part}"])


def test_two_seeds_make_two_checkpoints(tmp_path: Path) -> None:
    first, second = tensors(write_ranker(tmp_path / "a", seed=1)), tensors(write_ranker(tmp_path / "b", seed=2))
    assert not np.array_equal(first["classifier.weight"], second["classifier.weight"])


# Models that read images, and the other families.


def test_a_vision_model_has_two_engines_each_with_its_own_part_of_the_weights(workshop: Workshop, tmp_path: Path) -> None:
    built: list[tuple[Any, Any]] = []
    made = workshop.make

    def remembering(network: Any, weights: Any) -> Any:
        built.append((network, weights))
        return made(network, weights)

    workshop.make = remembering
    model = workshop.load(write_vl_embedder(tmp_path / "vl"))
    (text, text_weights), (eyes, eyes_weights) = built
    assert (type(text), type(eyes)) == (Llama, SiglipProjector)
    assert all(text_weights.has(name) for name in text.shapes())
    assert all(eyes_weights.has(name) for name in eyes.shapes())
    assert model.vision is not None
    assert model.vision is not model.backend
    assert (model.backend.engine, model.vision.engine) == tuple(workshop.engines)
    assert model.modalities == ("text", "image", "text_image")


def test_models_of_the_same_files_share_the_vision_engine_too(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_vl_embedder(tmp_path / "vl")
    first, second = workshop.load(folder), workshop.load(folder, name="again")
    assert (first.backend, first.vision) == (second.backend, second.vision)
    assert len(workshop.engines) == 2


def test_a_text_model_has_no_eyes(embedder: ServedModel, ranker: ServedModel, late_ranker: ServedModel) -> None:
    assert [(model.vision, model.modalities) for model in (embedder, ranker, late_ranker)] == [(None, ("text",))] * 3
    assert (ranker.dimensions, late_ranker.dimensions) == ((), ())


def test_a_picture_reaches_the_plan_with_its_tiles(workshop: Workshop, tmp_path: Path) -> None:
    picture = Picture(np.zeros((3, 16, 192), np.float32))
    embed = workshop.load(write_vl_embedder(tmp_path / "e")).embed_plan([Item("snow", picture)], "passage", "NONE")
    rank = workshop.load(write_vl_reranker(tmp_path / "r")).rank_plan("way", [Item(None, picture), Item("snow")], "NONE")
    assert (len(embed.tiles), len(rank.tiles)) == (3, 3)
    assert embed.sequences[0].features is not None
    assert embed.sequences[0].features.values.shape == (12, 64)


def test_each_family_gets_its_own_head(workshop: Workshop, tmp_path: Path) -> None:
    linear = workshop.load(write_llama_reranker(tmp_path / "l", temperature=0.5)).pair_head
    assert isinstance(linear, LinearHead)
    assert (linear.pooling, linear.temperature) == ("mean", 0.5)
    asked = workshop.load(write_qwen3_reranker(tmp_path / "Qwen3-Reranker")).pair_head
    assert isinstance(asked, YesNoHead)
    saved = tensors(tmp_path / "Qwen3-Reranker")["model.embed_tokens.weight"]
    tokenizer = json.loads((tmp_path / "Qwen3-Reranker" / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    assert np.array_equal(asked.weight, saved[tokenizer["yes"]] - saved[tokenizer["no"]])


def test_a_qwen3_without_the_words_to_answer_with_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_qwen3_reranker(tmp_path / "Qwen3-Reranker", max_position_embeddings=4096)
    tokenizer_xlm_like().save(str(folder / "tokenizer.json"))
    with pytest.raises(WeightsCorrupt, match="has no tokens 'yes' and 'no', which a reranker made of a language model answers with"):
        workshop.load(folder)


@pytest.mark.parametrize("write", [write_llama_reranker, write_vl_reranker])
def test_a_reranker_makes_no_embeddings(workshop: Workshop, tmp_path: Path, write: Any) -> None:
    with pytest.raises(UnknownArchitecture, match="x holds a reranker: it makes no embeddings"):
        workshop.load(write(tmp_path / "x"), task="embed")


def test_a_specification_may_say_which_lengths_embeddings_have(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_llama_embedder(tmp_path / "x")
    assert workshop.load(folder, dimensions=(16, 64)).dimensions == (16, 64)
    with pytest.raises(SettingError, match=r"x: dimensions \[16, 65\] have to be from 1 to 64, the width of its network"):
        workshop.load(folder, dimensions=(16, 65))


def test_a_specification_may_say_how_much_is_read(workshop: Workshop, tmp_path: Path) -> None:
    folder = write_vl_embedder(tmp_path / "x")
    assert workshop.load(folder).max_tokens == 8192
    model = workshop.load(folder, max_tokens=100)
    assert model.max_tokens == 100
    with pytest.raises(Exception, match="maximum allowed token size 100"):
        model.embed_plan([Item("snow " * 200, Picture(np.zeros((1, 16, 192), np.float32)))], "passage", "NONE")
    with pytest.raises(SettingError, match="max_tokens 0 has to be from 1 to 131072, the positions of its network"):
        workshop.load(folder, max_tokens=0)


def test_a_tokenizer_of_another_model_is_refused_before_an_engine_is_built(workshop: Workshop, tiny_ranker: Path, tmp_path: Path) -> None:
    folder = write_llama_reranker(tmp_path / "x", vocab_size=100)
    with pytest.raises(WeightsCorrupt, match=r"tokenizer\.json: the largest token id is \d+, and the checkpoint's token table has 100 rows"):
        workshop.load(folder)
    assert not workshop.engines


def test_an_image_token_that_config_and_tokenizer_number_differently_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match=r"img_context_token_id is 5, and .*tokenizer\.json has '<IMG_CONTEXT>' at \d+"):
        workshop.load(write_vl_embedder(tmp_path / "x", img_context_token_id=5))
    assert not workshop.engines


def test_whether_a_model_fits_is_asked_once_for_its_files_and_before_an_engine_is_built(workshop: Workshop, tmp_path: Path) -> None:
    asked: list[tuple[str, list[str], int]] = []

    def refuse(name: str, networks: Any, longest: int) -> None:
        asked.append((name, [type(network).__name__ for network in networks], longest))
        if name == "large":
            raise StartError("it does not fit")

    workshop.loader._check_fits = refuse
    folder = write_vl_embedder(tmp_path / "x")
    with pytest.raises(StartError, match="it does not fit"):
        workshop.load(folder, name="large")
    assert not workshop.engines
    workshop.load(folder)
    workshop.load(folder, name="again")
    assert asked == [("large", ["Llama", "SiglipProjector"], 8192), ("x", ["Llama", "SiglipProjector"], 8192)]


def test_random_weights_are_labelled_and_said_in_the_log(workshop: Workshop, tmp_path: Path, embedder: ServedModel, caplog: pytest.LogCaptureFixture) -> None:
    assert not embedder.random_weights
    assert "random weights" not in caplog.text
    assert workshop.load(write_llama_reranker(tmp_path / "x", emberank_random_weights=True)).random_weights
    assert "x has random weights: good for measuring speed, and its scores mean nothing" in caplog.text
