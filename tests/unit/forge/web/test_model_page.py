"""`GET /models/{slug}`: the model page of seed and sample, what its links keep, what it says without data, and what hostile text can do there."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import control_plane
from browser import Browser
from control_plane import ADMIN, B200, GB, L40S, LOCAL, MODELS, NVIDIA, POOLS, Plane, price, probed, started
from emberank.forge.catalog import Catalog
from emberank.forge.catalog_file import shipped
from emberank.forge.samples import Sample
from emberank.forge.target_files import gpu_types, load_prices
from emberank.forge.targets import Pool
from markup import Markup
from wire import Client, Reply

Launch = Callable[..., Plane]
PAGE = f"/models/{NVIDIA}"
PINNED = f"{PAGE}?model_version=v1&gpu_type=B200&region=us-central1"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
SPREAD = [186.0 + i for i in range(-5, 5)]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The shipped catalogue with its published figures and prices, on three targets of which two are verified."""
    folder = tmp_path_factory.mktemp("seed")
    pools = (*POOLS, Pool(target=L40S, memory_bytes=48 * GB, slots=1, launcher="fake", devices=("0",), price=price(1.82)))
    samples = [*probed(SPREAD), *probed([35.0] * 30, L40S), *started([93_000.0, 91_000.0, 95_000.0])]
    samples += started([240_000.0], weights_from="network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control_plane, "PRICES", load_prices(folder, gpu_types()))
        plane = Plane(folder, samples=samples, models=shipped(), pools=pools)
        yield plane
        plane.stop()


def page(plane: Plane, path: str = PAGE, status: int = 200) -> Markup:
    """What a visitor without a session gets, after checking its form."""
    reply = Client(plane.port).get(path)
    assert reply.status == status, reply.body[:2000]
    return read(reply)


def read(reply: Reply) -> Markup:
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in reply.headers["content-security-policy"]
    html = reply.body.decode()
    found = Markup(html)
    assert found.faults == []
    assert not {name for name in found.attributes if name == "style" or name.startswith("on")}  # the policy would not have it
    assert not [link for link in found.links if link.lower().startswith(("javascript:", "data:"))]
    for svg in svgs(html):
        ElementTree.fromstring(svg)
    return found


def svgs(html: str) -> list[str]:
    return [f"<svg{piece.partition('</svg>')[0]}</svg>" for piece in html.split("<svg")[1:]]


FACTS = [
    "← Back to catalog",
    "General · nvidia_nim · nvidia-open-model-license; llama-3.2-community-license · Added Apr 28, 2026",
    "NVIDIA Llama 3.2 NV-RerankQA 1B v2",
    "text→ranking retrieval rerank nvidia-nim",
    "Deploy it yourself ↓ NVIDIA model card ↗",
    "API docs",
    "Selected target B200 in us-central1 Using your requested verified target.",
    "Context window 8,192 tokens",
    "Memory (VRAM) needed 15.1 GB Observed",
    f"API route POST /v1/inference/{NVIDIA}",
    "Weights dtype BF16",
    "stays warm for 15 minutes, then its memory is freed; the next request starts it again.",
    "Status cold Nothing runs",
    f"{NVIDIA} version v1 on B200 in us-central1",
    "HTTP method POST",
    f"Model field {NVIDIA}",
    "Version field model_version: v1",
    "GPU field gpu_type: B200",
    "Region field region: us-central1",
    "1 Verify target",
    "2 Validate target",
    "3 Estimate run",
    "4 Check runtime",
    "5 Prewarm target",
    "6 Open docs",
    "2 free GPUs · B200 in us-central1",
    "Authorization: Bearer $FORGE_API_KEY",
    "Runs on · v1 · 1.2 B params · weights BF16 · floor 24 GB",
    "Fastest verified L40S in eu-north1",
    "Most affordable L40S in eu-north1",
    "How we measure",
    "Configured minimum GPU memory: 24 GB.",
    "One-block API check",
    "Project .env",
    "Project .gitignore",
]


@pytest.mark.parametrize("fact", FACTS)
def test_the_page_says_everything_that_the_catalogue_page_says_of_nvidias_reranker(seed: Plane, fact: str) -> None:
    assert fact in page(seed, PINNED).text


PUBLISHED = [
    "B200 us-central1 works 22.6 GB 1m 33s 186 ms p50 p95 189 ms · 10 samples 19% · -81% set as baseline 435 $7.15",
    "B300 uk-south1 unavailable 3.8 GB 20.9 s (first run) — — — $7.85",
    "H100 — not probed — — — — —",
    "H200 eu-north2 works 15.2 GB 11.0 s 574 ms p50 p95 892 ms · p99 920 ms · 2 samples 6% · -94% set as baseline 365 $4.50",
    "H200 us-central1 unavailable 1.9 GB 11.0 s (first run) — — — $4.50",
    "L40S eu-north1 works 15.1 GB 15.1 s 35 ms p50 p95 638 ms · p99 692 ms · 3 samples 100% baseline 2,382 $1.82",
    "RTX6000 us-central1 works 15.3 GB 12.0 s 455 ms p50 1 sample 8% · -92% set as baseline 178 $1.80",
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_what_others_published_stands_apart_and_says_who_measured_it(seed: Plane, row: str) -> None:
    text = page(seed, PINNED).text
    ours, theirs = text.split("Published figures")[:2]
    assert row in theirs
    assert row not in ours
    assert "Nebius Forge catalogue page (NVIDIA NIM), 2026-04-28" in theirs


def test_a_measured_row_has_n_interval_and_the_share_of_the_baseline(seed: Plane) -> None:
    text = page(seed, PINNED).text
    assert "p50, 95 % in 182 to 189 ms 10 samples" in text
    assert "35 ms p50, 95 % in 35 to 35 ms p95 35 ms · 30 samples 100% baseline" in text
    assert "19% · -81% set as baseline" in text.split("Published figures")[0]
    assert "First, uncached start 4m 0s, n = 1" in text
    assert "Measured by probes of 3 passages, 53 tokens" in text


def test_the_selection_is_kept_in_every_link_and_request_of_the_page(seed: Plane) -> None:
    found = page(seed, f"{PINNED}&baseline=B200/us-central1&utm_source=x")
    mine = [parse_qs(urlsplit(link).query) for link in found.links if link.startswith(f"{PAGE}?")]
    assert mine
    assert all(query["model_version"] == ["v1"] and "utm_source" not in query for query in mine)
    rerooting = [query for link, query in zip([link for link in found.links if link.startswith(f"{PAGE}?")], mine, strict=True) if link.endswith("#targets")]
    assert rerooting
    assert all(query["gpu_type"] == ["B200"] and query["region"] == ["us-central1"] for query in rerooting)
    query = "?model_version=v1&gpu_type=B200&region=us-central1"
    for route in (f"/v1/models/{NVIDIA}/inference-routes", f"/v1/models/{NVIDIA}/reliability", f"/v1/models/{NVIDIA}/run-estimate"):
        assert f"GET http://127.0.0.1:{seed.port}{route}{query}" in found.text


@pytest.mark.parametrize("baseline", ["B200/us-central1", "L40S/eu-north1"])
def test_another_baseline_gives_the_reliability_routes_own_numbers(seed: Plane, baseline: str) -> None:
    rows = seed.get(f"/v1/models/{NVIDIA}/reliability?baseline={baseline}").json["rows"]
    expected = [row["relative"]["text"] for row in rows if row["relative"]]
    assert len(expected) == 2
    ours = page(seed, f"{PAGE}?baseline={baseline}").text.split("Published figures")[0]
    for text in expected:
        assert text in ours


def test_the_answers_under_the_steps_are_the_apis_own(seed: Plane) -> None:
    text = page(seed, PINNED).text
    routes = seed.get(f"/v1/models/{NVIDIA}/inference-routes?model_version=v1&gpu_type=B200&region=us-central1").json
    assert "1 route; B200 in us-central1: works, 2 free GPUs." in text
    assert f'"status_url": "{routes["routes"][0]["status_url"]}"' in text
    estimate = seed.get(f"/v1/models/{NVIDIA}/run-estimate?model_version=v1&gpu_type=B200&region=us-central1").json
    assert f'"estimated_warm_request_cost_usd": {estimate["estimated_warm_request_cost_usd"]}' in text
    assert f"confidence {estimate['confidence']}, n = 10" in text


def test_the_pictures_say_their_n_and_what_they_show_to_who_does_not_see_them(seed: Plane) -> None:
    html = Client(seed.port).get(PINNED).body.decode()
    latency, starts, cost = map(ElementTree.fromstring, svgs(html))
    assert (latency[0].tag, latency[1].tag) == ("title", "desc")
    assert "10 times between 181 and 190 ms" in str(latency[1].text)
    assert "4 starts" in str(starts[1].text)
    assert "L40S eu-north1: 35 ms at $1.82 an hour" in str(cost[1].text)
    text = Markup(html).text
    assert "B200 in us-central1: n = 10 warm probes of 3 passages, 53 tokens; the band is the median's 95 % interval." in text
    assert "B200 in us-central1: n = 4 starts. Filled: weights were on this machine; ring: first run, weights fetched first." in text
    assert "n = 2 targets, at least 10 runs each." in text


def test_without_measurements_nothing_is_drawn_or_crowned_and_the_page_says_so(plane: Plane) -> None:
    html = Client(plane.port).get(PAGE).body.decode()
    assert svgs(html) == []
    text = page(plane).text
    assert "No warm request was measured yet" in text
    assert "No start was measured yet." in text
    assert "no target has them so far" in text
    assert "Fastest verified None: no target has 6 warm measurements" in text
    assert "Any available target" in text


def test_an_unverified_target_and_one_that_cannot_run_are_called_that(launch: Launch) -> None:
    plane = launch(samples=probed([40.0, 41.0], LOCAL))
    assert "Your requested target is not verified yet (awaiting probe): 2 of 6 runs measured." in page(plane, f"{PAGE}?gpu_type=CPU").text
    found = page(plane, f"{PAGE}?gpu_type=H200&region=eu-north2")
    assert "Your requested target cannot run here: no pool here provides H200 in eu-north2." in found.text
    assert "No route: no pool here provides H200 in eu-north2. It can run on:" in found.text


def test_a_failed_start_says_its_reason_in_the_row(launch: Launch) -> None:
    failed = [replace(one, ok=False, reason="out_of_memory", cold_start_ms=None) for one in started([1.0], LOCAL)]
    text = page(launch(samples=failed)).text
    assert "unavailable : details of CPU in local Reason the latest start failed: it does not fit into the memory there" in text
    assert "Failures seen out_of_memory (1)" in text
    assert "CPU in local: n = 1 start. Cross: failed." in text


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("gpu_type=H9000", "gpu_type 'H9000' is not known here"),
        ("model_version=v9", "has no version 'v9'; known versions: v1, v2"),
        ("baseline=CPU", "baseline must be a GPU type and a region such as CPU/local"),
        ("baseline=H9000/mars", "gpu_type 'H9000' is not known here"),
    ],
)
def test_what_the_query_asks_for_and_nobody_knows_is_said_and_the_rest_is_shown(plane: Plane, query: str, problem: str) -> None:
    text = page(plane, f"{PAGE}?{query}", status=404).text
    assert problem in text
    assert "How we measure" in text


