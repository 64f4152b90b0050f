"""The viewer of the API: our own port serves all that it loads, from a fixed list of names, and nothing is allowed that other pages are not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from control_plane import Plane
from emberank.forge.web import assets
from emberank.forge.web.docs import api_viewer
from emberank.forge.web.docs.api_viewer import SCRIPT, STYLE, viewer_files
from page_checks import check_page, read_page, text_of
from wire import Client


def test_the_page_loads_the_viewer_and_our_own_start_of_it_and_no_inline_script(shared: Plane) -> None:
    html = check_page(Client(shared.port).get("/docs/api"))
    assert 'data-document="/openapi.json"' in html
    loaded = {link.partition("?")[0] for link in read_page(html).links if link.startswith("/assets/")}
    assert loaded == {
        "/assets/app.css",
        "/assets/theme.js",
        "/assets/icon.svg",
        "/assets/docs_api.js",
        "/assets/docs_api.css",
        f"/assets/viewer/{SCRIPT}",
        f"/assets/viewer/{STYLE}",
    }
    assert '<a href="/docs/api" aria-current="page">API</a>' in html
    assert "/docs/routes" in html


def test_its_policy_is_that_of_every_page(shared: Plane) -> None:
    client = Client(shared.port)
    assert client.get("/docs/api").headers["content-security-policy"] == client.get("/").headers["content-security-policy"]


def test_its_files_may_be_kept_for_good_and_have_their_kinds(shared: Plane) -> None:
    client = Client(shared.port)
    html = client.get("/docs/api").body.decode()
    found = re.findall(r'"(/assets/viewer/[^"]+)"', html)
    kinds = {}
    for address in found:
        reply = client.get(address)
        assert reply.status == 200
        assert "immutable" in reply.headers["cache-control"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        kinds[address.partition("?")[0].rpartition("/")[2]] = reply.headers["content-type"]
        again = client.get(address.partition("?")[0], {"If-None-Match": reply.headers["etag"]})
        assert (again.status, again.body, again.headers["cache-control"]) == (304, b"", "no-cache")
    assert kinds == {SCRIPT: "text/javascript; charset=utf-8", STYLE: "text/css; charset=utf-8"}


@pytest.mark.parametrize(
    "name", ["redoc.js", "scalar.js", "swagger_bundle.js", "__init__.py", "url.json", "..%2f__init__.py", "%2e%2e%2furl.json", "", "viewer"]
)
def test_nothing_else_of_the_package_is_sent(shared: Plane, name: str) -> None:
    assert Client(shared.port).get(f"/assets/viewer/{name}").status == 404


def test_the_package_is_read_and_never_run() -> None:
    assert set(viewer_files(api_viewer.PACKAGE)) == {SCRIPT, STYLE}
    assert api_viewer.PACKAGE not in sys.modules


def test_the_viewer_understands_the_version_of_our_document(shared: Plane) -> None:
    document = Client(shared.port).get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    script = viewer_files(api_viewer.PACKAGE)[SCRIPT].content.decode()
    assert "SwaggerUIBundle" in script
    found = re.search(r'PACKAGE_VERSION:"(\d+)\.', script)
    assert found is not None
    assert int(found[1]) >= 5  # the first that reads OpenAPI 3.1


def test_its_stylesheet_loads_nothing() -> None:
    style = viewer_files(api_viewer.PACKAGE)[STYLE].content.decode()
    assert "@import" not in style
    assert set(re.findall(r"url\([\"']?([a-z]+:)?", style)) <= {"data:"}


def test_our_start_of_it_keeps_no_key_and_asks_no_other_server() -> None:
    text = assets.assets()["docs_api.js"].content.decode()
    assert "persistAuthorization: false" in text
    assert "validatorUrl: null" in text
    assert "queryConfigEnabled: false" in text


def test_without_the_package_the_page_says_how_to_get_it_and_where_else_to_read(shared: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_viewer, "viewer_files", lambda package: {})
    client = Client(shared.port)
    html = check_page(client.get("/docs/api"))
    assert "pip install offapi" in text_of(html)
    assert 'href="/docs/routes"' in html
    assert "/assets/viewer/" not in html
    assert client.get(f"/assets/viewer/{SCRIPT}").status == 404


@pytest.mark.parametrize("has", [[], ["swagger_bundle.js"], ["swagger_style.css"]])
def test_a_package_that_lacks_a_file_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: list[str]) -> None:
    name = f"no_viewer_{len(has)}_{'_'.join(has).replace('.', '_')}"
    (tmp_path / name).mkdir()
    for file in ["__init__.py", *has]:
        (tmp_path / name / file).write_text("raise AssertionError('it was run')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert viewer_files(name) == {}


def test_a_package_that_is_not_there_is_none() -> None:
    assert viewer_files("no_such_package_as_this") == {}
