"""What a provider's word is worth: sign-ins under way, claims and the rights they give, ID tokens, and the settings of it all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from emberank.client.answer import Answer
from emberank.client.failures import ConnectFailed
from emberank.contract.errors import BadRequest, DeadlineExceeded, EmberankError, Forbidden, NotReady, SettingError
from emberank.contract.fleet import SCOPES
from emberank.forge.keys import Keys, is_person
from emberank.forge.rights import Rights
from emberank.forge.secret_store import SecretStore
from emberank.forge.store import Store, open_store
from emberank.forge.web.signin.oidc.admission import Admission, Rule, email_of, identity_of, name_of, rights_for, rules_of
from emberank.forge.web.signin.oidc.journey import MOST_A_MINUTE
from emberank.forge.web.signin.oidc.pending import LASTS_S, MOST, Pending
from emberank.forge.web.signin.oidc.protocol import ALGORITHMS, LEEWAY_S, TokenRefused, authorization_url, checked_claims, token_request
from emberank.forge.web.signin.oidc.provider import EXCHANGE_WITHIN_S, KEPT_S, Provider
from emberank.forge.web.signin.oidc.registration import SECRET, Registration, registration_of
from emberank.forge.web.signin.tries import Tries
from emberank.settings import ForgeSettings

ISSUER, CLIENT, NOW_S = "https://login.example.com/realms/one", "emberank", 1_800_000_000
ADMISSION = Admission(allowed=(Rule("domain", "example.com"),), admins=(Rule("group", "admins"),), others_monthly_usd=5.0)
REGISTRATION = Registration(issuer=ISSUER, name="Login", client_id=CLIENT, client_secret="hush", scopes="openid email", admission=ADMISSION)
SET = ForgeSettings(oidc_issuer=ISSUER, oidc_client_id=CLIENT, oidc_client_secret="hush", oidc_allow="@example.com", public_url="https://models.example.com")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# Sign-ins under way.


def test_what_begins_in_a_browser_ends_in_it_once() -> None:
    pending = Pending(Clock())
    begun = pending.begin("a browser", "/account")
    other = pending.begin("a browser", "/")
    assert len({begun.state, begun.nonce, begun.verifier, other.state, other.nonce, other.verifier}) == 6
    assert min(map(len, (begun.state, begun.nonce, begun.verifier))) == 43
    assert pending.take(begun.state, "a browser") == begun
    assert pending.take(begun.state, "a browser") is None
    assert pending.take(other.state, "another one") is None
    assert pending.take(other.state, "a browser") is None  # a wrong try uses it up
    assert pending.take("", "") is None
    assert begun.state not in repr(begun)


def test_what_takes_too_long_or_is_too_much_is_forgotten() -> None:
    clock = Clock()
    pending = Pending(clock)
    late, first = pending.begin("b", "/"), pending.begin("b", "/")
    clock.now = LASTS_S
    assert pending.take(late.state, "b") is None
    early = pending.begin("b", "/")
    assert pending.take(first.state, "b") is None
    for _ in range(MOST - 1):
        last = pending.begin("b", "/")
    assert pending.take(early.state, "b") == early
    second = pending.begin("b", "/")
    for _ in range(MOST):
        last = pending.begin("b", "/")
    assert pending.take(second.state, "b") is None
    assert pending.take(last.state, "b") == last


def test_one_address_cannot_crowd_out_what_others_have_begun() -> None:
    clock = Clock()
    tries, pending = Tries(clock, MOST_A_MINUTE), Pending(clock)
    own = pending.begin("own", "/")
    while clock.now < LASTS_S - 60:
        while not tries.count("203.0.113.7"):
            pending.begin("theirs", "/")
        assert tries.count("203.0.113.8") == 0
        clock.now += 60
    assert pending.take(own.state, "own") == own


# Who gets in.


def test_rules_are_read_as_they_are_written() -> None:
    assert rules_of(" @Example.com, Ann@Example.com,group:Staff & Co,, sub:a|B@1 ,Everybody", "X") == (
        Rule("domain", "example.com"),
        Rule("email", "ann@example.com"),
        Rule("group", "Staff & Co"),
        Rule("sub", "a|B@1"),
        Rule("everybody"),
    )
    assert rules_of("", "X") == ()


@pytest.mark.parametrize(
    "text", ["example.com", "@", "ann@", "group:", "groups:staff", "*", "@exa mple.com", "@*.example.com", "a@b@example.com", "ann smith@example.com"]
)
def test_a_rule_that_says_nothing_is_refused_with_its_setting(text: str) -> None:
    with pytest.raises(SettingError, match=r"EMBERANK_OIDC_ALLOW.*must be"):
        rules_of(f"@example.com,{text}", "EMBERANK_OIDC_ALLOW")


@pytest.mark.parametrize(
    ("claims", "rights"),
    [
        ({"email": "Ann@Example.com", "email_verified": True}, Rights(name="ann@example.com", scopes=("inference", "read"), monthly_usd=5.0)),
        ({"email": "ann@example.com", "email_verified": "true"}, Rights(name="ann@example.com", scopes=("inference", "read"), monthly_usd=5.0)),
        ({"groups": ["admins"], "name": "Ann"}, Rights(name="Ann", scopes=SCOPES)),
        ({"groups": "admins"}, Rights(name="id", scopes=SCOPES)),
        ({"groups": ["admins"], "email": "ann@example.com", "email_verified": True}, Rights(name="ann@example.com", scopes=SCOPES)),
        ({"groups": ["admins"], "email": "boss@example.com", "email_verified": False, "name": "x" * 500}, Rights(name="x" * 100, scopes=SCOPES)),
    ],
)
def test_claims_give_rights(claims: dict[str, Any], rights: Rights) -> None:
    assert rights_for(ADMISSION, {"sub": "id", **claims}) == rights


@pytest.mark.parametrize("verified", [False, None, 1, "yes", "True", [True]])
def test_an_address_that_is_not_verified_counts_for_nothing(verified: object) -> None:
    claims = {"sub": "id", "email": "ann@example.com", "email_verified": verified}
    assert email_of(claims) == ""
    with pytest.raises(Forbidden, match="does not say that your email address is verified"):
        rights_for(ADMISSION, claims)


def test_groups_may_lie_deeper_and_other_claims_may_name_a_person() -> None:
    deep = replace(ADMISSION, groups_claim="realm_access.roles", person_claim="oid")
    claims = {"sub": "id", "oid": "o-1", "realm_access": {"roles": ["admins"]}, "groups": []}
    assert rights_for(deep, claims).scopes == SCOPES
    assert identity_of(deep, claims) == "o-1"
    dotted = replace(ADMISSION, groups_claim="https://example.com/groups")
    assert rights_for(dotted, {"sub": "id", "https://example.com/groups": ["admins"]}).scopes == SCOPES
    for value in (None, "", 7, ["o-1"], "x" * 256):
        with pytest.raises(Forbidden, match="'oid' is missing"):
            identity_of(deep, {"sub": "id", "oid": value})
    with pytest.raises(Forbidden):
        identity_of(replace(ADMISSION, person_claim="email"), {"sub": "id", "email": "ann@example.com"})


@pytest.mark.parametrize(
    ("admission", "claims", "lacks"),
    [
        (ADMISSION, {"email": "a@b", "email_verified": True, "groups": []}, False),
        (ADMISSION, {"email": "a@b", "email_verified": False, "groups": []}, False),
        (ADMISSION, {"email": "a@b", "groups": []}, True),
        (ADMISSION, {"email": "a@b", "email_verified": True}, True),
        (Admission(allowed=(Rule("group", "staff"),), admins=()), {"groups": ["staff"], "name": "Ann"}, False),
        (Admission(allowed=(Rule("group", "staff"),), admins=()), {"groups": ["staff"]}, True),  # by what to call them?
        (Admission(allowed=(Rule("everybody"),), admins=()), {"preferred_username": "ann"}, False),
        (Admission(allowed=(Rule("everybody"),), admins=(), person_claim="oid"), {"preferred_username": "ann"}, True),
    ],
)
def test_what_decides_or_names_a_person_is_missed_and_nothing_else(admission: Admission, claims: dict[str, Any], lacks: bool) -> None:
    assert admission.lacks({"sub": "id", **claims}) is lacks


def test_a_person_is_shown_by_what_can_be_shown() -> None:
    assert name_of({"sub": "id", "name": "a\u202eb\n", "preferred_username": "ann"}) == "ann"
    assert name_of({"sub": "\0"}) == "somebody"


# Tokens.


def keyring() -> tuple[Any, dict[str, Any]]:
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}, private=True)
    return key, {"keys": [key.as_dict(private=False)]}


KEY, KEYS = keyring()


def token(key: Any = None, alg: str = "RS256", header: Mapping[str, object] = {"kid": "k1"}, **changes: object) -> str:
    from joserfc import jwt

    claims = {"iss": ISSUER, "aud": CLIENT, "sub": "ann", "iat": NOW_S, "exp": NOW_S + 300, "nonce": "n"} | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `none` is no good is what is tested
        return jwt.encode({"alg": alg, **header}, {name: value for name, value in claims.items() if value is not None}, key or KEY, algorithms=[alg])


def checked(text: str, keys: Mapping[str, Any] = KEYS, now_s: float = NOW_S) -> dict[str, Any]:
    return checked_claims(text, keys, issuer=ISSUER, client_id=CLIENT, nonce="n", access_token="at", now_s=now_s)


def test_a_good_token_says_who_it_is() -> None:
    assert checked(token(email="a@b"))["email"] == "a@b"
    assert checked(token(aud=[CLIENT]))["sub"] == "ann"
    assert checked(token(aud=[CLIENT, "other"], azp=CLIENT))["sub"] == "ann"
    assert checked(token(header={}))["sub"] == "ann"  # one key needs no name
    half = base64.urlsafe_b64encode(hashlib.sha256(b"at").digest()[:16]).rstrip(b"=").decode()
    assert checked(token(at_hash=half))["sub"] == "ann"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonce": "m"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": ["n"]}, "nonce"),
        ({"aud": "other"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": [CLIENT, "other"]}, "azp"),
        ({"aud": [CLIENT, "other"], "azp": "other"}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"iss": ISSUER + "/"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": [ISSUER]}, "iss"),
        ({"exp": NOW_S - LEEWAY_S}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "never"}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"iat": NOW_S + LEEWAY_S + 1}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": NOW_S + LEEWAY_S + 1}, "nbf"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "who signed in"),
        ({"sub": 7}, "sub"),
        ({"at_hash": "x"}, "at_hash"),
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused_and_the_claim_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(TokenRefused, match=words):
        checked(token(**changes))


def test_clocks_may_differ_by_a_minute() -> None:
    assert checked(token(exp=NOW_S - LEEWAY_S + 1, iat=NOW_S - 400))["sub"] == "ann"
    assert checked(token(iat=NOW_S + LEEWAY_S, nbf=NOW_S + LEEWAY_S))["sub"] == "ann"


def test_only_signatures_by_a_published_key_count() -> None:
    from joserfc.jwk import ECKey, OctKey, RSAKey

    assert not [name for name in ALGORITHMS if name == "none" or name.startswith("HS")]
    public_pem = KEY.as_pem(private=False)
    for text in (
        token(alg="none", key=None),
        token(alg="none").rsplit(".", 1)[0] + ".",
        token(alg="HS256", key=OctKey.import_key("hush" * 8)),
        # The classic: the public key as the secret of an HMAC.
        hmac_token(public_pem),
    ):
        with pytest.raises(TokenRefused, match="signed in a way"):
            checked(text)
    stranger = RSAKey.generate_key(2048, {"kid": "k1"}, private=True)
    for key, header in ((stranger, {"kid": "k1"}), (stranger, {"kid": "k2"})):
        with pytest.raises(TokenRefused, match="does not publish") as refused:
            checked(token(key=key, header=header))
        assert refused.value.unknown_key
    head, _, signature = token().split(".")
    changed = base64.urlsafe_b64encode(json.dumps({"iss": ISSUER, "aud": CLIENT, "sub": "eve"}).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenRefused):
        checked(f"{head}.{changed}.{signature}")
    brought = ECKey.generate_key("P-256", {"kid": "k3"}, private=True)
    own = token(key=brought, alg="ES256", header={"kid": "k3", "jwk": brought.as_dict(private=False)})
    with pytest.raises(TokenRefused, match="does not publish"):
        checked(own)  # a key that comes with the token is nobody's
    curve = ECKey.generate_key("P-256", {"kid": "e1"}, private=True)
    both = {"keys": [*KEYS["keys"], curve.as_dict(private=False), {"kty": "NEW", "kid": "x"}, {"kty": "oct", "k": "aHVzaA", "kid": "o"}, "junk"]}
    assert checked(token(key=curve, alg="ES256", header={"kid": "e1"}), both)["sub"] == "ann"
    with pytest.raises(TokenRefused):
        checked(token(), {"keys": [KEYS["keys"][0] | {"use": "enc"}]})


def hmac_token(secret: bytes) -> str:
    import hmac

    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256", "kid": "k1"}, {"iss": ISSUER})]
    signed = b".".join(parts)
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")).decode()


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.b.c.d.e", "eyJhbGciOiJSUzI1NiJ9..", "é.é.é", "." * 1000, "x" * 500_000])
@pytest.mark.parametrize(
    "keys", [KEYS, {}, {"keys": []}, {"keys": [{"kty": "RSA"}]}, {"keys": [None]}, {"keys": 7}], ids=["good", "none", "empty", "broken", "null", "number"]
)
def test_what_is_no_token_is_refused_in_words(text: str, keys: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        checked(text, keys)


def test_the_address_carries_the_hash_of_the_verifier_and_keeps_the_providers_own_query() -> None:
    url = authorization_url(
        f"{ISSUER}/auth?tenant=a b", client_id=CLIENT, redirect_uri="https://m/cb?x=1&y", scopes="openid email", state="s&t", nonce="n", verifier="v" * 43
    )
    query = dict(parse_qsl(urlsplit(url).query))
    assert query["code_challenge"] == base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
    assert (query["tenant"], query["state"], query["redirect_uri"]) == ("a b", "s&t", "https://m/cb?x=1&y")
    assert "v" * 43 not in url


@pytest.mark.parametrize(
    ("secret", "methods", "in_header", "in_body"),
    [
        ("plain", ("client_secret_basic", "client_secret_post"), "emberank:plain", ""),
        ("plain", ("client_secret_post",), "", "plain"),
        ("a:b+c%é", ("client_secret_basic", "client_secret_post"), "", "a:b+c%é"),
        ("a:b+c%é", ("client_secret_basic",), "emberank:a%3Ab%2Bc%25%C3%A9", ""),
        ("plain", ("private_key_jwt",), "emberank:plain", ""),
    ],
)
def test_the_secret_is_sent_in_a_way_that_all_read_alike(secret: str, methods: tuple[str, ...], in_header: str, in_body: str) -> None:
    headers, body = token_request(ISSUER, client_id=CLIENT, client_secret=secret, methods=methods, code="c&d", verifier="v" * 43, redirect_uri="https://m/cb")
    fields = dict(parse_qsl(body.decode()))
    assert fields["code"] == "c&d"
    assert (fields["grant_type"], fields["code_verifier"], fields["redirect_uri"]) == ("authorization_code", "v" * 43, "https://m/cb")
    assert base64.b64decode(headers.get("Authorization", "").removeprefix("Basic ")).decode() == in_header
    assert fields.get("client_secret", "") == in_body


# The provider.


class Net:
    """Answers by path, in the place of a pool."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes] | Exception] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.say("/.well-known/openid-configuration", self.configuration())
        self.say("/keys", KEYS)
        self.say("/token", {"access_token": "at", "id_token": token(email="ann@example.com", email_verified=True, groups=[])})

    @staticmethod
    def configuration(**changes: object) -> dict[str, object]:
        places = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys", "userinfo_endpoint": "who"}
        return {"issuer": ISSUER, **{name: f"{ISSUER}/{path}" for name, path in places.items()}} | changes

    def say(self, path: str, content: object, status: int = 200) -> None:
        if isinstance(content, Exception):
            self.answers[path] = content
        else:
            self.answers[path] = status, content if isinstance(content, bytes) else json.dumps(content).encode()

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, deadline: float, resend: bool) -> Answer:
        assert resend == (method == "GET")
        self.asked.append((method, url, dict(headers), body))
        found = self.answers[url.removeprefix(ISSUER)]
        if isinstance(found, Exception):
            raise found
        return Answer(found[0], [], found[1])

    def count(self, path: str) -> int:
        return sum(url == ISSUER + path for _, url, _, _ in self.asked)


