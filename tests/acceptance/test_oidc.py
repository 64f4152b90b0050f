"""Sign-in with an OpenID Connect provider: a browser, `emberank up` and a provider, each a process or the manners of one, and every way that it can go wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from acceptance_environment import environment
from browser import Browser
from openid import CLIENT_ID, CLIENT_SECRET, ProviderProcess, consent, leave, sign_in, visit
from small_installation import TINY_RANK
from tinybert import write_checkpoint
from up_process import KEY, Authorized, Up
from wire import WAIT_S, Reply, until

CALLBACK = "/signin/oidc/callback"


def settings(issuer: str, **variables: str) -> dict[str, str]:
    return environment(
        EMBERANK_API_KEY=KEY,
        EMBERANK_OIDC_ISSUER=issuer,
        EMBERANK_OIDC_NAME="Our Company",
        EMBERANK_OIDC_CLIENT_ID=CLIENT_ID,
        EMBERANK_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        EMBERANK_OIDC_ALLOW="@example.com, group:staff",
        EMBERANK_OIDC_ADMINS="group:admins",
        EMBERANK_OIDC_MONTHLY_USD="5",
        **variables,
    )


class House:
    """One installation and its provider."""

    def __init__(self, folder: Path, provider: ProviderProcess, up: Up) -> None:
        self.folder, self.provider, self.up = folder, provider, up
        self.client: Authorized = up.ready()
        provider.set(redirect_uri=f"http://127.0.0.1:{self.client.port}{CALLBACK}")

    def browser(self) -> Browser:
        return Browser(self.client.port)

    def person(self, name: str) -> dict[str, object]:
        """A person's row."""
        rows = [row for row in self.client.get("/v1/keys").json["data"] if row["name"] == name]
        assert len(rows) == 1, rows
        found: dict[str, object] = rows[0]
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Shared: every test has a person of its own. At the end, no secret is in what it has written."""
    folder = tmp_path_factory.mktemp("house")
    provider = ProviderProcess(folder)
    up = Up(folder, settings(provider.issuer))
    try:
        yield House(folder, provider, up)
        up.stop()
        written = up.stdout + up.stderr
        assert CLIENT_SECRET not in written
        assert not re.search(r"code=|state=|eyJ", written)  # nor a code, a state or a token
        assert "Traceback" not in up.stderr
    finally:
        up.end()
        provider.end()


@pytest.fixture
def provider(house: House) -> ProviderProcess:
    """As at its start."""
    house.provider.fresh(sub="nobody")
    return house.provider


def text(reply: Reply) -> str:
    """What a page says; never a secret."""
    body = unescape(reply.body.decode())
    assert CLIENT_SECRET not in body
    assert "Traceback" not in body
    return body


def member(name: str, **claims: object) -> dict[str, object]:
    return {"sub": f"id-of-{name}", "email": f"{name}@example.com", "email_verified": True, **claims}


def test_a_person_signs_in_and_comes_back_to_the_page_they_were_on(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("ann"))
    browser = house.browser()
    page = text(browser.get("/signin?next=/account"))
    assert "Sign in with Our Company" in page
    assert 'href="/signin/oidc/start?next=/account"' in page

    away = leave(browser, "/account")
    asked = dict(parse_qsl(urlsplit(away).query))
    assert away.startswith(f"{provider.issuer}/authorize?")
    assert asked["redirect_uri"] == f"http://127.0.0.1:{house.client.port}{CALLBACK}"
    assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT_ID, "code", "S256")
    assert set(asked["scope"].split()) == {"openid", "email", "profile"}
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    before = browser.cookies["emberank_signin"]
    assert before not in away

    back = browser.get(consent(away))
    assert back.status == 303, text(back)
    assert back.headers["location"] == "/account"
    assert "emberank_session" in browser.cookies
    account = text(browser.get("/account"))
    assert "ann@example.com" in account
    assert "inference, read" in account
    row = house.person("ann@example.com")
    assert (row["scopes"], row["monthly_usd"]) == (["inference", "read"], 5.0)
    assert str(row["key_id"]).startswith("person-")


def test_a_session_of_a_person_does_what_their_rights_allow_and_no_more(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("bob"))
    browser = house.browser()
    assert sign_in(browser).status == 303
    browser.get("/account")
    assert browser.get("/web/api/v1/models").status == 200
    assert browser.get("/web/api/v1/keys").status == 403
    assert browser.get("/v1/models").status == 401  # a session is no key


def test_the_two_cookies_are_out_of_reach_for_scripts_and_other_sites(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("cookie"))
    browser = house.browser()
    begun = browser.get("/signin/oidc/start")
    assert re.search(r"emberank_signin=[\w-]{43}; HttpOnly; Max-Age=600; Path=/signin/oidc; SameSite=lax$", begun.headers["set-cookie"])
    assert begun.headers["cache-control"] == "no-store"


def test_who_is_in_the_admins_group_may_do_everything_and_has_no_budget(house: House, provider: ProviderProcess) -> None:
    provider.fresh(sub="id-of-eve", name="Eve Admin", groups=["other", "admins"])
    browser = house.browser()
    assert sign_in(browser).status == 303
    row = house.person("Eve Admin")
    assert (row["scopes"], row["monthly_usd"]) == (["inference", "read", "manage"], None)
    assert browser.get("/web/api/v1/keys").status == 200


def test_rights_follow_what_the_provider_says_at_the_next_sign_in_and_older_sessions_with_them(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("carl", groups=["admins"]))
    old = house.browser()
    assert sign_in(old).status == 303
    assert old.get("/web/api/v1/keys").status == 200
    provider.fresh(**member("carl", groups=[]))
    assert sign_in(house.browser()).status == 303
    assert old.get("/web/api/v1/keys").status == 403
    row = house.person("carl@example.com")
    assert (row["scopes"], row["monthly_usd"]) == (["inference", "read"], 5.0)
    provider.fresh(**member("carl", email="carl@elsewhere.net"))
    refused = sign_in(house.browser())
    assert refused.status == 403
    assert "not among those" in text(refused)
    assert old.get("/web/api/v1/models").status == 401  # whom nobody vouches for has no session either


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "dan@elsewhere.net", "email_verified": True},
        {"email": "dan@example.com", "email_verified": False},
        {"email": "dan@example.com"},
        {"email": "dan@elsewhere.net@example.com", "email_verified": True},
        {"email": "dan@sub.example.com", "email_verified": True},
        {"groups": ["Staff", "staff "]},
        {"groups": "staffs"},
        {"groups": {"staff": True}},
    ],
)
def test_nobody_gets_in_whom_no_rule_names(house: House, provider: ProviderProcess, claims: dict[str, object]) -> None:
    provider.fresh(sub="id-of-dan", **claims)
    browser = house.browser()
    reply = sign_in(browser)
    assert reply.status == 403
    assert "Ask whoever runs it" in text(reply)
    assert "emberank_session" not in browser.cookies
    assert browser.get("/account").status == 303


def test_what_only_userinfo_says_is_asked_for(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("frida", groups=["staff"]))
    asked = provider.set(in_token=[]).get("/who", 0)
    assert sign_in(house.browser()).status == 303
    assert provider.set()["/who"] == asked + 1
    assert house.person("frida@example.com")["state"] == "active"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"changes": {"nonce": "another"}}, "another sign-in (nonce)"),
        ({"changes": {"nonce": None}}, "another sign-in (nonce)"),
        ({"changes": {"aud": "somebody-else"}}, "another client"),
        ({"changes": {"aud": [CLIENT_ID, "somebody-else"]}}, "another client"),  # without azp
        ({"changes": {"azp": "somebody-else"}}, "another client"),
        ({"changes": {"iss": "https://elsewhere.example"}}, "another provider issued it"),
        ({"changes": {"exp": 1}}, "clocks"),
        ({"changes": {"nbf": 4_000_000_000}}, "clocks"),
        ({"changes": {"iat": 4_000_000_000}}, "clocks"),
        ({"changes": {"exp": None}}, "clocks"),
        ({"changes": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}, "at_hash"),
        ({"changes": {"sub": None}}, "sub"),
        ({"alg": "none"}, "signed in a way"),
        ({"alg": "HS256"}, "signed in a way"),
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_sign_in_opens_nothing(house: House, provider: ProviderProcess, changes: dict[str, object], words: str) -> None:
    provider.fresh(**member("gus"))
    provider.set(**changes)
    browser = house.browser()
    reply = sign_in(browser)
    assert reply.status == 403
    assert words in text(reply)
    assert "Sign in again" in text(reply)
    assert "emberank_session" not in browser.cookies


def test_new_keys_of_the_provider_are_fetched_when_a_token_names_one(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("hal"))
    assert sign_in(house.browser()).status == 303
    fetched = provider.set(rotate=True)["/keys"]
    assert sign_in(house.browser()).status == 303
    assert provider.set()["/keys"] == fetched + 1
    assert sign_in(house.browser()).status == 303
    assert provider.set()["/keys"] == fetched + 1


def test_a_return_works_once_and_in_the_browser_that_left(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("ida"))
    browser, thief = house.browser(), house.browser()
    path = consent(leave(browser))
    thief.get("/signin/oidc/start")
    for cookies in ({}, dict(thief.cookies)):
        thief.cookies = cookies
        stolen = thief.get(path)
        assert stolen.status == 400
        assert "another browser" in text(stolen)
        assert "emberank_session" not in thief.cookies
    assert browser.get(path).status == 400  # it was used up by the thief's second try

    path = consent(leave(browser))
    assert browser.get(path).status == 303
    browser.cookies.pop("emberank_session")
    again = browser.get(path)
    assert again.status == 400
    assert "finished already" in text(again)
    assert "emberank_session" not in browser.cookies


@pytest.mark.parametrize("query", ["", "state=x&code=y", "code=y", "state=" + "x" * 9000, "error=access_denied", "state=%00&code=%ff"])
def test_a_return_that_nobody_left_for_is_refused(house: House, query: str) -> None:
    browser = house.browser()
    browser.get("/signin/oidc/start")
    reply = browser.get(f"{CALLBACK}?{query}")
    assert reply.status == 400
    assert "Sign in again" in text(reply)


def test_an_answer_of_another_provider_is_refused(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("jon"))
    for iss in ("https://elsewhere.example", ""):
        browser = house.browser()
        parts = urlsplit(consent(leave(browser)))
        query = urlencode(dict(parse_qsl(parts.query)) | {"iss": iss})
        reply = browser.get(f"{parts.path}?{query}")
        assert reply.status == 400
        assert "not from Our Company" in text(reply)


def test_two_sign_ins_of_one_browser_do_not_disturb_each_other(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("kim"))
    browser = house.browser()
    first, second = leave(browser, "/account"), leave(browser, "/")
    assert browser.get(consent(first)).headers["location"] == "/account"
    assert browser.get(consent(second)).headers["location"] == "/"


@pytest.mark.parametrize("after", ["https://elsewhere.example/", "//elsewhere.example", "/%5Celsewhere.example", "/signin/oidc/start", "/web/api/v1/keys"])
def test_nobody_is_led_elsewhere_afterwards(house: House, provider: ProviderProcess, after: str) -> None:
    provider.fresh(**member("lea"))
    assert sign_in(house.browser(), after).headers["location"] in ("/", "/%5Celsewhere.example")


def test_a_person_who_refuses_and_a_provider_that_does_are_told_apart(house: House, provider: ProviderProcess) -> None:
    provider.set(claims=None)
    reply = sign_in(house.browser(), "/account")
    assert reply.status == 403
    assert "did not agree" in text(reply)
    assert 'href="/signin/oidc/start?next=/account"' in text(reply)
    provider.fresh(**member("max"))
    provider.set(error="temporarily_unavailable")
    reply = sign_in(house.browser())
    assert (reply.status, "temporarily_unavailable" in text(reply)) == (400, True)
    provider.set(error="<b>x</b>")
    reply = sign_in(house.browser())
    assert reply.status == 400
    assert "<b>x" not in text(reply)


def test_a_barred_person_is_out_at_once_until_they_are_allowed_again(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("nat"))
    nat = house.browser()
    assert sign_in(nat).status == 303
    admin = house.browser()
    admin.sign_in(KEY)
    key_id = house.person("nat@example.com")["key_id"]
    page = text(admin.get("/account"))
    assert f'action="/account/people/{key_id}/bar"' in page
    assert f"/account/keys/{key_id}/" not in page
    assert admin.send(f"/account/people/{key_id}/bar", {}).status == 303
    assert nat.get("/web/api/v1/models").status == 401
    refused = sign_in(house.browser())
    assert refused.status == 403
    assert "barred" in text(refused)
    assert f'action="/account/people/{key_id}/allow"' in text(admin.get("/account"))
    assert admin.send(f"/account/people/{key_id}/allow", {}).status == 303
    assert nat.get("/web/api/v1/models").status == 401  # the old session stays ended
    assert sign_in(nat).status == 303
    assert nat.get("/web/api/v1/models").status == 200


def test_people_are_barred_by_who_may_manage_only_and_nobody_bars_themselves(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("oda"))
    oda = house.browser()
    assert sign_in(oda).status == 303
    oda.get("/account")
    key_id = house.person("oda@example.com")["key_id"]
    assert oda.send(f"/account/people/{key_id}/bar", {}).status == 403
    assert house.browser().send(f"/account/people/{key_id}/bar", {}).headers["location"] == "/signin?next=/account"
    provider.fresh(**member("pia", groups=["admins"]))
    pia = house.browser()
    assert sign_in(pia).status == 303
    pia.get("/account")
    assert pia.send(f"/account/people/{key_id}/bar", {}, csrf="wrong").status == 403
    own = house.person("pia@example.com")["key_id"]
    reply = pia.send(f"/account/people/{own}/bar", {})
    assert (reply.status, "cannot bar yourself" in text(reply)) == (400, True)
    assert pia.get("/web/api/v1/keys").status == 200
    assert house.client.post(f"/v1/keys/{own}/rotate", {}).status == 400  # a person has no key


def test_signing_out_ends_the_session_here_and_shows_the_way_to_do_so_there(house: House, provider: ProviderProcess) -> None:
    provider.fresh(**member("quinn"))
    browser = house.browser()
    assert sign_in(browser).status == 303
    browser.get("/account")
    kept = dict(browser.cookies)
    reply = browser.send("/signout", {})
    assert (reply.status, reply.headers["location"]) == (303, "/signin?left")
    page = text(browser.get("/signin?left"))
    assert f"{provider.issuer}/leave?client_id={CLIENT_ID}" in page
    browser.cookies = kept
    assert browser.get("/web/api/v1/models").status == 401


def test_who_comes_by_another_name_of_this_server_begins_at_its_own(house: House, provider: ProviderProcess) -> None:
    browser = house.browser()
    reply = browser.get("/signin/oidc/start?next=/account", {"Host": f"localhost:{house.client.port}"})
    assert reply.headers["location"] == f"{browser.home}/signin/oidc/start?here=1&next=/account"
    assert browser.get("/signin/oidc/start?here=1&next=/account", {"Host": "behind.a.proxy"}).headers["location"].startswith(provider.issuer)


def test_a_person_is_the_same_one_after_a_restart_and_so_is_their_session(tmp_path: Path) -> None:
    provider = ProviderProcess(tmp_path)
    up = Up(tmp_path, settings(provider.issuer))
    try:
        house = House(tmp_path, provider, up)
        provider.fresh(**member("rob"))
        browser = house.browser()
        assert sign_in(browser).status == 303
        key_id = house.person("rob@example.com")["key_id"]
        up.stop()
        up = Up(tmp_path, settings(provider.issuer))
        house = House(tmp_path, provider, up)
        again = house.browser()
        again.cookies = dict(browser.cookies)
        assert again.get("/web/api/v1/models").status == 200
        provider.fresh(**member("rob", email="robert@example.com"))
        assert sign_in(house.browser()).status == 303
        assert house.person("robert@example.com")["key_id"] == key_id
    finally:
        up.end()
        provider.end()


def test_what_a_person_asks_for_on_a_page_is_counted_as_theirs_until_their_budget_is_used_up(tmp_path: Path) -> None:
    provider = ProviderProcess(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    weights = write_checkpoint(tmp_path / "weights", ranks=True)
    (tmp_path / "data" / "models.toml").write_text(TINY_RANK.format(folder=weights))
    up = Up(tmp_path, settings(provider.issuer, EMBERANK_LOCAL_USD_PER_HOUR="1000000", EMBERANK_PROBE_AFTER_START="no"))
    try:
        house = House(tmp_path, provider, up)
        provider.fresh(**member("tess"))
        browser = house.browser()
        assert sign_in(browser, "/account").status == 303
        browser.get("/account")
        body = {"query": {"text": "which way"}, "passages": [{"text": "the road"}, {"text": "red hot ice"}]}
        ask = partial(browser.post, "/web/api/v1/inference/tiny-rank", body, {"Origin": browser.home, "X-CSRF-Token": browser.csrf})
        assert ask().status == 200
        until(lambda: ask().status == 429, "the budget is used up", WAIT_S)
        assert "monthly budget of 5 USD" in ask().message
        row = house.person("tess@example.com")
        until(lambda: float(str(house.person("tess@example.com")["spent_usd_this_month"])) >= 5, "it is counted", WAIT_S)
        assert "tess@example.com" in text(browser.get("/account"))
        assert {each["key_id"] for each in house.client.get("/v1/usage").json["data"]} == {row["key_id"]}
    finally:
        up.end()
        provider.end()


def test_a_provider_that_is_away_stops_neither_the_start_nor_who_has_a_key(tmp_path: Path) -> None:
    provider = ProviderProcess(tmp_path)
    issuer = provider.issuer
    provider.end()
    up = Up(tmp_path, settings(issuer))
    try:
        client = up.ready()
        browser = Browser(client.port)
        page = text(browser.get("/signin?next=/account"))
        assert "Nobody can sign in with Our Company at the moment" in page
        assert 'name="key"' in page
        assert 'href="/signin/oidc/start' not in page
        reply = browser.get("/signin/oidc/start")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert "cannot be reached" in text(reply)
        browser.sign_in(KEY)

        provider = ProviderProcess(tmp_path, urlsplit(issuer).port or 0)
        provider.set(redirect_uri=f"http://127.0.0.1:{client.port}{CALLBACK}", claims=member("sue"))
        fresh = Browser(client.port)
        until(lambda: "Nobody can sign in" not in text(fresh.get("/signin")), "the provider is found", WAIT_S)
        path = consent(leave(fresh))
        provider.end()  # in the middle of it
        reply = fresh.get(path)
        assert (reply.status, "cannot be reached" in text(reply)) == (503, True)
        assert "emberank_session" not in fresh.cookies
        assert browser.get("/account").status == 200
    finally:
        up.end()
        provider.end()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EMBERANK_OIDC_CLIENT_ID": ""}, "EMBERANK_OIDC_CLIENT_ID is not"),
        ({"EMBERANK_OIDC_CLIENT_SECRET": ""}, "emberank secret set EMBERANK_OIDC_CLIENT_SECRET"),
        ({"EMBERANK_OIDC_ISSUER": ""}, "EMBERANK_OIDC_ISSUER is not"),
        ({"EMBERANK_OIDC_ALLOW": "", "EMBERANK_OIDC_ADMINS": ""}, "nobody is let in"),
        ({"EMBERANK_PUBLIC_URL": "http://models.example.com"}, "must be the https address"),
    ],
)
def test_a_half_set_provider_stops_the_start_with_one_line(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    up = Up(tmp_path, settings("https://login.example.com") | variables)
    try:
        assert up.status() == 2
        lines = [line for line in up.stderr.splitlines() if line.startswith("emberank: ")]
        assert len(lines) == 1
        assert words in lines[0]
        assert CLIENT_SECRET not in up.stdout + up.stderr
    finally:
        up.end()


def test_a_provider_that_others_wrote_signs_people_in_with_a_kept_secret(tmp_path: Path) -> None:
    """oidc-provider-mock: its own process, form and userinfo; the client's secret is in the data folder's store."""
    log = tmp_path / "mock"
    with log.open("wb") as err:
        mock = subprocess.Popen([sys.executable, "-m", "oidc_provider_mock", "--port", "0", "--require-nonce"], stderr=err, stdin=subprocess.DEVNULL)
    variables = {"EMBERANK_OIDC_CLIENT_SECRET": "", "EMBERANK_OIDC_ALLOW": "sub:tom"}
    try:
        until(lambda: b"running on http" in log.read_bytes() or mock.poll() is not None, "the provider runs", WAIT_S)
        found = re.search(rb"running on (http://127\.0\.0\.1:\d+)", log.read_bytes())
        assert found, log.read_bytes()
        issuer = found[1].decode()
        words = [sys.executable, "-m", "emberank.cli", "secret", "set", "EMBERANK_OIDC_CLIENT_SECRET", "--data-dir", str(tmp_path / "data")]
        subprocess.run(words, input=CLIENT_SECRET.encode(), check=True, timeout=WAIT_S, env=environment(), capture_output=True)
        up = Up(tmp_path, settings(issuer) | variables)
        try:
            browser = Browser(up.ready().port)
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = visit("POST", leave(browser, "/account"), b"sub=tom", form)
            back = urlsplit(answer.headers["location"])
            assert browser.get(f"{back.path}?{back.query}").headers["location"] == "/account"
            assert "tom" in text(browser.get("/account"))
        finally:
            up.end()
        assert CLIENT_SECRET not in up.stdout + up.stderr
    finally:
        mock.kill()
        mock.wait(WAIT_S)
