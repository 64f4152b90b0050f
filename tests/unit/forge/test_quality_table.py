"""A version's quality figures in models.toml: what is read, what is refused and how it is said, and what drops them."""

from __future__ import annotations

import pytest

from control_plane import Plane
from emberank.contract.errors import SettingError
from emberank.forge.catalog import Model, Quality
from emberank.forge.catalog_file import model_table, overlaid, shipped
from emberank.forge.toml_text import emit

FIGURE = Quality(metric="nDCG@10", value=0.41, data="Cranfield", queries=225, how="the best 100 of BM25", source="ours", date="2026-11-21")
TABLE = 'metric = "nDCG@10"\nvalue = 0.41\ndata = "Cranfield"\nqueries = 225\nhow = "the best 100 of BM25"\nsource = "ours"\ndate = 2026-11-21\n'
ENTRY = '[[model]]\nslug = "acme"\nid = "acme/ranks"\ntitle = "Acme"\ntask = "rank"\n[[model.version]]\nname = "v1"\nsource = "hf:acme/ranks"\n'


def read(text: str, base: tuple[Model, ...] = ()) -> Model:
    return next(model for model in overlaid(base, text, "models.toml") if model.slug == "acme")


BASE = (read(ENTRY + "[[model.version.quality]]\n" + TABLE),)


def extended(version: str) -> tuple[Quality, ...]:
    return read(f'[[model]]\nextends = "acme"\n[[model.version]]\nname = "v1"\n{version}\n', BASE).versions[0].quality


def test_figures_are_read_in_their_order_and_written_so_that_they_read_back() -> None:
    two = read(ENTRY + ("[[model.version.quality]]\n" + TABLE) * 2)
    assert two.versions[0].quality == (FIGURE, FIGURE)
    assert read(emit(model_table(two), entry="model")) == two


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("value = 0.41", "value = 1.2"), "at most 1"),
        (("value = 0.41", "value = -0.2"), "from 0 to 1, not -0.2"),
        (("value = 0.41", "value = nan"), "not nan"),
        (("queries = 225", "queries = 0"), "queries"),
        (('how = "the best 100 of BM25"\n', ""), "`how` is missing"),
        (('source = "ours"\n', ""), "`source` is missing"),
        (("date = 2026-11-21", ""), "`date` is missing"),
        (("metric", "metrics"), "metric"),
    ],
)
def test_a_figure_that_does_not_say_what_it_is_of_is_refused(changed: tuple[str, str], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(ENTRY + "[[model.version.quality]]\n" + TABLE.replace(*changed))
    assert said in caught.value.message
    assert "acme" in caught.value.message


@pytest.mark.parametrize("change", ['note = "x"', 'source = "hf:acme/ranks"', "idle_after_s = 60"])
def test_a_change_that_leaves_the_weights_keeps_their_figures(change: str) -> None:
    assert extended(change) == (FIGURE,)


@pytest.mark.parametrize("change", ['source = "hf:acme/other"', 'head = "late_interaction"'])
def test_other_weights_or_another_head_have_no_figures_until_somebody_measures_them(change: str) -> None:
    assert extended(change) == ()


def test_what_ships_has_figures_only_of_the_models_that_were_measured() -> None:
    found = {model.slug: figure for model in shipped() for version in model.versions for figure in version.quality}
    assert {slug: figure.value for slug, figure in found.items()} == {"all-minilm-l6-v2": 0.3736, "all-minilm-l6-v2-rerank": 0.4154}
    assert all((figure.metric, figure.data, figure.queries) == ("nDCG@10", "Cranfield", 225) for figure in found.values())


def test_the_api_tells_them_with_the_version(launch: object) -> None:
    plane: Plane = launch(models=BASE)  # type: ignore[operator]
    (version,) = plane.get("/v1/models/acme").json["versions"]
    assert version["quality"] == [
        {"metric": "nDCG@10", "value": 0.41, "data": "Cranfield", "queries": 225, "how": "the best 100 of BM25", "source": "ours", "date": "2026-11-21"}
    ]