def provider(net: Net, clock: Clock | None = None, registration: Registration = REGISTRATION) -> Provider:
    return Provider(registration, net, wall_s=lambda: NOW_S, clock=clock or Clock())  # type: ignore[arg-type]


def claims_of(one: Provider) -> dict[str, Any]:
    return asyncio.run(one.claims("code", verifier="v" * 43, nonce="n", redirect_uri="https://m/cb"))


def test_what_is_published_is_asked_for_once_an_hour() -> None:
    net, clock = Net(), Clock()
    one = provider(net, clock)
    for _ in range(3):
        assert claims_of(one)["email"] == "ann@example.com"
    assert (net.count("/.well-known/openid-configuration"), net.count("/keys"), net.count("/token"), net.count("/who")) == (1, 1, 3, 0)
    clock.now = KEPT_S
    claims_of(one)
    assert (net.count("/.well-known/openid-configuration"), net.count("/keys")) == (2, 2)


def test_one_question_is_enough_for_many_who_wait_and_for_some_seconds_of_silence() -> None:
    net, clock = Net(), Clock()
    net.say("/.well-known/openid-configuration", ConnectFailed("refused"))
    one = provider(net, clock)

    async def many() -> list[bool]:
        return await asyncio.gather(*(one.is_away() for _ in range(20)))

    assert asyncio.run(many()) == [True] * 20
    assert len(net.asked) == 1
    clock.now = 5.0
    net.say("/.well-known/openid-configuration", net.configuration())
    assert asyncio.run(many()) == [False] * 20
    assert len(net.asked) == 2


