"""A model that somebody added, and every page and answer of the pages that might name it to who may not know of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest

from browser import Browser
from control_plane import ADMIN, MODELS, NVIDIA, Plane
from emberank.forge.catalog import Model, Version
from wire import Client, Reply

SECRET = Model(
    slug="project-zebra-rank",
    id="acme/project-zebra-rank",
    title="Zebra",
    description="Ours alone.",
    task="rank",
    tags=("zebra-tag",),
    licenses=("zebra-licence",),
    category="zebra",
    source="yours",
    context_tokens=77_777,
    aliases=("quagga",),
    versions=(Version(name="zv9", source="file:nowhere", memory_gb=0.1),),
)
PATHS = (
    "/",
    "/?q=zebra",
    "/?view=table&task=rank&sort=name",
    "/?tag=zebra-tag&licence=zebra-licence",
    "/status",
    "/status?q=zebra&phase=warm",
    "/status?rows=500&live=1",
    "/playground",
    f"/playground/{NVIDIA}?with=project-zebra-rank",
    f"/models/{NVIDIA}",
    "/models/project-zebra-ran",
    "/models/project-zebra-rank",
    "/models/quagga",
    "/models/acme%2Fproject-zebra-rank",
    "/playground/project-zebra-ran",
    "/playground/project-zebra-rank",
    "/docs/routes",
    "/docs/search?q=zebra",
    "/signin?next=/models/project-zebra-rank",
    "/web/phases",
    "/web/events?model=project-zebra-rank",
    "/web/events?model=project-zebra-ran",
    "/account",
    "/nowhere/zebr",
)
LEAKS = re.compile(r"zebra-rank|zebra-tag|zebra-licence|Ours alone|quagga|77,777|zv9|>Zebra", re.IGNORECASE)


@pytest.fixture
def hiding(launch: Callable[..., Plane]) -> Plane:
    """Everybody's models and one of somebody's own, which is warm."""
    plane = launch(models=(*MODELS, SECRET))
    plane.warm(SECRET.slug)
    return plane


def told(reply: Reply, asked: str) -> str:
    """What an answer says beside what it was asked with."""
    text = reply.body.decode() + str(dict(reply.headers))
    for said in sorted({asked, *re.split(r"[/?&=]", unquote(asked))} - {""}, key=len, reverse=True):
        text = text.replace(said, "…")
    return text


@pytest.mark.parametrize("path", PATHS)
def test_nobody_who_is_not_signed_in_hears_of_it(hiding: Plane, path: str) -> None:
    assert not LEAKS.search(told(Client(hiding.port).get(path, {"Accept": "text/html"}), path))


@pytest.mark.parametrize("path", [*PATHS, "/web/api/v1/models", "/web/api/v1/models?q=zebra", "/web/api/v1/model-families/project-zebra-ran/status"])
def test_a_key_for_another_model_hears_of_it_no_more_than_that(hiding: Plane, path: str) -> None:
    browser = Browser(hiding.port)
    browser.sign_in(hiding.key("read", "inference", "manage", models=[NVIDIA])["Authorization"].partition(" ")[2])
    assert not LEAKS.search(told(browser.get(path, {"Accept": "text/html"} if not path.startswith("/web/api") else {}), path))


@pytest.mark.parametrize("slug", ["project-zebra-ran", "project-zebra-rank"])
def test_the_form_that_starts_one_names_no_other(hiding: Plane, slug: str) -> None:
    browser = Browser(hiding.port)
    browser.sign_in(hiding.key("read", "inference", models=[NVIDIA])["Authorization"].partition(" ")[2])
    reply = browser.send(f"/web/models/{slug}/start", {})
    assert reply.status == 404
    assert not LEAKS.search(told(reply, slug))


def test_how_many_are_hidden_is_hidden_too(launch: Callable[..., Plane]) -> None:
    without = Client(launch(models=MODELS[:1]).port)
    with_it = Client(launch(models=(MODELS[0], SECRET)).port)
    for path in ("/", "/status", "/nowhere", "/models/nobody", "/playground/nobody"):
        pages = [re.sub(r"\d\d:\d\d:\d\d|127\.0\.0\.1:\d+", "", one.get(path, {"Accept": "text/html"}).body.decode()) for one in (without, with_it)]
        assert pages[0] == pages[1], path


def test_whose_key_is_for_all_models_sees_it(hiding: Plane) -> None:
    browser = Browser(hiding.port)
    browser.sign_in(ADMIN)
    assert all(LEAKS.search(browser.get(path).body.decode()) for path in ("/", "/status", "/models/project-zebra-rank", "/web/phases"))
