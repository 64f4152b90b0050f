"""The documentation in the app: every page is drawn, every link on it leads somewhere, and a built package has the texts inside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from control_plane import Plane
from emberank.forge.openapi import GATEWAY_OPERATIONS, OPERATIONS
from emberank.forge.web.docs.documentation import Documentation, documentation, folder
from emberank.forge.web.docs.markdown import Leads, article_of, slug_of
from page_checks import check_page, faults, read_page, text_of
from wire import WAIT_S, Client

ROOT = Path(__file__).parents[4]
TEXTS = sorted((ROOT / "docs").rglob("*.md"))
NAMES = [path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in TEXTS if path.name != "index.md"]


def drawn(text: str) -> str:
    return str(article_of(text, lambda href: Leads(href=href)).body)


# What is there


def test_every_text_of_the_repository_is_a_page() -> None:
    assert len(NAMES) > 30
    assert sorted(documentation().pages) == sorted(NAMES)


def test_the_index_names_every_page_but_the_decisions_which_it_names_as_a_folder() -> None:
    listed = re.findall(r"\]\(([^)]+)\)", (ROOT / "docs" / "index.md").read_text("utf-8"))
    assert sorted(listed) == sorted([*(f"{name}.md" for name in NAMES if not name.startswith("decisions/")), "decisions/"])


def test_the_pages_stand_in_the_index_s_order() -> None:
    names = list(documentation().pages)
    assert names[:3] == ["quickstart", "architecture", "glossary"]
    assert names[-1] == max(name for name in names if name.startswith("decisions/"))
    assert names.index("howto/catalogue") < names.index("behaviour/life-cycle") < names.index("reference/forge-api")


def test_the_texts_are_found_through_the_package_or_beside_the_source() -> None:
    found = folder()
    inside = files("emberank").joinpath("documentation")
    assert found == (inside if inside.is_dir() else ROOT / "docs")
    for name in NAMES:
        assert found.joinpath(f"{name}.md").is_file(), name


# Each page


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_well_formed_and_every_link_on_it_leads_to_a_place_that_is_there(shared: Plane, name: str) -> None:
    html = check_page(Client(shared.port).get(f"/docs/{name}"))
    page = read_page(html)
    assert html.count(f'href="/docs/{name}" aria-current="page"') == 2  # in the list, and in the one that is folded
    for link in page.links:
        address = urlsplit(link)
        if not address.netloc and address.path.startswith("/docs/") and address.path.removeprefix("/docs/") not in ("api", "routes", "search"):
            other = documentation().article(address.path.removeprefix("/docs/"))
            assert not address.fragment or unquote(address.fragment) in other.ids, link


def repository_links() -> list[tuple[Path, str]]:
    found = []
    for path in [*TEXTS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "AGENTS.md", ROOT / "CHANGELOG.md"]:
        found += [(path, href) for href in article_of(path.read_text("utf-8"), lambda href: Leads(href=href)).hrefs]
    return found


def test_every_relative_link_of_the_documentation_and_the_readme_leads_to_a_file_and_a_heading() -> None:
    links = repository_links()
    assert len(links) > 80
    broken = [f"{path.relative_to(ROOT)}: {href}" for path, href in links if not leads_somewhere(path, href)]
    assert broken == []


def leads_somewhere(path: Path, href: str) -> bool:
    parts = urlsplit(href)
    if parts.scheme:
        return parts.scheme in ("http", "https", "mailto")
    if parts.path.startswith("/"):
        return False  # on a page of the repository that is nowhere
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not parts.fragment or (
        target.suffix == ".md" and unquote(parts.fragment) in article_of(target.read_text("utf-8"), lambda href: Leads(href=href)).ids
    )


@pytest.mark.parametrize("href", ["nowhere.md", "glossary.md#no-such-heading", "#no-such-heading", "../../outside.md", "/docs/glossary", "x:y"])
def test_the_check_of_links_finds_one_that_is_broken(href: str) -> None:
    assert not leads_somewhere(ROOT / "docs" / "index.md", href)


def test_a_page_has_its_contents_its_neighbours_and_its_place(shared: Plane) -> None:
    html = check_page(Client(shared.port).get("/docs/behaviour/gateway"))
    assert '<a href="#dialects">Dialects</a>' in html
    assert '<h2 id="dialects">' in html
    assert 'href="/docs/behaviour/life-cycle" rel="prev"' in html
    assert 'href="/docs/behaviour/figures" rel="next"' in html
    assert '<a href="/docs#behaviour">Behaviour</a>' in html
    assert '<a href="/docs" aria-current="page">Docs</a>' in html
    first, last = list(documentation().pages)[:: len(NAMES) - 1]
    assert 'rel="prev"' not in check_page(Client(shared.port).get(f"/docs/{first}"))
    assert 'rel="next"' not in check_page(Client(shared.port).get(f"/docs/{last}"))


def test_the_index_shows_every_page_in_its_section(shared: Plane) -> None:
    html = check_page(Client(shared.port).get("/docs"))
    linked = [
        link.removeprefix("/docs/") for link in read_page(html).links if link.startswith("/docs/") and link not in ("/docs/api", "/docs/routes", "/docs/search")
    ]
    assert linked == list(documentation().pages)
    for title in ("Quickstart", "How-to", "Behaviour", "Reference", "Decisions"):
        assert f">{title}</h2>" in html


def test_an_installation_without_the_texts_says_so_and_works(shared: Plane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("emberank.forge.web.docs.page.documentation", lambda: Documentation(tmp_path / "none"))
    assert "came without the texts" in text_of(check_page(Client(shared.port).get("/docs")))
    assert Client(shared.port).get("/docs/quickstart").status == 404


# Addresses


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/docs/howto/web.md", "/docs/howto/web"),
        ("/docs/index", "/docs"),
        ("/docs/index.md", "/docs"),
        ("/docs/howto", "/docs#howto"),
        ("/docs/decisions/", "/docs#decisions"),
    ],
)
def test_an_address_as_in_the_repository_leads_to_the_page(shared: Plane, path: str, location: str) -> None:
    reply = Client(shared.port).get(path)
    assert (reply.status, reply.headers["location"]) == (301, location)


@pytest.mark.parametrize(
    ("path", "near"),
    [("/docs/howto/wbe", "/docs/howto/web"), ("/docs/gateway", "/docs/behaviour/gateway"), ("/docs/reference/setting.md", "/docs/reference/settings")],
)
def test_an_unknown_page_names_those_that_are_like_it(shared: Plane, path: str, near: str) -> None:
    html = check_page(Client(shared.port).get(path), 404)
    assert f'href="{near}"' in html


@pytest.mark.parametrize(
    "path",
    [
        "/docs/../pyproject.toml",
        "/docs/..%2f..%2fetc/passwd",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "/docs/howto/../../README",
        "/docs/howto%2f..%2f..%2fREADME.md",
        "/docs/howto/web%00",
        "/docs/generate_compat.py",
        "/docs/%ff%fe",
        "/docs//etc/passwd",
        "/docs/" + "a/" * 2000,
        "/docs/<script>alert(1)</script>",
    ],
)
def test_no_path_leads_to_another_file_or_writes_into_the_page(shared: Plane, path: str) -> None:
    reply = Client(shared.port).get(path)
    assert reply.status == 404
    assert b"<script>alert" not in reply.body
    assert b"root:" not in reply.body
    if b"<!doctype html>" in reply.body:
        assert faults(reply.body.decode()) == []


def test_the_pages_can_be_asked_for_but_not_written_to(shared: Plane) -> None:
    assert Client(shared.port).ask("POST", "/docs/howto/web", b"").status == 405


# What is drawn


def test_html_in_a_text_stays_text() -> None:
    html = drawn(
        "# T\n\nA <script>alert(1)</script> and <b onclick=x>b</b>\n\n<img src=x onerror=y>\n\n| a |\n|---|\n| <i>c</i> |\n\n```\n</code><script>\n```\n"
    )
    assert faults(html) == []
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;i&gt;c&lt;/i&gt;" in html


@pytest.mark.parametrize("href", ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd"])
def test_a_link_that_would_act_is_no_link(href: str) -> None:
    assert "<a " not in drawn(f"[x]({href})")


def test_a_comment_is_for_those_who_edit_the_text() -> None:
    html = drawn("# T\n\n<!-- written by a program -->\n\nWords <!-- x --> and\n\n```\n<!-- code -->\n```\n")
    assert "written by" not in html
    assert "&lt;!-- x --&gt;" in html  # inside a line it stays as it is written
    assert "&lt;!-- code --&gt;" in html


def test_headings_have_the_ids_that_links_elsewhere_use_and_each_another() -> None:
    article = article_of(
        "# T\n\n## What it costs (in $)\n\n## `code` & *words*\n\n## Main\n\n## Again\n\n## Again\n\n#### Deep\n", lambda href: Leads(href=href)
    )
    assert [heading.id for heading in article.contents] == ["what-it-costs-in-", "code--words", "main-1", "again", "again-1"]
    assert article.ids >= {"t", "deep"}
    assert (article.title, article.contents[1].text) == ("T", "code & words")
    assert faults(str(article.body)) == []


def test_a_heading_s_id_is_what_the_usual_rule_makes() -> None:
    assert slug_of(" POST /v1/models/{slug}: “Why”? ") == "post-v1modelsslug-why"
    assert slug_of("Größe_1") == "größe_1"


def test_a_table_is_in_a_box_of_its_own_with_a_name_and_no_style() -> None:
    html = drawn("# T\n\n## Costs\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |\n")
    assert 'aria-label="Table 1: Costs"' in html
    assert 'aria-label="Table 2: Costs"' in html
    assert 'class="num"' in html
    assert "docs-long" not in html
    assert drawn(f"# T\n\n| a |\n|---|\n| {'word ' * 20} |\n").count('<td class="docs-long">') == 1
    assert "style=" not in html
    assert faults(html) == []


def test_a_long_name_in_a_table_may_be_broken_behind_its_marks_and_nowhere_else() -> None:
    html = drawn("# T\n\n`EMBERANK_A_VERY_LONG_NAME_INDEED`\n\n| a |\n|---|\n| `EMBERANK_A<B_LONG_NAME_INDEED` |\n| `--short` |\n")
    assert "<code>EMBERANK_A_VERY_LONG_NAME_INDEED</code>" in html
    assert "<code>EMBERANK_<wbr>A&lt;B_<wbr>LONG_<wbr>NAME_<wbr>INDEED</code>" in html
    assert "<code>--short</code>" in html
    assert faults(html) == []


def test_code_can_be_copied_as_it_is_written() -> None:
    html = drawn("# T\n\n```sh\na < b && c\n```\n\n    indented\n")
    assert html.count("data-copy=") == 2
    assert "a &lt; b &amp;&amp; c\n</code>" in html
    assert faults(html) == []


def test_links_lead_to_pages_to_others_and_to_the_source(shared: Plane) -> None:
    lead = documentation().lead
    assert lead("behaviour/nim", "../howto/web.md#sessions") == Leads(href="/docs/howto/web#sessions")
    assert lead("behaviour/nim", "scores.md") == Leads(href="/docs/behaviour/scores")
    assert lead("quickstart", "index.md") == Leads(href="/docs")
    assert lead("quickstart", "decisions/") == Leads(href="/docs#decisions")
    assert lead("quickstart", "#x") == Leads(href="#x")
    assert lead("quickstart", "https://example.org/a.md") == Leads(href="https://example.org/a.md", elsewhere=True)
    assert lead("howto/web", "../../bench/results/x.md") == Leads(href="", shown="bench/results/x.md")
    assert lead("howto/web", "../README.md") == Leads(href="", shown="docs/README.md")
    html = str(article_of("[away](https://example.org) [source](../README.md) ![a chart](x.png)", lambda href: lead("quickstart", href)).body)
    assert '<a href="https://example.org" rel="noopener">away</a>' in html
    assert "source (<code>README.md</code> in the source)" in html
    assert "[picture: a chart]" in html


# All routes


def test_the_page_of_all_routes_shows_a_call_of_every_one(shared: Plane) -> None:
    html = check_page(Client(shared.port).get("/docs/routes"))
    for operation in (*OPERATIONS, *GATEWAY_OPERATIONS):
        assert f"<b>{operation.method.upper()}</b> <code>{operation.path}</code>" in html
    text = text_of(html)
    assert f"curl -s 'http://127.0.0.1:{shared.port}/v1/models' -H \"Authorization: Bearer $FORGE_API_KEY\"" in text
    assert '"text": "what is retrieval augmented generation?"' in text
    assert "max_tokens_per_doc integer A document is cut to so many tokens." in text


def test_a_host_header_cannot_write_into_the_page_of_all_routes(shared: Plane) -> None:
    reply = Client(shared.port).get("/docs/routes", {"Host": "x'><script>alert(1)</script>"})
    assert b"<script>alert" not in reply.body


# Built


def test_a_wheel_and_a_source_distribution_have_every_text_inside(tmp_path: Path) -> None:
    """Built by the package's own rules out of a copy, with what is installed here: nothing is fetched."""
    build = (
        "import os, sys; from setuptools.build_meta import build_sdist, build_wheel; out = sys.argv[1];"
        "sdist = build_sdist(out); import tarfile; tarfile.open(os.path.join(out, sdist)).extractall(out, filter='data');"
        "os.chdir(os.path.join(out, sdist.removesuffix('.tar.gz'))); build_wheel(out)"
    )
    source = tmp_path / "source"
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "docs", "src/emberank/__init__.py", "src/emberank/py.typed"):
        copied(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=source,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=WAIT_S * 6,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (sdist,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for path in TEXTS:
            name = path.relative_to(ROOT / "docs").as_posix()
            assert archive.read(f"emberank/documentation/{name}") == path.read_bytes(), name
        assert [name for name in archive.namelist() if "documentation" in name and not name.endswith(".md")] == []
        archive.extractall(tmp_path / "installed")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        assert inside >= {path.relative_to(ROOT).as_posix() for path in TEXTS} | {"setup.py"}
    installed = Documentation(tmp_path / "installed" / "emberank" / "documentation")
    assert list(installed.pages) == list(documentation().pages)


def copied(source: Path, target: Path) -> None:
    for path in [source] if source.is_file() else [each for each in source.rglob("*") if each.is_file()]:
        to = target / path.relative_to(source) if path != source else target
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