def test_a_page_does_not_wait_for_a_provider_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emberank.forge.web.signin.oidc.provider.LOOK_S", 0.01)

    async def play() -> None:
        net, silent = Net(), asyncio.Event()
        one, answer = provider(net), net.request

        async def hang(*given: Any, **named: Any) -> Answer:
            await silent.wait()
            return await answer(*given, **named)

        net.request = hang  # type: ignore[method-assign]
        assert await one.is_away()
        assert await one.sign_out_address() == ""
        silent.set()
        assert (await one.metadata()).token == f"{ISSUER}/token"  # the question went on
        assert not await one.is_away()
        assert net.count("/.well-known/openid-configuration") == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "answer", "status", "kind", "words"),
    [
        ("/.well-known/openid-configuration", b"<html>", 200, NotReady, "not with a JSON object"),
        ("/.well-known/openid-configuration", {}, 302, NotReady, "answered 302"),
        ("/.well-known/openid-configuration", Net.configuration(issuer="https://{tenant}/"), 200, NotReady, "to the letter"),
        ("/.well-known/openid-configuration", Net.configuration(token_endpoint="http://login.example.com/token"), 200, NotReady, "https"),
        ("/.well-known/openid-configuration", Net.configuration(authorization_endpoint="javascript:alert(1)"), 200, NotReady, "does not say"),
        ("/.well-known/openid-configuration", Net.configuration(end_session_endpoint="javascript:alert(1)"), 200, NotReady, "does not say"),
        ("/.well-known/openid-configuration", Net.configuration(jwks_uri=None), 200, NotReady, "jwks_uri"),
        ("/.well-known/openid-configuration", DeadlineExceeded("late"), 0, NotReady, "did not answer within"),
        ("/token", {"error": "invalid_grant"}, 400, Forbidden, "own code"),
        ("/token", {"error": "invalid_client"}, 401, NotReady, "EMBERANK_OIDC_CLIENT_ID"),
        ("/token", {"error": "<b>server_error"}, 500, NotReady, "answered 500 when it was asked for tokens$"),
        ("/token", {"access_token": "at"}, 200, NotReady, "no ID token"),
        ("/token", {"id_token": ["x"]}, 200, NotReady, "no ID token"),
        ("/token", DeadlineExceeded("late"), 0, NotReady, f"within {EXCHANGE_WITHIN_S:g} s"),
        ("/token", {"id_token": "a.b.c"}, 200, Forbidden, "cannot be believed"),
        ("/keys", b"[]", 200, NotReady, "not with a JSON object"),
    ],
)
def test_whatever_goes_wrong_there_is_said_in_words(path: str, answer: object, status: int, kind: type[EmberankError], words: str, caplog: Any) -> None:
    net = Net()
    net.say(path, answer, status)
    with pytest.raises(kind, match=words) as raised:
        claims_of(provider(net))
    assert "hush" not in raised.value.message + caplog.text
    assert "<b>" not in raised.value.message


