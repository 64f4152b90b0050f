"""Which models the words of a person mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emberank.contract.errors import SettingError
from emberank.runtime.presets import Golden, ModelSpec, defaults, presets, specs
from emberank.runtime.roster import plain
from emberank.runtime.sources.base import parse_source
from emberank.settings import RuntimeSettings

EMBEDDER, RERANKER = "sentence-transformers/all-MiniLM-L6-v2", "emberank/all-MiniLM-L6-v2-rerank"


def asked(*words: str, **values: str) -> tuple[ModelSpec, ...]:
    return specs(RuntimeSettings(models=words or ("default",), **values))  # type: ignore[arg-type]


def served(*words: str, **values: str) -> list[tuple[str, str]]:
    return [(spec.name, spec.source) for spec in asked(*words, **values)]


def test_by_default_both_default_models_are_served() -> None:
    assert [(spec.name, spec.task) for spec in asked()] == [(EMBEDDER, "embed"), (RERANKER, "rank")]


@pytest.mark.parametrize("word", [RERANKER, "all-MiniLM-L6-v2-rerank"])
def test_a_preset_is_meant_by_its_name_and_by_its_aliases(word: str) -> None:
    assert [spec.name for spec in asked(word)] == [RERANKER]


def test_the_default_models_stand_first_and_are_of_one_set_of_files() -> None:
    first, second = defaults()
    assert presets()[:2] == (first, second)
    assert (first.source, first.sha256) == (second.source, second.sha256)
    assert (second.head, first.head) == ("late_interaction", "auto")


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_every_preset_says_where_it_is_from_and_who_allows_it(preset: ModelSpec) -> None:
    assert parse_source(preset.source, preset.sha256).scheme in ("pypi", "hf")
    assert preset.task in ("rank", "embed")
    assert preset.license
    assert preset.license_url.startswith("https://")


@pytest.mark.parametrize("preset", defaults(), ids=lambda preset: preset.name)
def test_a_default_model_is_pinned_to_its_bytes_and_has_a_golden_example(preset: ModelSpec) -> None:
    assert parse_source(preset.source, preset.sha256).revision, "pinned"
    assert "model.safetensors" in preset.sha256
    assert all(len(digest) == 64 for digest in preset.sha256.values())
    assert preset.golden is not None


@pytest.mark.parametrize("preset", [preset for preset in presets() if preset.golden], ids=lambda preset: preset.name)
def test_a_golden_example_can_tell_right_from_wrong(preset: ModelSpec) -> None:
    golden = preset.golden
    assert golden is not None
    assert len(golden.passages) == len(golden.scores) >= 3
    gaps = [before - after for before, after in zip(golden.scores, golden.scores[1:], strict=False)]
    assert min(gaps) > 2 * golden.tolerance > 0


@pytest.mark.claim("nim:models:renamed")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nvidia/llama-3.2-nv-rerankqa-1b-v2", "nvidia/llama-nemotron-rerank-1b-v2"),
        ("nvidia/llama-3.2-nemoretriever-500m-rerank-v2", "nvidia/llama-nemotron-rerank-500m-v2"),
        ("nvidia/llama-3.2-nv-embedqa-1b-v2", "nvidia/llama-nemotron-embed-1b-v2"),
        ("nvidia/llama-3.2-nemoretriever-300m-embed-v2", "nvidia/llama-nemotron-embed-300m-v2"),
    ],
)
def test_nvidias_models_are_meant_by_the_name_they_had_and_by_the_one_they_have(old: str, new: str) -> None:
    assert asked(old) == asked(new)
    assert served(new)[0][0] == old
    assert served(new)[0][1].startswith(f"hf:{new}")


def test_a_name_is_a_preset_only_once() -> None:
    names = [plain(name) for preset in presets() for name in (preset.name, *preset.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("hf:org/name", "org/name"),
        ("hf:org/name@main", "org/name"),
        ("pypi:a-package==1.0#inside/model", "a-package"),
        ("file:/models/my-model", "my-model"),
        ("file:/models/my-model/", "my-model"),
        ("file:/models/mine@v2", "mine@v2"),
    ],
)
def test_a_source_without_a_name_is_served_under_its_own(word: str, name: str) -> None:
    assert served(word) == [(name, word)]


@pytest.mark.parametrize("source", ["hf:org/name", "pypi:a-package==1.0#inside/model", "file:/models/a=b"])
def test_a_name_before_an_equals_sign_is_what_it_is_served_under(source: str) -> None:
    assert served(f"mine={source}") == [("mine", source)]
    assert served(source)[0][1] == source


def test_a_folder_needs_no_scheme(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    folder = str(tmp_path / "my-model")
    assert served(folder) == [("my-model", folder)]
    assert served(f"mine={folder}") == [("mine", folder)]


def test_the_current_folder_is_served_under_its_real_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert served(".") == [(tmp_path.name, ".")]


def test_a_word_that_means_nothing_is_refused_with_what_would(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as refused:
        asked("all-MiniLM")
    assert "'all-MiniLM' is neither a preset" in refused.value.message
    assert EMBEDDER in refused.value.message
    assert "hf:org/name" in refused.value.message


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(SettingError, match="names 'mine' twice"):
        asked("mine=hf:a/b", "mine=hf:c/d")
    with pytest.raises(SettingError, match="twice"):
        asked("default", EMBEDDER)


def test_a_model_path_stands_in_for_the_models(tmp_path: Path) -> None:
    assert served(EMBEDDER, model_path=str(tmp_path)) == [(tmp_path.name, f"file:{tmp_path}")]


def test_a_served_name_renames_a_single_model_and_adds_aliases() -> None:
    spec = asked(RERANKER, served_model_name="mine, also-mine ,")[0]
    assert spec.name == "mine"
    assert spec.aliases == ("also-mine", "all-MiniLM-L6-v2-rerank")
    assert spec.source == presets()[1].source


def test_a_served_name_for_several_models_is_refused() -> None:
    with pytest.raises(SettingError, match="needs exactly one model, and 2 are asked for"):
        asked(served_model_name="mine")


def test_a_served_name_of_commas_is_refused() -> None:
    with pytest.raises(SettingError, match="EMBERANK_SERVED_MODEL_NAME"):
        asked(EMBEDDER, served_model_name=" , ")


def from_file(tmp_path: Path, content: object) -> tuple[ModelSpec, ...]:
    path = tmp_path / "models.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return specs(RuntimeSettings(model_file=str(path)))


def test_a_model_file_takes_the_place_of_the_models_that_are_named(tmp_path: Path) -> None:
    entry = {"name": "me/mine", "aliases": ["mine"], "source": "file:/x", "task": "rank", "sha256": {"model.safetensors": "00"}}
    golden = {"query": "q", "passages": ["a", "b"], "scores": [1.0, 0.0], "tolerance": 0.1}
    (spec,) = from_file(tmp_path, {"model": [entry | {"golden": golden, "dimensions": [64, 128], "max_tokens": 4096}]})
    assert (spec.dimensions, spec.max_tokens) == ((64, 128), 4096)
    assert (spec.name, spec.aliases, spec.source, spec.task) == ("me/mine", ("mine",), "file:/x", "rank")
    assert spec.golden == Golden(query="q", passages=("a", "b"), scores=(1.0, 0.0), tolerance=0.1)


def test_an_entry_on_a_preset_takes_from_it_what_it_does_not_say_itself(tmp_path: Path) -> None:
    preset = presets()[0]
    (spec,) = from_file(tmp_path, {"model": [{"name": "other", "aliases": ["x"], "preset": preset.aliases[0]}]})
    assert (spec.name, spec.aliases) == ("other", ("x",))
    assert (spec.source, spec.sha256, spec.golden) == (preset.source, preset.sha256, preset.golden)


def test_a_calibration_is_two_numbers_and_holds_for_the_presets_own_weights_and_head_only(tmp_path: Path) -> None:
    preset = presets()[1]
    assert preset.calibration is not None
    own: dict[str, object] = {"name": "mine", "preset": RERANKER}

    def read(**more: object) -> tuple[float, float] | None:
        (spec,) = from_file(tmp_path, {"model": [own | more]})
        return spec.calibration

    assert read() == read(head="late_interaction", source=preset.source) == preset.calibration
    assert read(source="file:/tuned") is None
    assert read(head="auto") is None
    assert read(calibration=None) is None
    assert read(source="file:/tuned", calibration=[2, -1]) == (2.0, -1.0)


@pytest.mark.parametrize("wrong", [[1], [1, 2, 3], [0, 1], [-1, 0], ["1", 0], [True, 0], {"slope": 1}, 1.5, [1e999, 0]])
def test_a_calibration_that_would_turn_the_order_or_is_no_pair_of_numbers_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(SettingError, match=r"calibration .* has to be two numbers, slope and intercept, and the slope greater than 0"):
        from_file(tmp_path, {"model": [{"name": "x", "source": "file:/x", "calibration": wrong}]})
    with pytest.raises(SettingError, match="a calibration is of a reranker's scores"):
        from_file(tmp_path, {"model": [{"name": "x", "source": "file:/x", "task": "embed", "calibration": [1, 0]}]})


@pytest.mark.parametrize(
    "content", ["{", "[]", {"models": []}, {"model": [{"preset": "nobody"}]}, {"model": [{"name": "x"}]}, {"model": [{"name": "x", "source": "y", "zzz": 1}]}]
)
def test_a_broken_model_file_is_one_clear_line(tmp_path: Path, content: object) -> None:
    with pytest.raises(SettingError, match="EMBERANK_MODEL_FILE"):
        from_file(tmp_path, content)


def test_a_model_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        specs(RuntimeSettings(model_file=str(tmp_path / "none.json")))