def test_another_name_leads_to_the_page_with_its_query(plane: Plane) -> None:
    reply = Client(plane.port).get("/models/llama-3_2-nv-rerankqa-1b-v2?gpu_type=B200")
    assert (reply.status, reply.headers["location"]) == (307, f"{PAGE}?gpu_type=B200")


def test_a_name_that_nothing_has_is_told_near_names_but_none_that_is_hidden(plane: Plane) -> None:
    near = page(plane, "/models/nvidia-llama-3-2-nv-rerankqa-1b-v3", status=404)
    assert PAGE in near.links
    hidden = page(plane, "/models/tiny-embe", status=404)
    assert "/models/tiny-embed" not in hidden.links


def test_an_own_model_is_shown_to_those_who_are_signed_in(plane: Plane, browser: Browser) -> None:
    assert "No such model" in page(plane, "/models/tiny-embed", status=404).text
    browser.sign_in(ADMIN)
    reply = browser.get("/models/tiny-embed")
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert "text→embedding" in read(reply).text


def test_the_form_prewarms_the_selected_target_and_leads_back_to_the_page(plane: Plane, browser: Browser) -> None:
    assert "/web/models" not in " ".join(page(plane).links)
    browser.sign_in(ADMIN)
    assert f"/web{PAGE}/start" in read(browser.get(PINNED)).links
    reply = browser.send(f"/web{PAGE}/start", {"model_version": "v1", "gpu_type": "B200", "region": "us-central1"})
    assert (reply.status, reply.headers["location"]) == (303, f"{PINNED}#status")
    plane.until_phase("WARM")
    text = read(browser.get(PINNED)).text
    assert "Endpoint B200 in us-central1 Since warm since" in text
    assert "unless a request comes" in text


