"""The account page's pictures, budgets, key details, sessions and drafts: what a month has cost, who is signed in where, and nothing typed that is lost."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape

import pytest

from browser import Browser
from control_plane import ADMIN, NVIDIA, Plane
from emberank.forge.store.usage import UsageHour
from emberank.forge.web.account.draft import COOKIE
from emberank.forge.web.account.month_chart import Layer, month_chart
from emberank.forge.web.account.month_usage import MOST_GROUPS, OTHERS, as_csv, by_day, groups, month_named, month_of
from page_checks import check_page, text_of
from stores import record
from wire import Reply

Launch = Callable[..., Plane]
EVIL = "<script>alert('1')</script>\"&"
FORM = {"name": "ann’s key", "scopes": ["read", "manage"], "models": f"{NVIDIA}, tiny-embed", "monthly_usd": "2.5", "expires_in_days": "30"}
NOVEMBER_S = datetime(2026, 11, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def admin(browser: Browser) -> Browser:
    browser.sign_in(ADMIN)
    return browser


def use(plane: Plane, *, key_id: str = "k1", slug: str = NVIDIA, at_s: float | None = None, cost_usd: float = 0.25, number: int = 1, times: int = 1) -> None:
    """Requests that were answered and cost something."""
    at_s = plane.wall_s if at_s is None else at_s
    used = [record(request_id=f"r{number}-{place}", key_id=key_id, slug=slug, at_s=at_s, cost_usd=cost_usd) for place in range(times)]
    plane.run(lambda: plane.parts.stored(lambda store: store.usage.append("gw", number, used)))
    plane.do(lambda: plane.keys.spend(used))


def page_of(browser: Browser, query: str = "") -> str:
    return check_page(browser.get(f"/account{query}"))


def typed(page: str) -> dict[str, str]:
    """What stands in the form for a key."""
    form = page[page.index('id="new-key-form"') :]
    return {name: unescape(value) for name, value in re.findall(r'<input id="(\w+)" name="\w+"[^>]*? value="([^"]*)"', form)}


def ticked(page: str) -> list[str]:
    return re.findall(r'name="scopes" value="(\w+)" checked', page)


# A month of usage.


def test_a_month_is_drawn_by_day_and_stands_in_a_table_beside(plane: Plane, admin: Browser) -> None:
    use(plane, times=3)
    use(plane, slug="tiny-embed", at_s=plane.wall_s - 86_400, number=2)
    page = page_of(admin)
    words = text_of(page)
    assert page.count('class="chart usage-chart"') == 2
    assert "Cost by day, January 2027 $1.00 in all; the most on 15 January: $0.75" in words
    assert "Requests by day, January 2027 4 requests in all; the most on 15 January: 3 requests" in words
    assert "2027-01-14 1 0 100 $0.25 2027-01-15 3 0 300 $0.75" in words
    assert f"</svg> {NVIDIA}</li>" in page


def test_colours_are_of_models_or_of_keys(plane: Plane, admin: Browser) -> None:
    key_id = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"]}).json["key_id"]
    use(plane, key_id=key_id)
    assert "</svg> ann</li>" in page_of(admin, "?by=key")
    assert "</svg> ann</li>" not in page_of(admin, "?by=model")


def test_two_keys_of_one_name_are_told_apart_by_their_ids(plane: Plane, admin: Browser) -> None:
    first, second = (plane.post("/v1/keys", {"name": "ann", "scopes": ["read"]}).json["key_id"] for _ in range(2))
    use(plane, key_id=first)
    use(plane, key_id=second, number=2)
    page = page_of(admin, "?by=key")
    assert f"</svg> ann ({first})</li>" in page
    assert f"</svg> ann ({second})</li>" in page


def test_an_earlier_month_is_looked_at_by_its_name(plane: Plane, admin: Browser) -> None:
    use(plane, at_s=plane.wall_s - 20 * 86_400)
    assert "No requests in January 2027" in text_of(page_of(admin))
    page = page_of(admin, "?month=2026-12")
    assert "Usage in December 2026" in text_of(page)
    assert "2026-12-26" in page
    assert 'href="/account?month=2027-01&amp;by=model#usage"' in page
    assert "No requests in November 2026" in text_of(page_of(admin, "?month=2026-11"))


@pytest.mark.parametrize("month", ["2027-02", "2025-11", "2026-13", "x", "2026-1", EVIL, "9" * 5000])
def test_a_month_that_cannot_be_shown_is_said(admin: Browser, month: str) -> None:
    from urllib.parse import quote

    page = page_of(admin, f"?month={quote(month)}")
    assert "cannot be shown" in text_of(page)
    assert "Usage in January 2027" in text_of(page)
    assert "<script>alert" not in page


def test_usage_without_a_price_has_no_picture_of_its_cost_and_says_why(plane: Plane, admin: Browser) -> None:
    use(plane, cost_usd=0.0)
    page = page_of(admin)
    assert page.count('class="chart usage-chart"') == 1
    assert "It cost nothing: no price is known" in text_of(page)


def test_the_file_has_what_the_page_shows(plane: Plane, admin: Browser) -> None:
    key_id = plane.post("/v1/keys", {"name": "=cmd()", "scopes": ["read"]}).json["key_id"]
    use(plane, key_id=key_id, times=2)
    reply = admin.get("/account/usage.csv?month=2027-01")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="emberank-usage-2027-01.csv"'
    head, row = csv.reader(io.StringIO(reply.body.decode()))
    found = dict(zip(head, row, strict=True))
    assert (found["day"], found["key"], found["model"], found["requests"]) == ("2027-01-15", "'=cmd()", NVIDIA, "2")
    assert float(found["cost_usd"]) == 0.5
    assert len(list(csv.reader(io.StringIO(admin.get("/account/usage.csv?month=2026-12").body.decode())))) == 1


def test_whoever_may_not_manage_gets_a_file_and_pictures_of_their_own_usage_only(plane: Plane, browser: Browser) -> None:
    mine, other = (plane.post("/v1/keys", {"name": name, "scopes": ["read"], "models": [NVIDIA]}).json for name in ("mine", "theirs"))
    use(plane, key_id=mine["key_id"])
    use(plane, key_id=mine["key_id"], slug="tiny-embed", number=2)  # before the key was restricted to one model
    use(plane, key_id=other["key_id"], cost_usd=7.0, number=3)
    browser.sign_in(mine["key"])
    page, text = page_of(browser, "?by=key"), browser.get("/account/usage.csv").body.decode()
    for each in (page, text):
        assert "mine" in each
        assert "theirs" not in each
        assert other["key_id"] not in each
        assert "tiny-embed" not in each
    assert "$0.25 in all" in text_of(page)


def test_nobody_gets_the_file_without_signing_in(browser: Browser) -> None:
    reply = browser.get("/account/usage.csv")
    assert (reply.status, reply.headers["location"]) == (303, "/signin?next=/account/usage.csv")


def hour(**changed: object) -> UsageHour:
    values: dict[str, object] = {"hour_s": int(NOVEMBER_S), "key_id": "k", "slug": "m", "version": "v1", "gpu_type": "CPU", "region": "local"}
    values |= {"requests": 1, "errors": 0, "tokens": 10, "passages": 1, "model_ms": 1.0, "cost_usd": 0.5}
    return UsageHour(**(values | changed))  # type: ignore[arg-type]


def test_months_have_their_days() -> None:
    november = month_of(NOVEMBER_S + 5)
    assert (november.name, november.title, november.days, november.start_s) == ("2026-11", "November 2026", 30, NOVEMBER_S)
    assert (november.before.name, november.after.name, november.after.before) == ("2026-10", "2026-12", november)
    leap = month_of(datetime(2028, 2, 29, 23, tzinfo=UTC).timestamp())
    assert (leap.days, leap.after.name, leap.before.name) == (29, "2028-03", "2028-01")


@pytest.mark.parametrize(("text", "known"), [("2026-11", True), ("2025-11", True), ("2025-10", False), ("2026-12", False), ("2026-11-01", False), ("", False)])
def test_only_months_whose_sums_are_kept_can_be_looked_at(text: str, known: bool) -> None:
    assert (month_named(text, NOVEMBER_S) is not None) is known


def test_an_hour_outside_the_month_is_in_no_day() -> None:
    november = month_of(NOVEMBER_S)
    hours = [hour(), hour(hour_s=int(NOVEMBER_S) + 29 * 86_400 + 82_800), hour(hour_s=int(NOVEMBER_S) - 3600), hour(hour_s=int(november.after.start_s))]
    assert [row["day"] for row in by_day(hours, november)] == ["2026-11-01", "2026-11-30"]
    (group,) = groups(hours, november, "model", {})
    assert (group.requests[0], group.requests[29], sum(group.requests)) == (1, 1, 2)


def test_beyond_the_dearest_few_all_others_are_one_group() -> None:
    hours = [hour(slug=f"m{place}", cost_usd=float(place)) for place in range(9)]
    found = groups(hours, month_of(NOVEMBER_S), "model", {})
    assert [group.name for group in found] == [*(f"m{place}" for place in range(8, 8 - MOST_GROUPS, -1)), OTHERS]
    assert sum(sum(group.cost_usd) for group in found) == sum(range(9))


def test_bars_are_as_high_as_their_values_and_their_words_are_text() -> None:
    layers = [Layer(colour="a", values=(1.0, 0.0, 3.0)), Layer(colour="b", values=(1.0, 0.0, 1.0))]
    svg = month_chart("x", EVIL, layers, lambda value: f"{value:g} <i>", lambda value: f"{value:g}", lambda index: f"day {index}")
    assert "<script>" not in svg
    assert "<i>" not in svg
    heights = [float(each) for each in re.findall(r'class="usage-\w+"[^>]*height="([\d.]+)"', svg)]
    assert len(heights) == 4  # nothing is drawn of a day without any
    assert heights[2] == pytest.approx(3 * heights[0], abs=0.02)
    assert "6 &lt;i&gt; in all; the most on day 2: 4" in svg
    assert month_chart("x", "t", [Layer(colour="a", values=(0.0,))], str, str, str) == month_chart("x", "t", [], str, str, str) == ""


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", "\n=1", "＝1+1"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name: str) -> None:
    _, row = csv.reader(io.StringIO(as_csv([hour()], {"k": name})))
    assert row[2] == f"'{name}"


# Budgets and keys.


@pytest.mark.parametrize(
    ("spent", "state", "words"), [(1.0, "open", ""), (4.0, "near", "has used 80% of its budget of $5.00"), (5.0, "spent", "has used up its budget of $5.00")]
)
def test_a_budget_is_a_bar_with_numbers_that_warns_near_its_end(plane: Plane, admin: Browser, spent: float, state: str, words: str) -> None:
    key_id = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"], "monthly_usd": 5}).json["key_id"]
    use(plane, key_id=key_id, cost_usd=spent)
    page = page_of(admin)
    assert f'data-budget="{state}"' in page
    assert f"${spent:.2f} of $5.00" in text_of(page)
    assert ('id="account-near"' in page) is bool(words)
    assert words in text_of(page)


def test_a_budget_of_tokens_is_shown_too(plane: Plane, admin: Browser) -> None:
    key_id = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"], "monthly_tokens": 1000}).json["key_id"]
    use(plane, key_id=key_id, times=9)
    assert "900 tokens of 1 k tokens (90%)" in text_of(page_of(admin))


def test_a_key_says_what_it_may_since_when_until_when_and_when_it_was_used(plane: Plane, admin: Browser) -> None:
    limits = {"models": [NVIDIA], "expires_in_days": 3, "requests_per_minute": 60, "concurrency": 4}
    key_id = plane.post("/v1/keys", {"name": "ann", "scopes": ["inference", "read"], **limits}).json["key_id"]
    words = text_of(page_of(admin))
    assert f"ann {key_id} created 2027-01-15 inference, read 60 requests per minute 4 at a time {NVIDIA} never 2027-01-18 soon $0 no budget set" in words


def test_a_key_that_was_made_can_be_copied_as_lines_of_an_env_file(admin: Browser) -> None:
    page = check_page(admin.send("/account/keys", {"name": "ann", "scopes": ["read"]}), 201)
    assert re.search(r'data-copy="made-key" hidden>Copy</button><pre id="made-key"><code>export FORGE_API_KEY=ember_', page)
    assert re.search(rf'<pre id="made-env"><code>FORGE_API_BASE={admin.home}\nFORGE_API_KEY=ember_[\w-]+</code></pre>', page)


def test_models_can_be_chosen_from_those_that_the_key_may_use(plane: Plane, admin: Browser, browser: Browser) -> None:
    assert re.findall(r'<option value="([\w-]+)"></option>', page_of(admin)) == [NVIDIA, "tiny-embed", "huge"]
    browser = Browser(plane.port)
    browser.sign_in(plane.key("manage", models=["tiny-embed"])["Authorization"].partition(" ")[2])
    page = page_of(browser)
    assert re.findall(r'<option value="([\w-]+)"></option>', page) == ["tiny-embed"]
    assert "Name those of yours that it may use" in text_of(page)


def test_before_a_key_is_revoked_the_page_says_when_it_was_last_used(plane: Plane, admin: Browser) -> None:
    made = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"]}).json
    assert "It was never used." in text_of(page_of(admin))
    plane.get("/v1/models", {"Authorization": f"Bearer {made['key']}"})
    plane.wall_s += 120
    words = text_of(page_of(admin))
    assert "It was last used 2 minutes ago." in words
    assert "You are signed in with it: this signs you out." in words  # of the admin's own key
    admin.send(f"/account/keys/{made['key_id']}/revoke", {})
    words = text_of(page_of(admin))
    assert f"ann {made['key_id']} revoked 2027-01-15 2 minutes ago" in words


def test_hostile_names_are_text_everywhere(plane: Plane, admin: Browser) -> None:
    key_id = plane.post("/v1/keys", {"name": EVIL, "scopes": ["read"], "monthly_usd": 1}).json["key_id"]
    use(plane, key_id=key_id, slug=EVIL, cost_usd=2.0)
    for query in ("", "?by=key"):
        page = page_of(admin, query)
        assert "<script>alert" not in page
        assert unescape(page).count(EVIL) >= 4
    admin.send(f"/account/keys/{key_id}/revoke", {})
    assert "<script>alert" not in page_of(admin)


# Sessions.


def test_ones_own_sessions_are_listed_and_ended_everywhere(plane: Plane, admin: Browser) -> None:
    other, stranger = Browser(plane.port), Browser(plane.port)
    other.sign_in(ADMIN)
    stranger.sign_in(plane.key("manage")["Authorization"].partition(" ")[2])
    plane.wall_s += 300
    page = page_of(admin)
    assert re.findall(r'data-session="(\w+)"', page) == ["here", "elsewhere"]
    assert "This browser , signed in 5 minutes ago, last used now" in text_of(page)
    assert re.findall(r'data-session="(\w+)"', page_of(stranger)) == ["here"]
    assert admin.send("/account/sessions/end", {}, csrf="wrong").status == 403
    assert other.get("/account").status == 200
    reply = admin.send("/account/sessions/end", {})
    assert (reply.status, reply.headers["location"]) == (303, "/signin")
    assert admin.cookies == {}
    assert other.get("/account").headers["location"] == "/signin?next=/account"
    assert stranger.get("/account").status == 200


def test_a_key_that_is_revoked_while_somebody_uses_it_is_named_at_the_sign_in(plane: Plane, browser: Browser) -> None:
    made = plane.post("/v1/keys", {"name": f"ann {EVIL}", "scopes": ["read"]}).json
    browser.sign_in(made["key"])
    plane.ask("DELETE", f"/v1/keys/{made['key_id']}")
    assert browser.get("/account").headers["location"] == "/signin?next=/account"
    page = check_page(browser.get("/signin?next=/account"))
    assert f"You are signed out, because the key “ann {EVIL}” was revoked." in text_of(page)
    assert "<script>alert" not in page
    assert "was revoked" not in text_of(check_page(browser.get("/signin?next=/account")))  # it is said once: the browser has forgotten the session


def test_a_key_that_expires_while_somebody_uses_it_is_named_too(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("read", expires_in_days=0.01)["Authorization"].partition(" ")[2])
    plane.wall_s += 1000
    browser.get("/account")
    assert "because the key “some one” has expired" in text_of(check_page(browser.get("/signin?next=/account")))


# What was typed is not lost.


def expire(plane: Plane) -> None:
    plane.wall_s += plane.settings.web_session_max_s


def test_a_form_that_was_sent_after_the_sessions_end_comes_back_after_the_sign_in(plane: Plane, admin: Browser) -> None:
    before = len(plane.get("/v1/keys").json["data"])
    expire(plane)
    reply = admin.send("/account/keys", FORM)
    assert (reply.status, reply.headers["location"]) == (303, "/signin?next=/account")
    assert "HttpOnly" in reply.headers["set-cookie"]
    assert admin.send("/signin", {"key": ADMIN, "next": "/account"}).headers["location"] == "/account"
    page = page_of(admin)
    assert "no key was made. Here it is as you typed it" in text_of(page)
    found = typed(page)
    assert {name: found[name] for name in ("name", "models", "monthly_usd", "expires_in_days")} == {name: FORM[name] for name in FORM if name != "scopes"}
    assert ticked(page) == ["read", "manage"]
    assert len(plane.get("/v1/keys").json["data"]) == before
    assert admin.send("/account/keys", FORM).status == 201
    again = page_of(admin)
    assert (typed(again)["name"], "as you typed it" in text_of(again)) == ("", False)


def test_a_form_of_an_outdated_page_comes_back_as_it_was_typed(plane: Plane, admin: Browser) -> None:
    before = len(plane.get("/v1/keys").json["data"])
    page = check_page(admin.send("/account/keys", FORM, csrf="another sessions"), 403)
    assert typed(page)["name"] == FORM["name"]
    assert "This page was out of date, and no key was made." in text_of(page)
    assert len(plane.get("/v1/keys").json["data"]) == before
    assert admin.send("/account/keys", FORM).status == 201  # with the token of the page that came back


def test_a_key_that_asks_too_often_loses_nothing_that_was_typed(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("read", "manage", requests_per_minute=1)["Authorization"].partition(" ")[2])
    browser.send("/account/keys", {"name": "first", "scopes": ["read"]})
    page = check_page(browser.send("/account/keys", FORM), 429)
    assert typed(page)["name"] == FORM["name"]
    assert "No key was made: the key &#39;some one&#39; may send 1 request a minute" in page


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}])
def test_another_site_can_lay_no_form_aside(plane: Plane, browser: Browser, headers: dict[str, str]) -> None:
    reply = browser.send("/account/keys", FORM, headers)
    assert (reply.status, reply.headers["location"]) == (303, "/signin?next=/account")
    assert COOKIE not in browser.cookies


def test_another_sites_form_is_not_shown_as_if_it_were_ours(plane: Plane, admin: Browser) -> None:
    reply = admin.send("/account/keys", FORM, {"Origin": "https://evil.example"})
    assert FORM["name"] not in check_page(reply, 403)


def test_a_list_of_models_too_long_for_a_cookie_is_left_out_and_the_rest_is_kept(plane: Plane, admin: Browser) -> None:
    expire(plane)
    admin.send("/account/keys", {**FORM, "name": "n" * 100, "models": "ü" * 5_000, "monthly_tokens": "9" * 100})
    admin.send("/signin", {"key": ADMIN, "next": "/account"})
    found = typed(page_of(admin))
    assert (found["name"], found["monthly_usd"]) == ("n" * 100, "2.5")


@pytest.mark.parametrize("value", ["x", "e30", "bnVsbA==", "WzFd", "eyJuYW1lIjogMX0=", "%00", "=" * 5000, "eyJzY29wZXMiOiBbMSwgeyJhIjogMn1dfQ=="])
def test_a_draft_that_makes_no_sense_is_nobodys(admin: Browser, value: str) -> None:
    admin.cookies[COOKIE] = value
    page = page_of(admin)
    assert typed(page)["name"] == ""


def test_a_draft_is_text_whatever_is_in_it(plane: Plane, admin: Browser) -> None:
    expire(plane)
    admin.send("/account/keys", {**FORM, "name": EVIL, "models": EVIL})
    admin.send("/signin", {"key": ADMIN, "next": "/account"})
    page = page_of(admin)
    assert "<script>alert" not in page
    assert typed(page)["name"] == EVIL


def test_whoever_may_not_make_keys_is_shown_no_form_of_somebody_else(plane: Plane, admin: Browser) -> None:
    expire(plane)
    admin.send("/account/keys", FORM)
    admin.send("/signin", {"key": plane.key("read")["Authorization"].partition(" ")[2], "next": "/account"})
    page = page_of(admin)
    assert "as you typed it" not in text_of(page)
    assert FORM["name"] not in page


def test_where_no_keys_are_asked_for_the_page_lists_no_sessions(launch: Launch) -> None:
    page: Reply = Browser(launch(auth="none").port).get("/account")
    assert "Active sessions" not in text_of(check_page(page))
