"""The frame of all pages, and the static files: what they say to a browser, and what they cannot be made to say."""

from __future__ import annotations

import gzip
import re

import pytest

from control_plane import Plane
from emberank import __version__
from emberank.contract.fleet import Principal
from emberank.forge.web import assets
from emberank.forge.web.filters import ago, bytes_, count, ms, pct, plural, segment, short, straight, usd
from emberank.forge.web.page import Pages, environment
from emberank.forge.web.visitor import NOBODY, Visitor
from emberank.serving.browsers import prefers_html
from page_checks import check_page, faults, text_of
from wire import Client

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SIGNED_IN = Visitor(principal=Principal(key_id="k", name="k", digest="", scopes=("read",)), csrf="c")
MOST_ASSET_BYTES = 100_000


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<p>x", "never closed"),
        ("<p></b></p>", "closes what is not open"),
        ("<p id=a></p><p id=a></p>", "twice"),
        ("<input name=q>", "no label"),
        ("<label for=q>Q</label>", "nothing has the id"),
        ("<p onclick='x()'></p>", "policy"),
        ("<p style='color: red'></p>", "policy"),
        ("<script>1</script>", "stands in the page"),
        ("<img src=x>", "no alt"),
        ("<a href='#x'>x</a>", "leads elsewhere"),
    ],
)
def test_the_check_of_pages_finds(html: str, fault: str) -> None:
    assert any(fault in one for one in faults(html)), faults(html)


def test_a_page_s_text_is_escaped_wherever_it_comes_from() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    page = Pages().error(400, hostile, hostile, visitor=NOBODY)
    html = bytes(page.body).decode()
    assert page.status_code == 400
    assert faults(html) == []
    assert "<script>" not in html
    assert text_of(html).count("<script>alert(1)</script>") == 3  # title, heading, sentence


def test_a_value_that_is_not_given_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(Exception, match="'nothing' is undefined"):
        environment().from_string("{{ nothing }}").render()


def test_a_page_of_somebody_who_is_signed_in_is_kept_nowhere() -> None:
    pages = Pages()
    assert pages.error(404, "t", "s", visitor=SIGNED_IN).headers["cache-control"] == "no-store"
    assert pages.error(404, "t", "s", visitor=NOBODY).headers["cache-control"] == "no-cache"
    assert pages.error(404, "t", "s", visitor=NOBODY).headers["vary"] == "Cookie"


def test_the_navigation_says_where_one_is_and_who_one_is() -> None:
    pages = Pages()
    anonymous = bytes(pages.render("error.html", title="t", visitor=NOBODY, active="catalog", sentence="s").body).decode()
    assert '<a href="/" aria-current="page">Catalog</a>' in anonymous
    assert "Sign in" in anonymous
    assert f">{__version__}<" in anonymous
    assert "/account" in bytes(pages.render("error.html", title="t", visitor=SIGNED_IN, active="", sentence="s").body).decode()


