"""The search of the documentation: what is found, in which order, how it is shown, and that no query does harm."""

from __future__ import annotations

import re

import pytest

from control_plane import Plane
from emberank.forge.web.docs.search import MOST_CHARS, MOST_WORDS, Entry, Index, snippet_of, words_of
from page_checks import check_page, read_page, text_of
from wire import Client

TITLE = Entry(address="/title", title="Budgets", heading="", text="Something about money.")
HEADING = Entry(address="/heading", title="Keys", heading="A budget for each", text="Dollars and tokens.")
TEXT = Entry(address="/text", title="Keys", heading="Limits", text="A key has a budget, which is a sum of dollars.")
OFTEN = Entry(address="/often", title="Keys", heading="More", text="budget budget budget " * 20 + " sum")
OTHER = Entry(address="/other", title="Weather", heading="Rain", text="It rains in EMBERANK_PUBLIC_URL on the cold start.")
INDEX = Index([OTHER, OFTEN, TEXT, HEADING, TITLE])


def addresses(query: str) -> list[str]:
    return [found.entry.address for found in INDEX.find(query).found]


def ask(shared: Plane, query: str) -> str:
    return check_page(Client(shared.port).get(f"/docs/search?q={query}"))


def test_a_title_tells_more_than_a_heading_and_that_more_than_any_number_of_times_in_a_text() -> None:
    assert addresses("budgets") == ["/title"]
    assert addresses("budget") == ["/title", "/heading", "/often", "/text"]


def test_a_page_s_title_counts_for_its_first_part_most() -> None:
    first = Entry(address="/first", title="The life cycle", heading="", text="x")
    later = Entry(address="/later", title="The life cycle", heading="Ends", text="life cycle, life cycle")
    elsewhere = Entry(address="/elsewhere", title="Routes", heading="Life cycle", text="x")
    assert [found.entry.address for found in Index([elsewhere, later, first]).find("life cycle").found] == ["/first", "/elsewhere", "/later"]


def test_a_part_must_have_every_word_when_one_has() -> None:
    answer = INDEX.find("budget dollars")
    assert [found.entry.address for found in answer.found] == ["/heading", "/text"]
    assert answer.complete


def test_when_none_has_every_word_those_that_have_most_come_first() -> None:
    answer = INDEX.find("budget dollars zebra")
    assert not answer.complete
    assert {found.entry.address for found in answer.found[:2]} == {"/heading", "/text"}


def test_the_beginning_of_a_word_finds_it_but_one_letter_only_itself() -> None:
    assert addresses("bud") == addresses("budge")
    assert "/heading" in addresses("bud")
    assert addresses("a") == ["/heading", "/text"]
    assert addresses("r") == []


def test_a_word_is_found_in_any_case_and_inside_a_name() -> None:
    assert addresses("RAIN") == addresses("rain") == ["/other"]
    assert addresses("EMBERANK_PUBLIC_URL") == addresses("public") == ["/other"]


def test_words_as_they_were_written_come_before_the_same_words_apart() -> None:
    apart = Entry(address="/apart", title="x", heading="", text="a start that is not cold, of cold cold start")
    whole = Entry(address="/whole", title="x", heading="", text="the cold start.")
    scattered = Entry(address="/scattered", title="x", heading="", text="start warm, then cold, start, cold.")
    assert [found.entry.address for found in Index([scattered, whole]).find("cold start").found] == ["/whole", "/scattered"]
    assert [found.entry.address for found in Index([scattered, apart]).find("cold start").found] == ["/apart", "/scattered"]


@pytest.mark.parametrize("query", ["", "   ", "!?", "___", "\x00", "“”"])
def test_a_query_without_a_word_finds_nothing(query: str) -> None:
    assert INDEX.find(query).found == ()


def test_a_query_is_bounded() -> None:
    assert words_of("a b " * 500) == ["a", "b"]
    assert len(words_of(" ".join(f"w{i}" for i in range(100)))) == MOST_WORDS
    assert words_of("x" * 10_000) == ["x" * MOST_CHARS]
    answer = INDEX.find("budget", most=2)
    assert (len(answer.found), answer.total) == (2, 4)


def test_a_snippet_is_the_place_that_has_most_of_the_words_with_them_marked() -> None:
    text = "cold " + "filler words go on " * 40 + "and here a cold start begins" + " and on it goes" * 40
    runs = snippet_of(text, ["cold", "start"])
    assert [run for run, hit in runs if hit] == ["cold", "start"]
    assert runs[0] == ("… ", False)
    assert runs[-1] == (" …", False)
    assert len("".join(run for run, _ in runs)) < 260


def test_a_snippet_of_a_short_text_is_all_of_it() -> None:
    assert snippet_of("A budgeted key.", ["budget"]) == (("A ", False), ("budgeted", True), (" key.", False))
    assert snippet_of("Nothing of it.", ["budget"]) == (("Nothing of it.", False),)
    assert snippet_of("", ["budget"]) == ()


def test_the_runs_of_a_snippet_are_the_text_itself() -> None:
    text = "An `a(b` [c]* start+ of \\ signs: " * 30
    runs = snippet_of(text, ["start", "b"])
    assert "".join(run for run, _ in runs).strip("… ") in text


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("sessions", "/docs/howto/web#sessions"),
        ("EMBERANK_PUBLIC_URL", "/docs/reference/settings#emberank-forge"),
        ("life+cycle", "/docs/behaviour/life-cycle"),
        ("opentelem", "/docs/howto/traces"),
        ("litellm+proxy", "/docs/behaviour/compatibility#litellms-proxy"),
    ],
)
def test_what_people_look_for_comes_first(shared: Plane, query: str, first: str) -> None:
    html = ask(shared, query)
    results = list(read_page(html.partition('class="docs-results"')[2].partition("</ol>")[0]).links)
    assert results[0] == first
    assert "<mark>" in html


def test_the_page_says_what_was_searched_for_and_how_much_was_found(shared: Plane) -> None:
    html = ask(shared, "gateway")
    assert 'value="gateway"' in html
    assert re.search(r"The best 20 of \d\d parts of the documentation for “gateway”, the best first\.", text_of(html))
    assert "Nothing has “xyzzy”" in text_of(ask(shared, "xyzzy"))
    assert "none has all of “xyzzy gateway”" in text_of(ask(shared, "xyzzy+gateway"))
    assert "Type a word" in text_of(check_page(Client(shared.port).get("/docs/search")))


def test_every_result_leads_to_a_part_that_is_there(shared: Plane) -> None:
    client = Client(shared.port)
    links = {link for query in ("key", "cold", "nim", "test") for link in read_page(ask(shared, query)).links if link.startswith("/docs/")}
    assert len(links) > 20
    for link in links:
        page, _, fragment = link.partition("#")
        html = check_page(client.get(page))
        assert not fragment or fragment in read_page(html).ids, link


@pytest.mark.parametrize(
    "query",
    [
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "%22%3E%3Cimg+src%3Dx+onerror%3Dy%3E",
        "%00%01%02",
        "%ff%fe",
        "(((((%2B%2B%5B",
        "a+" * 3000,
        "%F0%9F%94%A5" * 50,
        ".*",
        "%5C",
        "%E0%B8%81" * 90,
    ],
)
def test_a_hostile_query_is_text_and_is_answered(shared: Plane, query: str) -> None:
    html = ask(shared, query)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
