"""The playground as the server draws it: what it offers, to whom, within which limits, what hostile text can do there, and that its samples are taken as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from browser import Browser
from control_plane import ADMIN, MODELS, NVIDIA, Plane, probed
from emberank.contract.inference import Task
from emberank.dialects.forge import parse_embeddings, parse_ranking
from emberank.dialects.nim import Rules
from emberank.forge.catalog import Model, Version
from emberank.forge.web.playground.samples import samples_of
from emberank.settings import ForgeSettings, GatewaySettings, load
from emberank.up import environment_of, told
from markup import Markup
from wire import Client, Reply

Launch = Callable[..., Plane]
PAGE = f"/playground/{NVIDIA}"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}</template></textarea>"
EMBEDDER = Model(
    slug="shorter",
    id="acme/shorter",
    title="Shorter",
    description="An embedder.",
    task="embed",
    dimensions=1024,
    shorter_dimensions=(256, 512),
    modalities=("text", "image", "text_image"),
    versions=(Version(name="v1", source="hf:acme/shorter", memory_gb=0.1),),
)


class _Attributes(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def of(self, key: str, value: str) -> dict[str, str]:
        return next(attributes for _, attributes in self.elements if attributes.get(key) == value)


def page(client: Client, path: str = PAGE, status: int = 200) -> tuple[Markup, _Attributes, dict[str, Any]]:
    """The page, after checking its form: what it says, its elements, and what the script gets."""
    reply = client.get(path) if isinstance(client, Browser) else Client(client.port).get(path)
    assert reply.status == status, reply.body[:2000]
    return read(reply)


def read(reply: Reply) -> tuple[Markup, _Attributes, dict[str, Any]]:
    assert "script-src 'self'" in reply.headers["content-security-policy"]
    html = reply.body.decode()
    found, elements = Markup(html), _Attributes(html)
    assert found.faults == []
    assert not {name for name in found.attributes if name == "style" or name.startswith("on")}
    return found, elements, json.loads(elements.of("id", "playground")["data-playground"])


def options(elements: _Attributes, html: str, select: str) -> list[tuple[str, bool, bool]]:
    """The values of a select, which is chosen, and which cannot be."""
    rest = html.split(f'id="{select}"', 1)[1].split("</select>", 1)[0]
    return [(one["value"], "selected" in one, "disabled" in one) for tag, one in _Attributes(rest).elements if tag == "option"]


def test_the_page_has_a_filled_form_and_says_what_it_needs(plane: Plane) -> None:
    found, elements, about = page(plane)
    assert "Try it out cold" in found.text
    assert "Passages 3 of up to 512" in found.text
    assert "what is retrieval augmented generation?" in found.text
    assert "The playground needs a script, and this browser runs none." in found.text
    assert f"/models/{NVIDIA}#use" in found.links
    assert about["route"] == f"/v1/inference/{NVIDIA}"
    assert (about["task"], about["images"], about["dimensions"]) == ("rank", False, [])
    assert about["base"] == f"http://127.0.0.1:{plane.port}"
    assert {name for name in ("play-query", "play-items", "play-target", "play-run", "play-cancel", "play-answer") if found.ids[name] != 1} == set()
    assert elements.of("id", "play-run")["type"] == "submit"


def test_who_is_not_signed_in_may_fill_in_everything_and_is_led_back_by_the_sign_in(plane: Plane) -> None:
    found, _, about = page(plane, f"{PAGE}?version=v2")
    assert "Run asks you to sign in and brings you back with all of it." in found.text
    assert "Sign in and run" in found.text
    assert about["sign_in"] == f"/signin?next=%2Fplayground%2F{NVIDIA}%3Fversion%3Dv2"
    assert (about["signed_in"], about["may_run"], about["csrf"]) == (False, False, "")


def test_a_sign_in_from_the_model_page_leads_back_to_the_model_page(plane: Plane) -> None:
    found, _, about = page(plane, f"/models/{NVIDIA}?gpu_type=B200&region=us-central1")
    assert about["sign_in"].startswith(f"/signin?next=%2Fmodels%2F{NVIDIA}")
    assert f"{PAGE}?model_version=v1&gpu_type=B200&region=us-central1" in found.links


def test_who_is_signed_in_runs_with_the_sessions_own_token(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    reply = browser.get(PAGE)
    assert reply.headers["cache-control"] == "no-store"
    found, _, about = read(reply)
    assert (about["signed_in"], about["may_run"], about["csrf"]) == (True, True, browser.csrf)
    assert "Sign in and run" not in found.text


def test_a_key_without_the_scope_is_told_so_before_it_runs(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("read")["Authorization"].removeprefix("Bearer "))
    found, _, about = page(browser)
    assert "it lacks the scope inference" in found.text
    assert (about["signed_in"], about["may_run"]) == (True, False)


def test_where_no_sign_in_is_asked_for_everybody_runs(launch: Launch) -> None:
    _, _, about = page(launch(auth="none"))
    assert (about["signed_in"], about["may_run"], about["csrf"]) == (True, True, "")


def test_a_model_that_the_visitor_may_not_see_is_neither_shown_nor_offered_for_a_comparison(plane: Plane, browser: Browser) -> None:
    assert Client(plane.port).get("/playground/tiny-embed").status == 404
    own = (*MODELS, replace(EMBEDDER, source="yours"))
    assert not {slug for slug, _ in page(plane)[2]["others"]} & {one.slug for one in own if one.source == "yours"}
    browser.sign_in(ADMIN)
    assert browser.get("/playground/tiny-embed").status == 200
    browser.sign_in(plane.key("inference", models=[NVIDIA])["Authorization"].removeprefix("Bearer "))
    assert browser.get("/playground/huge").status == 404
    assert page(browser)[2]["others"] == []


def test_only_models_of_the_same_task_are_offered_and_the_one_in_the_address_is_chosen(launch: Launch) -> None:
    plane = launch(models=(*MODELS, EMBEDDER))
    html = Client(plane.port).get(f"{PAGE}?with=huge").body.decode()
    offered = options(_Attributes(html), html, "play-with")
    assert [value for value, _, _ in offered] == ["", NVIDIA, "huge"]
    assert [value for value, chosen, _ in offered if chosen] == ["huge"]
    assert "open" in _Attributes(html).of("id", "play-compare")


def test_a_comparison_with_the_same_model_is_in_the_address_too(launch: Launch) -> None:
    html = Client(launch(models=MODELS).port).get(f"{PAGE}?with={NVIDIA}").body.decode()
    assert [value for value, chosen, _ in options(_Attributes(html), html, "play-with") if chosen] == [NVIDIA]
    assert "open" in _Attributes(html).of("id", "play-compare")


def test_what_to_do_about_a_start_that_failed_is_there_before_one_does(plane: Plane) -> None:
    assert page(plane)[2]["remedies"]["out_of_memory"].startswith("Choose a target with more memory")


@pytest.mark.parametrize(("slug", "limit", "setting"), [(NVIDIA, 7, "gateway_max_passages"), ("shorter", 9, "gateway_max_inputs")])
def test_the_limit_on_the_page_is_the_gateways(launch: Launch, slug: str, limit: int, setting: str) -> None:
    plane = launch(models=(*MODELS, EMBEDDER), gateway_max_body_bytes=123_456, **{setting: limit})
    found, _, about = page(plane, f"/playground/{slug}")
    assert f"of up to {limit}" in found.text
    assert (about["limits"]["items"], about["limits"]["body_bytes"]) == (limit, 123_456)


def test_a_form_has_no_more_rows_than_a_browser_bears(launch: Launch) -> None:
    assert page(launch(gateway_max_passages=100_000))[2]["limits"]["items"] == 1000


def test_up_tells_its_forge_what_its_gateway_takes() -> None:
    given = told(ForgeSettings(), GatewaySettings(max_passages=7, max_inputs=8, max_body_bytes=9_000))
    known = load(environment_of(given, {}), {}, ForgeSettings)
    assert (known.gateway_max_passages, known.gateway_max_inputs, known.gateway_max_body_bytes) == (7, 8, 9_000)


def test_targets_are_offered_with_how_they_stand_and_what_cannot_run_cannot_be_chosen(launch: Launch) -> None:
    plane = launch(samples=probed([186.0] * 10))
    html = Client(plane.port).get(f"{PAGE}?gpu_type=B200&region=us-central1").body.decode()
    offered = options(_Attributes(html), html, "play-target")
    assert [value for value, chosen, _ in offered if chosen] == ["B200/us-central1"]
    assert [value for value, _, impossible in offered if impossible] == ["H200/eu-north2"]
    assert "B200 in us-central1 · works" in html
    assert "H200 in eu-north2 · cannot run here" in html
    (v1, v2) = page(plane)[2]["versions"]
    assert [one["name"] for one in v1["targets"] if one["runnable"]] == ["B200/us-central1", "CPU/local"]
    assert (v1["calibrated"], v2["calibrated"]) == (True, False)


def test_a_version_without_a_calibration_offers_no_calibrated_scores(plane: Plane) -> None:
    for version, missing in (("v1", False), ("v2", True)):
        html = Client(plane.port).get(f"{PAGE}?version={version}").body.decode()
        assert [value for value, _, impossible in options(_Attributes(html), html, "play-scale") if impossible] == (["calibrated"] if missing else [])


def test_what_the_address_asks_for_and_nobody_knows_is_said_and_the_form_is_there(plane: Plane) -> None:
    found, _, _ = page(plane, f"{PAGE}?gpu_type=H9000", status=404)
    assert "gpu_type 'H9000' is not known here" in found.text
    assert found.ids["play-form"] == 1


def test_another_name_leads_to_the_page_with_its_query_and_no_name_to_the_first_model(plane: Plane) -> None:
    reply = Client(plane.port).get("/playground/llama-3_2-nv-rerankqa-1b-v2?with=huge")
    assert (reply.status, reply.headers["location"]) == (307, f"{PAGE}?with=huge")
    reply = Client(plane.port).get("/playground")
    assert (reply.status, reply.headers["location"]) == (307, PAGE)
    assert "No such model" in Client(plane.port).get("/playground/no-such-thing").body.decode()


def test_an_embedder_has_inputs_their_type_and_the_lengths_that_its_vectors_may_have(launch: Launch) -> None:
    plane = launch(models=(EMBEDDER,))
    html = Client(plane.port).get("/playground/shorter").body.decode()
    found, elements, about = page(plane, "/playground/shorter")
    assert [value for value, _, _ in options(elements, html, "play-dimensions")] == ["", "512", "256"]
    assert [value for value, _, _ in options(elements, html, "play-input-type")] == ["passage", "query"]
    assert found.ids["play-query"] == found.ids["play-scale"] == found.ids["play-chunks"] == 0
    assert "Add images…" in found.text
    assert about["images"]


def test_hostile_text_of_the_catalogue_is_shown_and_does_nothing(launch: Launch) -> None:
    version = replace(MODELS[0].versions[0], calibration=None)
    plane = launch(models=(replace(MODELS[0], title=HOSTILE, versions=(version,)), replace(MODELS[2], title=HOSTILE)))
    quiet = Markup(Client(plane.port).get("/playground/no-such-model").body.decode()).tags
    for path in (PAGE, f"{PAGE}?with=%3Cscript%3E", "/playground/huge?version=%22%3E%3Cimg%3E"):
        reply = Client(plane.port).get(path)
        found, _, about = read(reply)
        assert found.tags["img"] == quiet["img"] == 1  # the wordmark's
        assert found.tags["script"] == quiet["script"] + 1  # the playground's own
        assert found.tags["template"] == 1
        assert about["title"] == HOSTILE
        assert HOSTILE in found.text


@pytest.mark.parametrize("task", ["rank", "embed"])
def test_every_sample_is_taken_by_the_native_route_as_it_is(task: Task) -> None:
    rules = Rules(ranking_unknown_fields="reject", embeddings_unknown_fields="reject")
    samples = samples_of(task)
    assert len({sample.id for sample in samples}) == len(samples) >= 3
    for sample in samples:
        body: dict[str, Any]
        if task == "rank":
            body = {"query": {"text": sample.query}, "passages": [{"text": text} for text in sample.items], "truncate": "END"}
            body |= {name: int(sample.options[key]) for key, name in (("chunks", "max_chunks_per_doc"), ("cut", "max_tokens_per_doc")) if key in sample.options}
            call = parse_ranking(json.dumps(body).encode(), rules).call
            assert [one.text for one in call.passages] == list(sample.items)
        else:
            body = {"input": list(sample.items), "input_type": "passage", "truncate": "END"}
            assert [one.text for one in parse_embeddings(json.dumps(body).encode(), rules).call.inputs] == list(sample.items)


def test_one_sample_has_documents_that_are_read_in_pieces() -> None:
    long = next(sample for sample in samples_of("rank") if sample.options)
    assert max(len(text) for text in long.items) > 1_000
    assert long.options == {"chunks": "20", "cut": "64"}
