"""A version's calibration in models.toml: what is refused and how it is said, what carries it on, and what drops it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emberank.contract.errors import SettingError
from emberank.contract.fleet import Revisions, Snapshot
from emberank.dialects.fleet import decode_snapshot, encode
from emberank.forge.catalog import Calibration, Catalog, Model, Version, launch_spec
from emberank.forge.catalog_file import model_table, overlaid, shipped
from emberank.forge.snapshot import model_row
from emberank.forge.toml_text import emit
from emberank.runtime.presets import presets

DATA = "acme tickets, 90 queries, n = 4000 pairs"
FITTED = Calibration(slope=0.8, intercept=-1.25, data=DATA, date="2026-11-21", prevalence=0.08, brier=0.05, ece=0.01)
TABLE = f'{{ slope = 0.8, intercept = -1.25, data = "{DATA}", date = 2026-11-21, prevalence = 0.08, brier = 0.05, ece = 0.01 }}'


def entry(calibration: str, task: str = "rank") -> str:
    head = f'[[model]]\nslug = "acme"\nid = "acme/ranks"\ntitle = "Acme"\ntask = "{task}"\n'
    return f'{head}[[model.version]]\nname = "v1"\nsource = "hf:acme/ranks"\ncalibration = {calibration}\n'


def read(text: str, base: tuple[Model, ...] = ()) -> Model:
    return next(model for model in overlaid(base, text, "models.toml") if model.slug == "acme")


def refused(text: str, base: tuple[Model, ...] = ()) -> str:
    with pytest.raises(SettingError) as caught:
        overlaid(base, text, "models.toml")
    assert "\n" not in caught.value.message
    return caught.value.message


BASE = (read(entry(TABLE)),)


def extended(version: str) -> Version:
    return read(f'[[model]]\nextends = "acme"\n[[model.version]]\nname = "v1"\n{version}\n', BASE).versions[0]


def test_every_field_is_read_and_only_slope_intercept_and_data_are_needed() -> None:
    assert BASE[0].versions[0].calibration == FITTED
    assert read(entry('{ slope = 2, intercept = 0, data = "d" }')).versions[0].calibration == Calibration(slope=2.0, intercept=0.0, data="d")


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("{ slope = 0, intercept = 0, data = 'd' }", "slope", "has to be a number greater than 0 and at most 1e+06, not 0"),
        ("{ slope = -0.5, intercept = 0, data = 'd' }", "slope", "greater than 0"),
        ("{ slope = nan, intercept = 0, data = 'd' }", "slope", "not nan"),
        ("{ slope = inf, intercept = 0, data = 'd' }", "slope", "not inf"),
        ("{ slope = '1', intercept = 0, data = 'd' }", "slope", "not '1'"),
        ("{ slope = true, intercept = 0, data = 'd' }", "slope", "not True"),
        ("{ intercept = 0, data = 'd' }", "slope", "is missing"),
        ("{ slope = 1, intercept = -inf, data = 'd' }", "intercept", "not -inf"),
        ("{ slope = 1, intercept = nan, data = 'd' }", "intercept", "not nan"),
        ("{ slope = 1, data = 'd' }", "intercept", "is missing"),
        ("{ slope = 1, intercept = 0 }", "data", "is missing"),
        ("{ slope = 1, intercept = 0, data = '  ' }", "data", "has to be a text"),
        ("{ slope = 1, intercept = 0, data = 'd', ece = 1.5 }", "ece", "at most 1, not 1.5"),
        ("{ slope = 1, intercept = 0, data = 'd', brier = -0.1 }", "brier", "has to be a number from 0 to 1, not -0.1"),
        ("{ slope = 1, intercept = 0, data = 'd', date = 'yesterday' }", "date", "has to be a date"),
        ("{ slope = 1, intercept = 0, data = 'd', slop = 1 }", "slop", "is not a known key; is `slope` meant?"),
        ("[1, 0]", "calibration", "has to be a table"),
        ("true", "calibration", "has to be a table, not True"),
    ],
)
def test_what_is_wrong_is_said_with_file_entry_and_key(table: str, key: str, said: str) -> None:
    message = refused(entry(table))
    assert message.startswith("models.toml: [[model]] 'acme': [[version]] 'v1': ")
    assert f"`{key}` " in message
    assert said in message


def test_an_embedder_has_no_scores_to_calibrate() -> None:
    assert "holds a `calibration`, which is of a reranker's scores; the task is 'embed'" in refused(entry(TABLE, task="embed"))


def test_it_reads_back_as_it_was_written() -> None:
    assert read(emit(model_table(BASE[0]), entry="model")) == BASE[0]


# extends


@pytest.mark.parametrize("change", ["idle_after_s = 60", 'source = "hf:acme/ranks"', 'head = "auto"', 'settings = { precision = "int8" }'])
def test_it_stays_while_the_weights_and_the_head_are_the_same(change: str) -> None:
    assert extended(change).calibration == FITTED


@pytest.mark.parametrize("change", ['source = "hf:acme/ranks@next"', 'source = "file:/mirror"', 'head = "late_interaction"', "calibration = false"])
def test_another_source_or_head_drops_it_and_so_does_false(change: str) -> None:
    assert extended(change).calibration is None


def test_for_a_mirror_it_can_be_kept_and_for_other_weights_given_anew() -> None:
    assert extended('source = "file:/mirror"\ncalibration = true').calibration == FITTED
    anew = extended('source = "file:/tuned"\ncalibration = { slope = 1.5, intercept = 0.5, data = "ours" }').calibration
    assert anew == Calibration(slope=1.5, intercept=0.5, data="ours")


def test_there_has_to_be_one_to_keep() -> None:
    plain = (replace(BASE[0], versions=(Version(name="v1", source="hf:acme/ranks"),)),)
    said = refused('[[model]]\nextends = "acme"\n[[model.version]]\nname = "v1"\ncalibration = true\n', plain)
    assert said.endswith("`calibration` is true, and the version that is changed has none to keep")


def test_a_version_beside_it_has_none() -> None:
    both = read('[[model]]\nextends = "acme"\n[[model.version]]\nname = "v2"\nsource = "hf:acme/ranks2"\n', BASE)
    assert [version.calibration for version in both.versions] == [FITTED, None]


# who is told


def test_gateways_are_told_slope_and_intercept_across_the_wire() -> None:
    model = replace(BASE[0], versions=(*BASE[0].versions, Version(name="v2", source="x")))
    row = model_row(Catalog([model]), model, lambda model, version: ())
    assert [version.calibration for version in row.versions] == [(0.8, -1.25), None]
    sent = Snapshot(forge_id="f", revisions=Revisions(models=1), models=(row,))
    assert decode_snapshot(encode(sent)).models == (row,)


def test_a_runtime_is_told_and_the_shipped_ones_are_the_presets() -> None:
    assert launch_spec(BASE[0], BASE[0].versions[0])["calibration"] == [0.8, -1.25]
    known = {f"preset:{preset.name}": preset.calibration for preset in presets()}
    found = [(version.source, version.calibration) for model in shipped() for version in model.versions if version.source in known]
    assert len(found) >= 2
    for source, calibration in found:
        assert known[source] == (None if calibration is None else (calibration.slope, calibration.intercept))
    default = next(calibration for source, calibration in found if source.endswith("all-MiniLM-L6-v2-rerank"))
    assert default is not None
    assert default.data.startswith("cranfield qrels, 225 queries, n = 22471 pairs")
