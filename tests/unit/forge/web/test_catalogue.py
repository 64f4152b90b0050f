"""The catalogue page: who sees what, what each filter and order does, what it says when it cannot; and that hostile text stays text."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from browser import Browser
from control_plane import ADMIN, B200, LOCAL, NVIDIA, Plane, probed
from emberank.forge.catalog import Model, Quality, Version
from emberank.forge.samples import Sample
from emberank.forge.web.catalogue.page import Catalogue
from emberank.forge.web.catalogue.wanted import ANY, PER_PAGE, Choices, Wanted, wanted_of
from emberank.forge.web.page import Pages
from emberank.serving.exchange import Exchange
from page_checks import check_page, read_page, text_of
from wire import Client

MOST_CALLS = 100_000  # of Python functions, for a page of 500 models with figures; it takes a third of that
MOST_BYTES = 100_000  # of what the page loads beside itself
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


def model(slug: str, title: str, **fields: Any) -> Model:
    facts: dict[str, Any] = {"id": f"acme/{slug}", "description": "It reads.", "task": "rank", "source": "huggingface"}
    versions = (Version(name="v1", source="hf:acme/x", memory_gb=1.0),)
    return Model(slug=slug, title=title, **facts | {"versions": versions} | fields)


def judged(value: float, data: str = "Cranfield") -> tuple[Version, ...]:
    """A version with one quality figure."""
    figure = Quality(metric="nDCG@10", value=value, data=data, queries=225, how="reranked", source="ours", date="2026-11-21")
    return (Version(name="v1", source="hf:acme/x", memory_gb=1.0, quality=(figure,)),)


FOUR = (
    model("alpha", "Zeta first", versions=judged(0.38), tags=("english",), licenses=("MIT",), context_tokens=512, added="2026-01-02"),
    model(
        "beta",
        "Beta",
        task="embed",
        versions=judged(0.9, "another collection"),
        tags=("english", "small"),
        licenses=("Apache-2.0", "MIT"),
        context_tokens=8192,
        added="2026-03-01",
    ),
    model("gamma", "alpha second", versions=judged(0.41), tags=("large",), licenses=("Apache-2.0",), context_tokens=32_768),
    model("delta", "Delta", description="It sees PICTURES.", added="2026-02-01", versions=(Version(name="v1", source="hf:a/b", memory_gb=900.0),)),
)
MEASURED = [
    *probed([300.0] * 8, LOCAL, "alpha"),
    *probed([100.0] * 8, B200, "alpha"),
    *probed([200.0] * 6, LOCAL, "beta"),
    *probed([1.0] * 5, LOCAL, "gamma"),  # one too few to be a figure
]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Four models: two are verified, one of them on two targets; one fits nowhere; `beta` is warm."""
    plane = Plane(tmp_path_factory.mktemp("four"), samples=MEASURED, models=FOUR)
    plane.warm("beta")
    yield plane
    plane.stop()


def shown(plane: Plane, query: str = "") -> list[str]:
    """The slugs on the page, in order; with and without the table they are the same."""
    cards = check_page(Client(plane.port).get(f"/?{query}"))
    table = check_page(Client(plane.port).get(f"/?view=table&{query}"))
    slugs = re.findall(r'<li class="card" data-slug="([^"]+)"', cards)
    assert re.findall(r'<tr data-slug="([^"]+)"', table) == slugs
    return slugs


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("", ["alpha", "beta", "gamma", "delta"]),
        ("q=&task=&tag=&licence=&min_context=&verified=&warm=&sort=&page=", ["alpha", "beta", "gamma", "delta"]),
        ("q=ALPHA", ["alpha", "gamma"]),
        ("q=pictures+sees", ["delta"]),
        ("q=apache_2.0", ["beta", "gamma"]),
        ("task=embed", ["beta"]),
        ("task=RANK", ["alpha", "gamma", "delta"]),
        ("tag=english", ["alpha", "beta"]),
        ("tag=english&tag=small", ["beta"]),
        ("licence=apache-2.0", ["beta", "gamma"]),
        ("min_context=8192", ["beta", "gamma"]),
        ("min_context=600", ["beta", "gamma"]),
        ("verified=any", ["alpha", "beta"]),
        ("verified=B200", ["alpha"]),
        ("verified=cpu", ["alpha", "beta"]),
        ("warm=1", ["beta"]),
        ("warm=on", ["beta"]),
        ("warm=0", ["alpha", "beta", "gamma", "delta"]),
        ("tag=english&licence=MIT&min_context=1000&verified=CPU&warm=true&task=embed&q=beta", ["beta"]),
        ("sort=name", ["gamma", "beta", "delta", "alpha"]),
        ("sort=date", ["beta", "delta", "alpha", "gamma"]),
        ("sort=speed", ["alpha", "beta", "delta", "gamma"]),
        ("sort=speed&verified=CPU", ["beta", "alpha"]),
        ("sort=price", ["beta", "gamma", "alpha", "delta"]),
        ("sort=quality", ["gamma", "alpha", "beta", "delta"]),
        ("sort=quality&licence=MIT", ["alpha", "beta"]),
        ("sort=listed", ["alpha", "beta", "gamma", "delta"]),
    ],
)
def test_the_page_shows_what_is_wanted_in_the_wanted_order(four: Plane, query: str, slugs: list[str]) -> None:
    assert shown(four, query) == slugs