def test_the_form_refuses_whom_the_api_refuses(plane: Plane, browser: Browser) -> None:
    fields = {"model_version": "v1"}
    assert browser.send(f"/web{PAGE}/start", fields, csrf="x").status == 401
    browser.sign_in(plane.key("read")["Authorization"].removeprefix("Bearer "))
    assert f"/web{PAGE}/start" not in read(browser.get(PAGE)).links
    assert browser.send(f"/web{PAGE}/start", fields, csrf="not the session's").status == 403
    refused = browser.send(f"/web{PAGE}/start", fields)
    assert refused.status == 403
    assert "It was not started" in read(refused).text
    assert plane.phase() == "COLD"


def test_a_target_that_cannot_run_is_not_offered_to_be_started(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    pinned = {"gpu_type": "H200", "region": "eu-north2"}
    assert f"/web{PAGE}/start" not in read(browser.get(f"{PAGE}?gpu_type=H200&region=eu-north2")).links
    assert browser.send(f"/web{PAGE}/start", pinned).status == 409


def test_hostile_text_of_the_catalogue_is_shown_and_does_nothing(launch: Launch) -> None:
    bad = replace(
        MODELS[0],
        title=HOSTILE,
        description=HOSTILE,
        category=HOSTILE,
        source=HOSTILE,
        licenses=(HOSTILE,),
        tags=(HOSTILE,),
        dtype=HOSTILE,
        links={HOSTILE: "javascript:alert(3)", "Good": 'https://example.org/"onmouseover="alert(4)'},
        versions=(replace(MODELS[0].versions[0], note=HOSTILE), *MODELS[0].versions[1:]),
    )
    Catalog([bad])
    plane = launch(models=(bad,), samples=[*probed(SPREAD), *probed([400.0] * 8, LOCAL)])
    quiet = page(plane, PAGE).tags
    found = page(plane, f"{PAGE}?model_version=%3Cscript%3E&baseline=%22%3E%3Cimg%3E/x", status=404)
    assert found.tags["img"] == quiet["img"] == 1  # the wordmark's
    assert found.tags["script"] == quiet["script"]
    assert HOSTILE in found.text
    assert "49" not in found.text.split("Selected target")[0]


def test_text_that_is_too_much_is_folded_away_and_signs_that_turn_text_stay_out_of_the_title(launch: Launch) -> None:
    bad = replace(
        MODELS[0], title="\u202eWord" + "W" * 400, description="x" * 3000, tags=tuple(f"tag-{i}" for i in range(200)), links={"Run": "javascript:x()"}
    )
    html = Client(launch(models=(bad,)).port).get(PAGE).body.decode()
    found = Markup(html)
    assert found.faults == []
    assert "\u202e" not in html.partition("</title>")[0]
    assert "176 more tags" in found.text
    assert "The whole description" in found.text
    assert not [link for link in found.links if link.startswith("javascript")]


def test_measured_quality_is_a_fact_with_its_source_and_stands_beside_the_costs(launch: Launch, tmp_path: Path) -> None:
    default = next(model for model in shipped() if model.slug == "all-minilm-l6-v2-rerank")
    plane = launch(models=(default,), samples=[*probed([5.0] * 8, LOCAL, default.slug), *probed([4.0] * 8, B200, default.slug)])
    html = Client(plane.port).get(f"/models/{default.slug}").body.decode()
    text = Markup(html).text
    assert "nDCG@10 on Cranfield 0.4154 Details 225 queries: BM25's best 100 of 1,400 documents reranked, fp32; BM25 alone has 0.3161." in text
    assert "Measured by this project: docs/behaviour/default-reranker.md, 2026-11-21." in text
    assert "At nDCG@10 0.4154 on Cranfield, 225 queries, on every target alike." in text
    assert "nDCG@10 0.4154" in svgs(html)[-1]


def test_the_playground_is_offered_with_the_selection_kept(seed: Plane) -> None:
    found = page(seed, PINNED)
    assert "#playground" in found.links
    assert f"{PAGE}?model_version=v1&gpu_type=L40S&region=eu-north1#playground" in found.links


def test_the_words_of_a_payload_are_escaped(launch: Launch) -> None:
    shape = '3 <b>passages</b> & "tokens"'
    samples: list[Sample] = [replace(one, shape=shape) for one in (*probed(SPREAD), *probed([400.0] * 8, LOCAL))]
    assert shape in page(launch(samples=samples)).text


def test_random_weights_and_servers_elsewhere_are_labelled(launch: Launch, tmp_path: Path) -> None:
    folder = tmp_path / "random"
    folder.mkdir()
    (folder / "config.json").write_text('{"emberank_random_weights": true}')
    random = replace(MODELS[0], versions=(replace(MODELS[0].versions[0], source=f"file:{folder}"),))
    remote = replace(MODELS[2], versions=(replace(MODELS[2].versions[0], source="nim:https://nim.example.org:8000"),))
    plane = launch(models=(random, remote))
    assert "Random weights: this version is for measuring speed and memory." in page(plane).text
    assert "This version runs on nim.example.org:8000: texts that are sent to it leave this installation." in page(plane, "/models/huge").text


def test_without_a_script_everything_to_copy_is_on_the_page_and_with_one_it_has_a_button(seed: Plane) -> None:
    html = Client(seed.port).get(PINNED).body.decode()
    found = Markup(html)
    for block in (piece.partition('"')[0] for piece in html.split('data-copy="')[1:]):
        assert found.ids[block] == 1
    assert "export FORGE_GPU_TYPE=" in found.text
    assert f"Snippet target: {NVIDIA} version v1 on B200 in us-central1." in found.text
    assert B200.gpu_type in found.text