def test_userinfo_fills_in_what_the_token_leaves_out_and_changes_nothing_of_it() -> None:
    net = Net()
    net.say("/token", {"access_token": "at", "id_token": token(email="ann@example.com", email_verified=False)})
    net.say("/who", {"sub": "ann", "groups": ["admins"], "email_verified": True, "iss": "https://elsewhere"})
    found = claims_of(provider(net))
    assert (found["groups"], found["email_verified"], found["iss"]) == (["admins"], False, ISSUER)
    assert net.asked[-1][2]["Authorization"] == "Bearer at"
    for other in ({"sub": "eve", "groups": ["admins"]}, {"groups": ["admins"]}):
        net.say("/who", other)
        with pytest.raises(Forbidden, match="two things"):
            claims_of(provider(net))
    net.say("/who", b"eyJ.x.y")
    with pytest.raises(NotReady):
        claims_of(provider(net))


def test_keys_are_fetched_again_once_when_a_token_names_another_one() -> None:
    from joserfc.jwk import RSAKey

    net = Net()
    one = provider(net)
    claims_of(one)
    new = RSAKey.generate_key(2048, {"kid": "k2"}, private=True)
    fresh = {"email": "ann@example.com", "email_verified": True, "groups": []}
    net.say("/token", {"access_token": "at", "id_token": token(key=new, header={"kid": "k2"}, **fresh)})
    with pytest.raises(Forbidden, match="does not publish"):
        claims_of(one)
    assert net.count("/keys") == 2
    net.say("/keys", {"keys": [new.as_dict(private=False)]})
    assert claims_of(one)["sub"] == "ann"
    assert net.count("/keys") == 3