def test_a_card_says_where_how_fast_of_how_many_runs_and_at_what_price(four: Plane) -> None:
    text = text_of(check_page(Client(four.port).get("/")))
    alpha = text[text.index("Zeta first") : text.index("Beta")]
    assert "B200 in us-central1" in alpha
    assert "100 ms 8 runs by probe, 3 passages, 53 tokens" in alpha
    assert "$7.15" in alpha
    assert "512 tokens" in alpha
    assert "MIT" in alpha
    gamma = text[text.index("alpha second") : text.index("Delta")]
    assert "not measured" in gamma
    assert "1.0 ms" not in gamma
    delta = text[text.index("Delta") : text.rindex("Call a model")]
    assert "nothing here" in delta


def test_quality_is_compared_on_one_collection_and_the_order_says_what_it_leaves_last(four: Plane) -> None:
    text = text_of(check_page(Client(four.port).get("/?sort=quality")))
    assert "By nDCG@10 on Cranfield, which 2 of 4 models have a figure of" in text
    assert "nobody here knows whether they are worse" in text
    assert "nDCG@10 0.41 on Cranfield" in text
    assert "nDCG@10 0.9 on another collection" in text
    table = text_of(check_page(Client(four.port).get("/?view=table")))
    assert "nDCG@10 0.41 Cranfield, 225 queries" in table


def test_where_nothing_was_judged_the_order_says_how_to_measure_it(launch: Callable[..., Plane]) -> None:
    assert "No model has a quality figure yet: emberank eval" in text_of(check_page(Client(launch().port).get("/?sort=quality")))


def test_two_hundred_tags_are_cut_short_on_a_card_and_lead_to_the_rest(launch: Callable[..., Plane]) -> None:
    plane = launch(models=(model("many", "Many", tags=tuple(f"tag-{i}" for i in range(200))),))
    card = check_page(Client(plane.port).get("/")).split('<li class="card"')[1].split("</dl>")[0]
    assert card.count("<li><a href=") == 13
    assert "188 more tags" in card