def test_everything_that_a_page_loads_is_there_and_may_be_kept_for_good(shared: Plane) -> None:
    client = Client(shared.port)
    html = check_page(client.get("/"))
    loaded = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', html))
    assert {one.partition("?")[0] for one in loaded} >= {"/assets/app.css", "/assets/theme.js", "/assets/icon.svg", "/assets/catalog.js"}
    for address in loaded:
        reply = client.get(address)
        assert reply.status == 200
        assert "immutable" in reply.headers["cache-control"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript", "image/svg+xml")


def test_a_static_file_without_the_right_hash_is_asked_for_again(shared: Plane) -> None:
    client = Client(shared.port)
    reply = client.get("/assets/app.css?v=old")
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-cache")
    again = client.get("/assets/app.css", {"If-None-Match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["none.css", "..%2fpage.py", "%2e%2e%2fpage.py", "page.py", "app.css%00"])
def test_there_are_no_other_files(shared: Plane, name: str) -> None:
    reply = Client(shared.port).get(f"/assets/{name}")
    assert reply.status == 404
    assert b"Jinja" not in reply.body


def loaded_by(html: str) -> dict[str, assets.Asset]:
    """The static files that a page loads at once: what it names, and what its scripts import before they run."""
    found: dict[str, assets.Asset] = {}
    names = re.findall(r'(?:src|href)="/assets/([\w.-]+)\?', html)
    while names:
        name = names.pop()
        if name not in found:
            found[name] = assets.assets()[name]
            if name.endswith(".js"):
                names += re.findall(r'\bfrom "\./([\w-]+\.js)', found[name].content.decode())
    return found


def test_the_catalogue_and_what_it_loads_weigh_little(shared: Plane) -> None:
    assert sum(len(each.content) for each in loaded_by(check_page(Client(shared.port).get("/"))).values()) <= MOST_ASSET_BYTES


@pytest.mark.parametrize(
    "path", ["/", "/models/nvidia-llama-3-2-nv-rerankqa-1b-v2", "/playground/nvidia-llama-3-2-nv-rerankqa-1b-v2", "/status", "/docs", "/docs/api", "/signin"]
)
def test_no_page_loads_more_than_little_as_it_is_sent(shared: Plane, path: str) -> None:
    loaded = loaded_by(check_page(Client(shared.port).get(path)))
    assert len(loaded) >= 3
    assert sum(len(each.packed) for each in loaded.values()) <= MOST_ASSET_BYTES


def test_no_static_file_loads_anything_from_elsewhere() -> None:
    for name, each in assets.assets().items():
        text = each.content.decode().replace("http://www.w3.org/", "")
        assert "http:" not in text, name
        assert "https:" not in text, name
        assert "@import" not in text, name


def test_a_module_is_imported_by_an_address_that_may_be_kept_for_good(shared: Plane) -> None:
    html = check_page(Client(shared.port).get("/"))
    imported = re.findall(r'from "\./(live\.js\?v=[0-9a-f]+)"', Client(shared.port).get(assets.address("catalog.js")).body.decode())
    assert imported == [assets.address("live.js").removeprefix(assets.PREFIX)]
    assert assets.address("catalog.js") in html
    assert "immutable" in Client(shared.port).get(assets.PREFIX + imported[0]).headers["cache-control"]


@pytest.mark.parametrize(("accepted", "packed"), [("gzip, br", True), ("br;q=1.0, GZIP;q=0.5", True), ("", False), ("br", False), ("gzip;q=0", False)])
def test_a_static_file_is_sent_packed_to_whoever_takes_that(shared: Plane, accepted: str, packed: bool) -> None:
    plain = Client(shared.port).get(assets.address("app.css"))
    reply = Client(shared.port).get(assets.address("app.css"), {"Accept-Encoding": accepted})
    assert reply.headers.get("content-encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(reply.body) if packed else reply.body) == plain.body
    assert reply.headers["vary"] == "Accept-Encoding"


def test_a_browser_at_an_address_that_leads_nowhere_gets_a_page(shared: Plane) -> None:
    html = check_page(Client(shared.port).get("/no/<b>such</b>", BROWSER), 404)
    assert "There is no such page" in html
    assert "<b>such" not in html


@pytest.mark.parametrize("path", ["/v1/nothing", "/assets/nothing", "/web/nothing", "/internal/nothing"])
def test_what_is_an_api_s_answers_json_to_browsers_too(shared: Plane, path: str) -> None:
    assert "no route" in Client(shared.port).get(path, BROWSER).message


def test_a_program_at_an_address_that_leads_nowhere_gets_json(shared: Plane) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/html;q=0.5"}):
        assert "no route" in Client(shared.port).get("/nothing", headers).message
    assert "no route" in Client(shared.port).ask("POST", "/nothing", b"", BROWSER).message


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER["Accept"], True),
        ("text/html", True),
        ("TEXT/HTML;Q=0.3", True),
        ("application/json;q=0.4, text/html;q=0.5", True),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
        (";;,,q=1", False),
    ],
)
def test_who_prefers_a_page(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (ms(None), "—"),
        (ms(0), "0.0 ms"),
        (ms(4.21), "4.2 ms"),
        (ms(186.4), "186 ms"),
        (ms(999.6), "1.0 s"),
        (ms(12_340), "12.3 s"),
        (ms(93_000), "1m 33s"),
        (ms(59_990), "1m 0s"),
        (ms(7_200_000), "2h 0m"),
        (usd(None), "—"),
        (usd(0), "$0"),
        (usd(7.15), "$7.15"),
        (usd(1234.5), "$1,234.50"),
        (usd(0.0000123), "$0.000012"),
        (usd(0.0045), "$0.0045"),
        (bytes_(None), "—"),
        (bytes_(15_100_000_000), "15.1 GB"),
        (bytes_(512), "512 B"),
        (count(8192), "8,192"),
        (count(None), "—"),
        (short(22_700_000), "22.7 M"),
        (short(1_000_000_000), "1 B"),
        (short(999), "999"),
        (pct(0.981), "98%"),
        (pct(0.981, 1), "98.1%"),
        (pct(None), "—"),
        (ago(None, 5.0), "never"),
        (ago(100.0, 100.2), "now"),
        (ago(100.0, 161.0), "1 minute ago"),
        (ago(0.0, 200_000.0), "2 days ago"),
        (plural(1, "model"), "1 model"),
        (plural(1200, "model"), "1,200 models"),
        (segment("a/b?c"), "a%2Fb%3Fc"),
        (straight("a\u202eb\u2066c\u200fd"), "abcd"),
    ],
)
def test_numbers_are_written_for_people(written: str, text: str) -> None:
    assert written == text


# Text on the grounds that it stands on: 4.5 to 1 is AA for text of any size; 3 to 1 is what a field's edge needs.
PAIRS = [
    *((ink, ground, 4.5) for ink in ("ink", "muted", "accent") for ground in ("bg", "surface", "sunken")),
    *((ink, ground, 4.5) for ink in ("good", "wait", "bad", "calm") for ground in ("bg", "surface", f"{ink}-soft")),
    *(("ink", f"{name}-soft", 4.5) for name in ("good", "wait", "bad", "calm")),
    ("accent", "accent-soft", 4.5),
    ("on-accent", "accent", 4.5),
    ("edge", "surface", 3.0),
    ("edge", "bg", 3.0),
]


@pytest.mark.parametrize("theme", ["light", "system-dark", "dark"])
def test_text_can_be_read_in_every_theme(theme: str) -> None:
    blocks = re.findall(r":root([^{]*)\{([^}]*)\}", assets.assets()["app.css"].content.decode())
    tokens = {name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", body)) for name, body in blocks if "--ink" in body}
    assert [name.strip() for name in tokens] == ["", ':not([data-theme="light"])', '[data-theme="dark"]']
    colours = dict(zip(("light", "system-dark", "dark"), tokens.values(), strict=True))[theme]
    for ink, ground, least in PAIRS:
        assert contrast(colours[ink], colours[ground]) >= least, f"{ink} on {ground}"


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