def test_the_place_to_sign_out_is_told_when_there_is_one() -> None:
    net = Net()
    assert asyncio.run(provider(net).sign_out_address()) == ""
    net.say("/.well-known/openid-configuration", net.configuration(end_session_endpoint=f"{ISSUER}/out?x=1"))
    assert asyncio.run(provider(net).sign_out_address()) == f"{ISSUER}/out?x=1&client_id=emberank"
    net.say("/.well-known/openid-configuration", ConnectFailed("refused"))
    assert asyncio.run(provider(net).sign_out_address()) == ""


# Settings.


def registered(folder: Path, **changes: object) -> Registration | None:
    return registration_of(replace(SET, **changes), SecretStore(folder))  # type: ignore[arg-type]


def test_without_an_issuer_there_is_no_provider(tmp_path: Path) -> None:
    assert registration_of(ForgeSettings(), SecretStore(tmp_path)) is None


def test_a_whole_registration_is_read(tmp_path: Path) -> None:
    found = registered(tmp_path, oidc_scopes="email, groups", oidc_others_may="read", oidc_admins="group:admins", oidc_monthly_usd=2.0)
    assert found is not None
    assert (found.name, found.scopes, found.client_secret) == ("login.example.com", "openid email groups", "hush")
    assert found.admission == Admission(
        allowed=(Rule("domain", "example.com"),), admins=(Rule("group", "admins"),), others_may=("read",), others_monthly_usd=2.0
    )
    assert "hush" not in repr(found)