def test_what_somebody_added_is_marked_as_theirs(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    html = check_page(browser.get("/"))
    assert '<li class="chip">yours</li>' in html.split('data-slug="tiny-embed"')[1].split("</dl>")[0]
    assert html.count('<li class="chip">yours</li>') == 1


def test_a_card_stands_for_the_target_that_was_asked_for(four: Plane) -> None:
    text = text_of(check_page(Client(four.port).get("/?verified=CPU&q=zeta")))
    assert "300 ms" in text
    assert "100 ms" not in text


def test_what_only_traffic_measured_stands_behind_what_probes_did(launch: Callable[..., Plane]) -> None:
    seen = {"version": "v1", "gpu_type": "CPU", "region": "local", "kind": "traffic", "ok": True, "tokens": 9, "passages": 2}
    traffic = [Sample(at_s=5.0 + i, slug="beta", model_ms=1.0, request_ms=2.0, **seen) for i in range(9)]  # type: ignore[arg-type]
    plane = launch(models=FOUR, samples=[*probed([100.0] * 8, B200, "alpha"), *traffic])
    html = check_page(Client(plane.port).get("/?sort=speed"))
    assert re.findall(r'data-slug="([^"]+)"', html)[:2] == ["alpha", "beta"]
    assert "9 runs by traffic" in text_of(html)


def test_a_phase_is_a_word_and_not_a_colour_alone(four: Plane) -> None:
    html = check_page(Client(four.port).get("/"))
    assert '<span class="phase" data-phase="WARM">warm</span>' in html
    assert html.count('<span class="phase" data-phase="COLD">cold</span>') == 3


@pytest.mark.parametrize(
    "query",
    [
        "task=video",
        "tag=none",
        "licence=GPL",
        "min_context=many",
        "min_context=-1",
        "min_context=%D9%A3",
        "verified=H100",
        "warm=perhaps",
        "sort=beauty",
        "view=map",
        "page=0",
        "page=99",
        "page=1e3",
        "colour=red",
        "licence=" + quote(HOSTILE),
        quote(HOSTILE) + "=1",
    ],
)
def test_what_the_page_does_not_understand_it_names_and_goes_on_without(four: Plane, query: str) -> None:
    assert shown(four, query) == ["alpha", "beta", "gamma", "delta"]
    html = check_page(Client(four.port).get(f"/?{query}"))
    ((name, value),) = parse_qsl(query)
    assert "Ignored, because they are not known here" in text_of(html)
    assert f"{name}={value}"[:40] in text_of(html)
    assert "<script>" not in html


def test_a_flood_of_nonsense_is_cut_short(four: Plane) -> None:
    html = check_page(Client(four.port).get("/?" + urlencode([(f"x{i}", "y" * 300) for i in range(100)])))
    assert html.count("<code>x") == 10
    assert "y" * 70 not in html
    long = check_page(Client(four.port).get("/?q=" + "pictures+" * 300))
    assert "after the first 200 characters" in long


def test_an_empty_result_says_what_widens_it_and_the_links_do(four: Plane) -> None:
    client = Client(four.port)
    html = check_page(client.get("/?task=embed&tag=large&view=table"))
    assert "No models match" in html
    links = {text: unescape(address) for address, text in re.findall(r'<li><a href="([^"]+)">(Without [^<]+)</a>', html)}
    assert set(links) == {"Without task embed", "Without tag large", "Without any filter"}
    assert "data-slug" not in html
    for words, address in links.items():
        assert "data-slug" in check_page(client.get(address)), words


def test_an_empty_result_offers_nothing_that_stays_empty(four: Plane) -> None:
    html = check_page(Client(four.port).get("/?q=nowhere&task=embed"))
    assert "Without task embed" not in html
    assert "Without “nowhere”" in html


def test_the_page_works_without_a_script_it_is_one_plain_form(four: Plane) -> None:
    html = check_page(Client(four.port).get("/?q=a&task=rank&tag=english&licence=MIT&min_context=512&verified=CPU&warm=0&sort=speed&view=table"))
    assert '<form class="filters" id="filters" method="get" action="/"' in html
    assert 'type="submit"' in html
    fields = {given["name"]: given for _, given in read_page(html).fields}
    assert set(fields) >= {"q", "task", "tag", "licence", "min_context", "verified", "sort"}
    assert fields["q"]["value"] == "a"
    for value in ("rank", "english", "MIT", "512", "CPU", "speed"):
        assert f'<option value="{value}" selected>' in html
    assert '<input type="hidden" name="view" value="table">' in html


def test_all_tags_that_were_asked_for_stay_in_the_form(four: Plane) -> None:
    html = check_page(Client(four.port).get("/?tag=english&tag=small"))
    assert '<option value="english" selected>' in html
    assert '<input type="hidden" name="tag" value="small">' in html


def test_hostile_catalogue_text_stays_text(launch: Callable[..., Plane]) -> None:
    bad = model("bad", HOSTILE, description=HOSTILE, tags=(HOSTILE,), licenses=(HOSTILE,), added="2026-01-01")
    plane = launch(models=(bad,), samples=probed([5.0] * 8, LOCAL, "bad"))
    for query in ("", "view=table", "q=" + quote(HOSTILE), "tag=" + quote(HOSTILE), "licence=" + quote(HOSTILE), "q=x&tag=" + quote(HOSTILE)):
        html = check_page(Client(plane.port).get(f"/?{query}"))
        assert "<script>" not in html
        assert "<img src=x" not in html
        assert "alert(1)" in text_of(html)


def test_who_is_not_signed_in_learns_nothing_of_own_models(plane: Plane) -> None:
    plane.warm("tiny-embed")
    client = Client(plane.port)
    for query in ("", "q=tiny", "view=table", "warm=1", "tag=tiny", "task=embed"):
        html = check_page(client.get(f"/?{query}"))
        assert "tiny-embed" not in html
        assert "#</span>tiny" not in html
        assert '<option value="tiny"' not in html
    assert "tag=tiny" in text_of(check_page(client.get("/?tag=tiny")))  # as it was asked, ignored
    assert client.get("/web/phases").json == {"phases": {}}


def test_who_is_signed_in_sees_what_their_key_may(plane: Plane, browser: Browser) -> None:
    plane.warm("tiny-embed")
    plane.warm(NVIDIA)
    key = plane.key("read", models=["tiny-embed"])["Authorization"].removeprefix("Bearer ")
    browser.sign_in(key)
    page = browser.get("/")
    assert page.headers["cache-control"] == "no-store"
    html = check_page(page)
    assert re.findall(r'data-slug="([^"]+)"', html) == ["tiny-embed"]
    assert "Your own models are listed" not in html
    assert browser.get("/web/phases").json == {"phases": {"tiny-embed": "WARM"}}
    other = Browser(plane.port)
    other.sign_in(ADMIN)
    assert set(re.findall(r'data-slug="([^"]+)"', check_page(other.get("/")))) == {"tiny-embed", NVIDIA, "huge"}


def test_a_key_in_a_header_changes_nothing_on_the_page(plane: Plane) -> None:
    assert "tiny-embed" not in plane.get("/").body.decode()  # the plane sends its admin key


def test_the_phases_are_those_that_are_not_cold_and_are_never_kept(four: Plane) -> None:
    reply = Client(four.port).get("/web/phases")
    assert reply.json == {"phases": {"beta": "WARM"}}
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    assert Client(four.port).ask("POST", "/web/phases", b"").status == 405


def test_a_catalogue_with_nothing_to_show_says_how_to_fill_it(launch: Callable[..., Plane]) -> None:
    assert "emberank add" in check_page(Client(launch(models=()).port).get("/"))


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=20)
KNOWN = Choices(tasks=("rank", "embed"), tags=("a", "b&c", "ü"), licences=("MIT", "x=y"), contexts=(512,), targets=("CPU", "B200"))


