"""models.toml: the shipped one is whole and true to its sources, and a user's own says exactly what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import astuple, replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.contract.errors import SettingError
from emberank.forge.catalog import Catalog, Golden, Model, Version, plain
from emberank.forge.catalog_file import load_catalog, model_table, overlaid, shipped, with_published
from emberank.forge.target_files import gpu_types, load_pools, load_prices, read_pools
from emberank.forge.targets import targets_of
from emberank.forge.toml_text import emit
from emberank.runtime.presets import ModelSpec, defaults, presets
from emberank.runtime.published_shapes import PublishedShape, shapes
from emberank.runtime.sources.base import parse_source

NVIDIA = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
SHIPPED = shipped()
OWN = """
[[model]]
slug = "acme-reranker"
id = "acme/reranker"
title = "Acme"
task = "rank"
[[model.version]]
name = "v1"
source = "hf:acme/reranker"
"""


def one(text: str, base: tuple[Model, ...] = ()) -> Model:
    return overlaid(base, text, "models.toml")[-1]


def refused(text: str, base: tuple[Model, ...] = ()) -> str:
    with pytest.raises(SettingError) as caught:
        overlaid(base, text, "models.toml")
    assert "\n" not in caught.value.message
    return caught.value.message


def extended(changes: str, slug: str = NVIDIA) -> Model:
    models = overlaid(SHIPPED, f'[[model]]\nextends = "{slug}"\n{changes}', "models.toml")
    assert [model.slug for model in models] == [model.slug for model in SHIPPED]
    return next(model for model in models if model.slug == slug)


@pytest.fixture
def nvidia() -> Model:
    return next(model for model in SHIPPED if model.slug == NVIDIA)


# the shipped file


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.slug)
def test_every_shipped_entry_has_what_its_page_shows(model: Model) -> None:
    assert model.title
    assert len(model.description) > 20
    assert model.category == "General"
    assert model.source in ("emberank", "nvidia_nim", "huggingface")
    assert date(2026, 4, 28) <= date.fromisoformat(model.added) <= date(2026, 11, 21)
    assert ("embedding" if model.task == "embed" else "rerank") in model.tags
    assert model.context_tokens
    assert (model.dimensions is not None) == (model.task == "embed")
    assert model.dtype in ("", "BF16", "FP32", "FP16")
    assert [version.name for version in model.versions] == ["v1"]


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.slug)
def test_every_shipped_source_is_one_that_the_runtime_can_fetch_and_what_cannot_run_says_so(model: Model) -> None:
    (version,) = model.versions
    if version.source.startswith("preset:"):
        assert version.source.removeprefix("preset:") in [preset.name for preset in presets()]
    else:
        assert parse_source(version.source).scheme == "hf"
    assert version.note.startswith("Cannot run yet") == ("qwen3-embedding" in model.slug or "nemotron-3" in model.slug)
    assert not re.search(r"soon|will |20\d\d", version.note)


@pytest.mark.parametrize("model", [model for model in SHIPPED if model.source == "nvidia_nim"], ids=lambda model: model.slug)
def test_nvidias_entries_say_what_was_not_tried_and_what_they_take(model: Model) -> None:
    (version,) = model.versions
    assert "not run" in version.note or "not certain" in version.note
    assert "docs/howto/" in version.note
    images = "vl-1b" in model.slug
    assert ("vision" in model.tags) == images
    assert model.modalities == (("text", "image", "text_image") if images else ("text",))
    if model.task == "embed" and "nemotron-3" not in model.slug:
        assert (*model.shorter_dimensions, model.dimensions) == ((128, 256, 384, 512, 768, 1024, 1536, 2048) if images else (384, 512, 768, 1024, 2048))


@pytest.mark.parametrize("shape", shapes(), ids=lambda shape: shape.id)
def test_an_entry_counts_its_parameters_as_the_published_shape_has_them(shape: PublishedShape) -> None:
    model = Catalog(SHIPPED).resolve(shape.id)
    assert model.id == shape.id
    if shape.parameters is not None and model.parameters is not None:
        assert model.parameters == pytest.approx(shape.parameters, rel=0.01)
    if shape.sentence_transformers is not None:
        assert model.dimensions == shape.sentence_transformers.dimensions


def test_the_default_models_are_true_to_their_presets() -> None:
    for preset, model in zip(defaults(), SHIPPED, strict=False):
        assert model.versions[0].source == f"preset:{preset.name}"
        assert (model.id, model.task, model.versions[0].head) == (preset.name, preset.task, preset.head)
        assert preset.golden is not None
        assert model.golden == Golden(
            query=preset.golden.query, passages=preset.golden.passages, scores=preset.golden.scores, tolerance=preset.golden.tolerance
        )


@pytest.mark.parametrize("preset", [preset for preset in presets() if not preset.default], ids=lambda preset: preset.name)
def test_a_preset_that_is_fetched_from_the_hub_is_the_catalogues(preset: ModelSpec) -> None:
    model = Catalog(SHIPPED).resolve(preset.name)
    assert (model.id, model.task, model.versions[0].source) == (preset.name, preset.task, preset.source)
    assert {plain(name) for name in preset.aliases} <= {plain(name) for name in Catalog(SHIPPED).names(model)}
    assert (model.golden and astuple(model.golden)) == (preset.golden and astuple(preset.golden))


def test_the_pages_model_is_as_the_page_says(nvidia: Model) -> None:
    assert nvidia.title == "NVIDIA Llama 3.2 NV-RerankQA 1B v2"
    assert nvidia.id == "nvidia/llama-3.2-nv-rerankqa-1b-v2"
    assert (nvidia.source, nvidia.added, nvidia.dtype) == ("nvidia_nim", "2026-04-28", "BF16")
    assert nvidia.licenses == ("nvidia-open-model-license", "llama-3.2-community-license")
    assert {"retrieval", "rerank", "nvidia-nim"} <= set(nvidia.tags)
    assert (nvidia.context_tokens, nvidia.min_memory_gb) == (8192, 24)


def test_nvidias_golden_example_is_the_model_cards_best_first(nvidia: Model) -> None:
    assert nvidia.golden is not None
    assert nvidia.golden.scores == (20.625, -0.2617, -23.125)
    assert [passage.split()[0] for passage in nvidia.golden.passages] == ["As", "Calorie", "Definition"]
    # The passages of the card have two spaces after some numbers: they are tokens.
    assert "1  the highest point" in nvidia.golden.passages[2]


def test_the_published_table_is_the_pages_row_by_row(nvidia: Model) -> None:
    rows = {(row.gpu_type, row.region): row for row in nvidia.versions[0].published}
    figures = {
        at: (row.status, row.memory_gb, row.cold_start_s, row.model_ms_p50, row.model_ms_p95, row.model_ms_p99, row.n, row.tokens_per_s)
        for at, row in rows.items()
    }
    assert figures == {
        ("B200", "us-central1"): ("works", 22.6, 93, 186, 189, None, 10, 435),
        ("B300", "uk-south1"): ("unavailable", 3.8, 20.9, None, None, None, None, None),
        ("H100", ""): ("not probed", None, None, None, None, None, None, None),
        ("H200", "eu-north2"): ("works", 15.2, 11.0, 574, 892, 920, 2, 365),
        ("H200", "us-central1"): ("unavailable", 1.9, 11.0, None, None, None, None, None),
        ("L40S", "eu-north1"): ("works", 15.1, 15.1, 35, 638, 692, 3, 2382),
        ("RTX6000", "us-central1"): ("works", 15.3, 12.0, 455, None, None, 1, 178),
    }
    assert {at for at, row in rows.items() if row.cold_start_first_run} == {("B300", "uk-south1"), ("H200", "us-central1")}
    assert {row.published for row in rows.values()} == {"2026-04-28"}
    assert all("Forge catalogue page" in row.source for row in rows.values())


def test_nothing_is_published_of_other_models() -> None:
    assert [model.slug for model in SHIPPED if any(version.published for version in model.versions)] == [NVIDIA]


# a user's own


def test_an_entry_needs_little_and_says_the_rest_by_default() -> None:
    assert one(OWN) == Model(
        slug="acme-reranker",
        id="acme/reranker",
        title="Acme",
        description="",
        task="rank",
        source="yours",
        versions=(Version(name="v1", source="hf:acme/reranker"),),
    )


def test_a_new_model_comes_after_the_shipped_ones_and_a_known_slug_takes_its_place() -> None:
    slugs = [model.slug for model in SHIPPED]
    assert [model.slug for model in overlaid(SHIPPED, OWN, "m")] == [*slugs, "acme-reranker"]
    replaced = overlaid(SHIPPED, OWN.replace("acme-reranker", "baai-bge-m3"), "m")
    assert [model.slug for model in replaced] == slugs
    assert next(model for model in replaced if model.slug == "baai-bge-m3").id == "acme/reranker"


def test_the_users_file_is_read_from_the_data_folder_and_need_not_be_there(tmp_path: Path) -> None:
    assert len(load_catalog(tmp_path)) == len(SHIPPED)
    (tmp_path / "models.toml").write_text(OWN)
    assert load_catalog(tmp_path).resolve("reranker").slug == "acme-reranker"


def test_single_fields_are_overridden_and_the_rest_stays(nvidia: Model) -> None:
    changed = extended('title = "Ours"\ntags = ["x"]\n[model.links]\nWiki = "https://wiki.example"')
    assert changed == replace(nvidia, title="Ours", tags=("x",), links={**nvidia.links, "Wiki": "https://wiki.example"})


def test_a_versions_fields_are_overridden_by_its_name_and_what_was_published_stays(nvidia: Model) -> None:
    changed = extended('[[model.version]]\nname = "v1"\nidle_after_s = 60\n[model.version.settings]\nprecision = "int8"\nthreads = 2')
    version = replace(nvidia.versions[0], idle_after_s=60.0, settings={"precision": "int8", "threads": "2"})
    assert changed == replace(nvidia, versions=(version,))
    assert len(changed.versions[0].published) == 7


def test_another_version_stands_behind_the_known_ones_unless_it_is_the_default() -> None:
    more = '[[model.version]]\nname = "v2"\nsource = "file:/tuned"'
    assert [version.name for version in extended(more).versions] == ["v1", "v2"]
    first = extended(f'default_version = "v2"\n{more}')
    assert [version.name for version in first.versions] == ["v2", "v1"]
    assert len(first.versions[1].published) == 7
    assert first.golden is not None


def test_another_source_leaves_hashes_and_golden_example_of_the_old_one_behind() -> None:
    base = overlaid((), OWN + f'sha256 = {{ "model.safetensors" = "{"0" * 64}" }}\n[model.golden]\nquery = "q"\npassages = ["a", "b"]', "m")
    assert base[0].golden is not None
    for said, kept in (("", False), ("golden = true", True), ("golden = false", False)):
        change = f'[[model]]\nextends = "acme-reranker"\n{said}\n[[model.version]]\nname = "v1"\nsource = "file:/mirror"'
        changed = one(change, base)
        assert (changed.golden == base[0].golden) == kept
        assert changed.versions[0].sha256 == {}
    same = one('[[model]]\nextends = "acme-reranker"\n[[model.version]]\nname = "v1"\nsource = "hf:acme/reranker"', base)
    assert same.golden == base[0].golden
    own = one(
        '[[model]]\nextends = "acme-reranker"\n[model.golden]\nquery = "w"\npassages = ["c", "d"]\n[[model.version]]\nname = "v1"\nsource = "file:/m"', base
    )
    assert own.golden == Golden(query="w", passages=("c", "d"))
    dropped = one('[[model]]\nextends = "acme-reranker"\ngolden = false', base)
    assert dropped.golden is None


def test_what_a_file_adds_it_can_extend_further_down() -> None:
    models = overlaid((), OWN + '[[model]]\nextends = "acme-reranker"\ntitle = "Later"', "m")
    assert [model.title for model in models] == ["Later"]


def test_a_server_of_ones_own_may_answer_for_a_model_of_the_catalogue() -> None:
    changed = extended('[[model.version]]\nname = "v1"\nsource = "nim:https://nim.example:8000"\nsettings = { api_key_env = "NGC_API_KEY", served_name = "m" }')
    assert changed.versions[0].settings == {"api_key_env": "NGC_API_KEY", "served_name": "m"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Acme"', 'titel = "Acme"', "`title` is missing"),
        ('title = "Acme"', 'title = "Acme"\ncontxt_tokens = 1', "`contxt_tokens` is not a known key; is `context_tokens` meant? Known: added, aliases"),
        ('title = "Acme"', "title = 7", "`title` has to be a text in quotes, not 7"),
        ('title = "Acme"', 'title = " "', "`title` has to be a text, not ' '"),
        ('"acme-reranker"', '"Acme Reranker"', "`slug` is 'Acme Reranker'; it has to be lower-case"),
        ('"acme/reranker"', '"acme / reranker"', "`id` is 'acme / reranker'"),
        ('task = "rank"', 'task = "score"', "`task` has to be one of 'rank', 'embed', not 'score'"),
        ('task = "rank"', 'task = "rank"\nadded = "tomorrow"', "`added` has to be a date such as 2026-11-21"),
        ('task = "rank"', 'task = "rank"\nadded = 2026-11-21T10:00:00', "`added` has to be a date"),
        ('task = "rank"', 'task = "rank"\naliases = "x"', "`aliases` has to be a list of texts"),
        ('task = "rank"', 'task = "rank"\naliases = ["x", "x"]', "`aliases` holds 'x' twice"),
        ('task = "rank"', 'task = "rank"\naliases = ["no good"]', "`aliases` holds 'no good'"),
        ('task = "rank"', 'task = "rank"\nparameters = 1.5', "`parameters` has to be a whole number"),
        ('task = "rank"', 'task = "rank"\ncontext_tokens = 0', "`context_tokens` has to be a whole number from 1"),
        ('task = "rank"', 'task = "rank"\nmodalities = ["sound"]', "`modalities` holds 'sound'; known: text, image, text_image"),
        ('task = "rank"', 'task = "rank"\nshorter_dimensions = [64]', "`shorter_dimensions` has to rise, and each to be less than `dimensions`, which is None"),
        ('task = "rank"', 'task = "rank"\ndimensions = 64\nshorter_dimensions = [32, 16]', "`shorter_dimensions` has to rise"),
        ('task = "rank"', 'task = "rank"\nshorter_dimensions = [0]', "`shorter_dimensions` has to be a list of whole numbers greater than 0"),
        ('task = "rank"', 'task = "rank"\nmin_memory_gb = true', "`min_memory_gb` has to be a number greater than 0"),
        ('task = "rank"', 'task = "rank"\nlinks = { Card = "card" }', "`links` says 'card' for 'Card'; it has to be a whole URL"),
        ('task = "rank"', 'task = "rank"\nlinks = ["https://x"]', "`links` has to be a table of texts"),
        ('task = "rank"', 'task = "rank"\ndefault_version = "v2"', "`default_version` is 'v2'; the versions are v1"),
        ('name = "v1"', 'name = ""', "`name` has to be a text"),
        ('name = "v1"', 'name = "v1"\nhead = "mean"', "`head` has to be one of 'auto', 'late_interaction'"),
        ('name = "v1"', 'name = "v1"\nsha256 = { "a" = "ABC" }', "`sha256` of 'a' has to be 64 lower-case hex digits"),
        ('name = "v1"', 'name = "v1"\nmemory_gb = 0', "`memory_gb` has to be a number greater than 0, not 0"),
        ('name = "v1"', 'name = "v1"\nidle_after_s = "1 h"', "`idle_after_s` has to be a number"),
        ('name = "v1"', 'name = "v1"\nsettings = { precison = "int8" }', "`settings` has no setting 'precison'; is 'precision' meant?"),
        ('name = "v1"', 'name = "v1"\nsettings = { precision = "int4" }', "`settings` cannot be: --precision='int4' must be one of"),
        ('name = "v1"', 'name = "v1"\nsettings = { port = 80 }', "`settings` cannot set 'port'"),
        ('"hf:acme/reranker"', '"acme/reranker"', "`source` is 'acme/reranker'; it has to be preset:NAME"),
        ('"hf:acme/reranker"', '"nim:nim.example"', "`source` is 'nim:nim.example'"),
        (
            '"hf:acme/reranker"',
            '"nim:http://n"\nsettings = { precision = "int8" }',
            "`settings` of a nim: source can be `api_key_env`, `served_name`, `max_passages`",
        ),
        ('"hf:acme/reranker"', '"nim:http://n"\nsettings = { api_key_env = "nvapi-123" }', "has to be the name of an environment variable"),
        ("[[model.version]]", "[model.version]", "`version` has to be a list of tables: [[version]]"),
        ("[[model.version]]", '[[model.version]]\nname = "V1"\nsource = "file:/x"\n[[model.version]]', "`version` holds two of the same name"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_entry_key_and_what_would_be_right(old: str, new: str, said: str) -> None:
    assert old in OWN
    message = refused(OWN.replace(old, new, 1))
    assert message.startswith("models.toml: [[model]] ")
    assert said in message


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        ('query = "q"', "`passages` is missing"),
        ('query = "q"\npassages = ["a"]', "`passages` is missing: a golden example is at least two passages"),
        ('passages = ["a", "b"]', "`query` is missing"),
        ('query = "q"\npassages = ["a", "b"]\nscores = [1.0]', "`scores` has to hold one number for each of the 2 passages"),
        ('query = "q"\npassages = ["a", "b"]\nscores = [1.0, 2.0]\ntolerance = 1', "`scores` has to fall from passage to passage"),
        ('query = "q"\npassages = ["a", "b"]\nscores = [2.0, 1.0]', "`tolerance` has to be a number greater than 0"),
        ('query = "q"\npassages = ["a", "b"]\nscores = ["2", "1"]', "`scores` has to be a list of numbers"),
        ('query = "q"\npassages = ["a", "b"]\nscore = [2]', "`score` is not a known key; is `scores` meant?"),
    ],
)
def test_a_golden_example_that_can_prove_nothing_is_refused(golden: str, said: str) -> None:
    message = refused(f"{OWN}[model.golden]\n{golden}")
    assert "[[model]] 'acme-reranker': golden" in message
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model", "models.toml is not TOML"),
        ("model = 1", "`model` has to be a list of tables: [[model]]"),
        ("[[models]]\n", "`models` is not a known key; is `model` meant?"),
        (OWN + OWN, "two entries with the slug 'acme-reranker'"),
        (OWN + OWN.replace('slug = "acme-', 'slug = "other-'), "models.toml: model 'other-reranker': the name 'acme/reranker' is already a name of"),
        ('[[model]]\nextends = "nobody"', "`extends` names 'nobody'; the slugs that can be extended: "),
        ('[[model]]\nslug = "x"', "`id` is missing"),
        (OWN + '[[model]]\nextends = "acme-reranker"\nslug = "x"', "`slug` cannot stand beside `extends`"),
        (OWN + '[[model]]\nextends = "acme-reranker"\n[[model.version]]\nname = "v2"', "`source` is missing"),
        (OWN + '[[model]]\nextends = "acme-reranker"\nprecision = "int8"', "`precision` is not a known key"),
        (OWN.partition("[[model.version]]")[0], "`version` is missing: write at least one [[model.version]]"),
    ],
)
def test_a_wrong_file_is_refused_with_what_would_be_right(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_file_that_cannot_be_read_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"models\.toml cannot be read"):
        load_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[published]]\nslug = "x"\nversion = "v1"\nsource = "s"\npublished = 2026-01-01', "the catalogue has no such version"),
        (f'[[published]]\nslug = "{NVIDIA}"\nversion = "v7"\nsource = "s"\npublished = 2026-01-01', "the catalogue has no such version"),
        (
            f'[[published]]\nslug = "{NVIDIA}"\nversion = "v1"\nsource = "s"\npublished = 2026-01-01\n[[published.row]]\ngpu_type = "T4"\nstatus = "fast"',
            "`status` has to be one of",
        ),
    ],
)
def test_figures_of_no_model_and_no_status_are_refused(text: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        with_published(SHIPPED, text, "published.toml")
    assert said in caught.value.message


# writing


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.slug)
def test_a_model_that_is_written_reads_back_as_itself(model: Model) -> None:
    unpublished = replace(model, versions=tuple(replace(version, published=()) for version in model.versions))
    assert one(emit(model_table(model), entry="model")) == unpublished


texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.dates()
values = st.recursive(scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3), max_leaves=8)


@given(st.dictionaries(texts, values, max_size=5), texts)
def test_any_table_reads_back_as_it_was_written(table: dict[str, Any], entry: str) -> None:
    text = emit(table, entry=entry)
    assert tomllib.loads(text) == {entry: [table]}
    assert tomllib.loads(text + text) == {entry: [table, table]}


@pytest.mark.parametrize("value", [None, object(), "\ud800"])
def test_what_toml_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="TOML"):
        emit({"key": value}, entry="model")


def test_every_data_file_is_in_the_package() -> None:
    names = {file.name for file in files("emberank.forge").joinpath("data").iterdir()}
    assert {"models.toml", "published.toml", "gpus.toml", "prices.toml"} <= names


# the page


PAGE = (Path(__file__).parents[3] / "docs/howto/catalogue.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n# (\w+\.toml)\n(.*?)```", PAGE, re.S)


def test_every_example_of_the_page_says_for_which_file_it_is() -> None:
    assert len(EXAMPLES) == PAGE.count("```toml") >= 6
    assert {file for file, _ in EXAMPLES} == {"models.toml", "pools.toml", "prices.toml"}


@pytest.mark.parametrize(("file", "text"), EXAMPLES)
def test_every_example_of_the_page_can_be_pasted(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert len(load_catalog(tmp_path)) >= len(SHIPPED)
    types = gpu_types()
    prices = load_prices(tmp_path, types)
    pools = load_pools(tmp_path, (), prices, types)
    assert len(pools) == text.count("[[pool]]")
    assert len(prices) == len(load_prices(types=types)) + ("CPU" in text and file == "prices.toml")


def test_the_pages_examples_do_what_it_says() -> None:
    text = "\n".join(example for file, example in EXAMPLES if file == "models.toml")
    catalog = Catalog(overlaid(SHIPPED, text, "models.toml"))
    assert catalog.resolve("acme-old-reranker").slug == "acme-reranker"
    assert catalog.resolve("acme/reranker").versions[0].settings == {"precision": "int8"}
    assert catalog.resolve("emberank/all-MiniLM-L6-v2-rerank").versions[0].idle_after_s == 3600
    mirrored = catalog.resolve(NVIDIA)
    assert mirrored.versions[0].source == "file:/mirror/llama-nemotron-rerank-1b-v2"
    assert mirrored.golden == next(model for model in SHIPPED if model.slug == NVIDIA).golden
    remote = catalog.resolve("llama-nemotron-rerank-vl-1b-v2")
    pools = [pool for file, example in EXAMPLES if file == "pools.toml" for pool in read_pools(example, file, gpu_types())]
    assert [str(offer.target) for offer in targets_of(remote, remote.versions[0], pools, {}) if offer.runnable] == ["H100 in rack-7"]