def test_the_secret_may_be_kept_in_the_data_folder_and_a_variable_goes_before(tmp_path: Path) -> None:
    SecretStore(tmp_path).set(SECRET, "kept")
    for given, wanted in (("", "kept"), ("said", "said")):
        found = registered(tmp_path, oidc_client_secret=given)
        assert found is not None
        assert found.client_secret == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"oidc_issuer": ""}, "EMBERANK_OIDC_CLIENT_ID is set, and EMBERANK_OIDC_ISSUER is not"),
        ({"oidc_issuer": "", "oidc_client_id": "", "oidc_client_secret": ""}, "EMBERANK_OIDC_ALLOW is set"),
        ({"oidc_client_id": ""}, "EMBERANK_OIDC_CLIENT_ID is not"),
        ({"oidc_client_secret": ""}, "emberank secret set EMBERANK_OIDC_CLIENT_SECRET"),
        ({"oidc_allow": ""}, "nobody is let in"),
        ({"oidc_allow": "", "oidc_admins": "everybody"}, "cannot be 'everybody'"),
        ({"oidc_others_may": "read,manage"}, "EMBERANK_OIDC_ADMINS"),
        ({"oidc_others_may": " "}, "EMBERANK_OIDC_OTHERS_MAY"),
        ({"oidc_issuer": "http://login.example.com"}, "https"),
        ({"oidc_issuer": "login.example.com"}, "no address"),
        ({"oidc_issuer": "https://login.example.com?x"}, "no '\\?'"),
        ({"oidc_issuer": "https://user:word@login.example.com"}, "no address"),
        ({"public_url": "http://models.example.com"}, "https address"),
        ({"public_url": "http://0.0.0.0:8000"}, "https address"),
        ({"public_url": "", "host": "0.0.0.0"}, "EMBERANK_PUBLIC_URL must be"),
        ({"auth": "none"}, "nothing to sign in to"),
    ],
)
def test_what_is_half_set_is_said_at_the_start(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words) as refused:
        registered(tmp_path, **changes)
    assert "hush" not in refused.value.message


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "https://models.example.com/"])
def test_this_machine_alone_needs_no_https(tmp_path: Path, url: str) -> None:
    assert registered(tmp_path, public_url=url, oidc_issuer="http://127.0.0.1:9400") is not None