@given(
    st.builds(
        Wanted,
        q=st.one_of(st.just(""), TEXTS),
        task=st.sampled_from([None, "rank", "embed"]),
        tags=st.lists(st.sampled_from(KNOWN.tags), unique=True).map(tuple),
        licence=st.sampled_from(["", *KNOWN.licences]),
        min_context=st.integers(0, 1_000_000),
        verified=st.sampled_from(["", ANY, *KNOWN.targets]),
        warm=st.booleans(),
        sort=st.sampled_from(["listed", "speed", "price", "quality", "date", "name"]),
        view=st.sampled_from(["cards", "table"]),
        page=st.integers(1, 900),
    )
)
def test_an_address_that_is_shared_means_what_it_meant(wanted: Wanted) -> None:
    address = wanted.url(page=wanted.page)
    assert wanted_of(parse_qsl(urlsplit(address).query), KNOWN) == wanted


MANY = tuple(model(f"m-{i:03}", f"Model {i}", tags=(f"tag-{i % 9}",), licenses=("MIT",), context_tokens=512 * (1 + i % 4)) for i in range(500))


def test_a_page_of_500_models_is_short_and_takes_little_work(launch: Callable[..., Plane]) -> None:
    plane = launch(models=MANY, samples=[one for each in MANY for one in probed([10.0 + int(each.slug[2:]) % 90] * 6, LOCAL, each.slug)])
    client = Client(plane.port)
    html = check_page(client.get("/?sort=speed"))
    assert html.count('data-slug="') == PER_PAGE
    assert "Page 1 of 9" in html
    seen = set()
    for number in range(1, 10):
        seen.update(re.findall(r'data-slug="([^"]+)"', check_page(client.get(f"/?page={number}&sort=name"))))
    assert seen == {each.slug for each in MANY}
    assert plane.run(lambda: counted(plane)) < MOST_CALLS


def test_everything_that_the_page_loads_is_small(four: Plane) -> None:
    client = Client(four.port)
    waiting = re.findall(r'(?:src|href)="(/assets/[^"]+)"', check_page(client.get("/")))
    loaded: dict[str, int] = {}
    while waiting:
        address = waiting.pop()
        reply = client.get(address)
        assert reply.status == 200, address
        loaded[address.partition("?")[0]] = len(reply.body)
        imported = {f"/assets/{name}" for name in re.findall(r'^import [^;]*"\./([^"]+)"', reply.body.decode(), re.MULTILINE)}
        waiting += imported - set(loaded)
    assert "/assets/live.js" in loaded
    assert sum(loaded.values()) <= MOST_BYTES


async def counted(plane: Plane) -> int:
    """How many Python functions a page calls."""
    catalogue = Catalogue(plane.parts, Pages())
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"q=model&sort=speed&verified=any",
        "headers": [],
        "scheme": "http",
        "server": ("h", 1),
    }
    exchange = Exchange(Request(scope), b"", float("inf"))
    first = await catalogue.page(exchange)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    await asyncio.sleep(0)
    sys.setprofile(count)
    try:
        second: Response = await catalogue.page(exchange)
    finally:
        sys.setprofile(None)
    assert second.body == first.body
    return calls
