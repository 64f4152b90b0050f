"""Which model a caller's name means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emberank.contract.errors import ModelNotFound, NotReady
from emberank.contract.inference import Task
from emberank.runtime.model import ServedModel
from emberank.runtime.presets import ModelSpec
from emberank.runtime.roster import Roster, plain


@pytest.fixture
def model(embedder: ServedModel) -> ServedModel:
    return embedder


def named(model: ServedModel, name: str, task: Task = "embed", *aliases: str) -> ServedModel:
    return replace(model, task=task, spec=ModelSpec(name=name, source="file:/", aliases=aliases))


@pytest.mark.parametrize("name", ["Llama-3.2-NV", " llama-3_2-nv", "llama_3-2.nv "])
def test_spellings_that_clients_mix_up_are_one_name(name: str) -> None:
    assert plain(name) == "llama-3-2-nv"


def test_a_model_answers_to_its_name_its_aliases_and_its_last_part(model: ServedModel) -> None:
    one = named(model, "acme/Tiny_Embed-v1.5", "embed", "pet")
    roster = Roster([named(model, "other"), one])
    for name in ("acme/Tiny_Embed-v1.5", "acme/tiny-embed-v1-5", "TINY_EMBED-V1.5", "pet", " Pet "):
        assert roster.resolve(name, "embed") is one
        assert roster.named(name) is one


@pytest.mark.parametrize("name", [None, "", "default", "default/not-specified"])
def test_no_name_means_the_first_model_for_the_task(model: ServedModel, name: str | None) -> None:
    models = [named(model, "r1", "rank"), named(model, "e1"), named(model, "e2"), named(model, "r2", "rank")]
    roster = Roster(models)
    assert roster.resolve(name, "embed") is models[1]
    assert roster.resolve(name, "rank") is models[0]


def test_one_name_may_mean_one_model_for_each_task(model: ServedModel) -> None:
    embeds, ranks = named(model, "a/same"), named(model, "b/same", "rank")
    roster = Roster([embeds, ranks])
    assert roster.resolve("same", "embed") is embeds
    assert roster.resolve("same", "rank") is ranks
    assert roster.named("same") is embeds


def test_where_two_models_share_a_name_the_first_has_it(model: ServedModel) -> None:
    first, second = named(model, "a/same"), named(model, "b/same")
    roster = Roster([first, second])
    assert roster.resolve("same", "embed") is first
    assert roster.resolve("b/same", "embed") is second


def test_an_unknown_name_is_answered_with_the_names_for_that_task(model: ServedModel) -> None:
    roster = Roster([named(model, "e1"), named(model, "e2"), named(model, "r1", "rank")])
    with pytest.raises(ModelNotFound) as refused:
        roster.resolve("e3", "embed")
    assert refused.value.message == "model 'e3' not found; available: 'e1', 'e2'"
    with pytest.raises(ModelNotFound) as anywhere:
        roster.named("e3")
    assert anywhere.value.message == "model 'e3' not found; available: 'e1', 'e2', 'r1'"


def test_a_model_for_another_task_is_not_found(model: ServedModel) -> None:
    roster = Roster([named(model, "e1")])
    for name in ("e1", None):
        with pytest.raises(ModelNotFound, match="available: none for this route"):
            roster.resolve(name, "rank")


@pytest.mark.parametrize("name", [None, "e1"])
def test_before_a_model_is_loaded_callers_are_told_to_come_back(name: str | None) -> None:
    roster = Roster()
    assert len(roster) == 0
    with pytest.raises(NotReady) as refused:
        roster.resolve(name, "embed")
    assert refused.value.retry_after_s == 1


@pytest.mark.parametrize(("name", "kind"), [("acme/e1-query", "query"), ("acme/e1-passage", "passage"), ("e1-query", "query"), ("acme/e1", None), (None, None)])
def test_an_ending_of_the_name_says_the_input_type(model: ServedModel, name: str | None, kind: str | None) -> None:
    one = named(model, "acme/e1")
    assert Roster([one]).resolve_embedder(name) == (one, kind)


def test_a_model_that_is_really_called_so_keeps_its_whole_name(model: ServedModel) -> None:
    base, longer = named(model, "e1"), named(model, "e1-query")
    assert Roster([base, longer]).resolve_embedder("e1-query") == (longer, None)


@pytest.mark.parametrize("name", ["r1-query", "e9-passage", "-query"])
def test_an_ending_alone_makes_no_model(model: ServedModel, name: str) -> None:
    with pytest.raises(ModelNotFound, match=f"model '{name}' not found"):
        Roster([named(model, "e1"), named(model, "r1", "rank")]).resolve_embedder(name)


def test_names_come_in_the_order_of_loading(model: ServedModel) -> None:
    roster = Roster([named(model, "z"), named(model, "r", "rank"), named(model, "a")])
    assert roster.names() == ("z", "r", "a")
    assert roster.names("embed") == ("z", "a")
    assert [one.name for one in roster] == ["z", "r", "a"]