def test_without_authlib_the_start_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emberank.forge.web.signin.oidc.registration.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'emberank\[oidc\]'"):
        registered(tmp_path)


# People beside keys.


def people(folder: Path, act: Callable[[Keys, Store], Any]) -> None:
    async def play() -> None:
        with open_store(folder / "forge.db") as store:

            async def stored(call: Callable[[Store], Any]) -> Any:
                return call(store)

            keys = Keys(stored, "5e" * 32, lambda: NOW_S)
            await keys.load()
            await act(keys, store)

    asyncio.run(play())


READER = Rights(name="ann@example.com", scopes=("inference", "read"), monthly_usd=5.0)
ANN = (ISSUER, "sub", "ann")


def test_a_person_is_one_row_that_no_key_opens(tmp_path: Path) -> None:
    async def act(keys: Keys, store: Store) -> None:
        first, second = await asyncio.gather(keys.greet(ANN, READER), keys.greet(ANN, READER))
        assert first == second
        other = await keys.greet(("https://elsewhere.example", "sub", "ann"), READER)
        assert is_person(first)
        assert other.key_id != first.key_id
        assert [one.key_id for one in keys.principals()] == [first.key_id, other.key_id]  # gateways count their budgets
        assert set(first.digest) - set("0123456789abcdef")  # a key's is hex: nothing that is sent hashes to this
        for guess in (first.digest, first.key_id, json.dumps(["person", *ANN])):
            with pytest.raises(EmberankError, match="not known"):
                keys.verify(guess.encode())
        assert [(entry.action, entry.key_id) for entry in store.audit.recent(10)][-1] == ("person.create", first.key_id)

    people(tmp_path, act)


def test_a_person_is_no_admin_key_and_is_not_rotated(tmp_path: Path) -> None:
    async def act(keys: Keys, store: Store) -> None:
        boss = await keys.greet(ANN, Rights(name="boss", scopes=SCOPES))
        assert await keys.first_admin("") is not None
        with pytest.raises(BadRequest, match="person"):
            await keys.rotate(boss.key_id)

    people(tmp_path, act)


def test_what_was_limited_here_stays_when_rights_follow_the_provider(tmp_path: Path) -> None:
    async def act(keys: Keys, store: Store) -> None:
        ann = await keys.greet(ANN, READER)
        await keys.change(ann.key_id, replace(READER, models=("minilm",), requests_per_minute=6))
        now = await keys.greet(ANN, Rights(name="Ann", scopes=SCOPES))
        assert (now.name, now.scopes, now.monthly_usd, now.models, now.requests_per_minute) == ("Ann", SCOPES, None, ("minilm",), 6)
        kept = store.keys.get(ann.key_id)
        assert kept is not None
        assert (kept.scopes, kept.models) == (SCOPES, ("minilm",))

    people(tmp_path, act)


def test_a_barred_person_is_greeted_no_more_until_they_are_allowed_and_a_key_never_is(tmp_path: Path) -> None:
    async def act(keys: Keys, store: Store) -> None:
        ann = await keys.greet(ANN, READER)
        await keys.revoke(ann.key_id)
        assert keys.principal(ann.key_id) is None
        with pytest.raises(Forbidden, match="barred"):
            await keys.greet(ANN, Rights(name="ann", scopes=SCOPES))
        again = await keys.allow(ann.key_id, by="admin")
        assert keys.is_in_force(again)
        assert store.keys.get(ann.key_id) == replace(again, last_used_at_s=None)  # when it was used is written later
        assert (await keys.greet(ANN, READER)).key_id == ann.key_id
        _, key = await keys.create(READER)
        await keys.revoke(key.key_id)
        with pytest.raises(BadRequest, match="for ever"):
            await keys.allow(key.key_id)
        assert keys.principal(key.key_id) is None

    people(tmp_path, act)
