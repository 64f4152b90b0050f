"""A registration in, what its provider says out: where things are, its keys, the tokens for a code, what it knows of a person. Knows no browser.

Every question has a deadline and every answer a bound. What is published is kept for an hour; a provider that did not answer is left alone for some seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from emberank.client.answer import Answer
from emberank.client.failures import TransportError
from emberank.client.pool import Pool
from emberank.client.url import read_url
from emberank.contract.errors import DeadlineExceeded, EmberankError, Forbidden, NotReady
from emberank.forge.shielded import shielded
from emberank.forge.web.signin.oidc.protocol import TokenRefused, authorization_url, checked_claims, token_request
from emberank.forge.web.signin.oidc.registration import Registration, is_loopback

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20  # of an answer
LOOK_S = 1.5  # that a page waits to say whether it is there
WITHIN_S = 5.0  # for what is published
EXCHANGE_WITHIN_S = 15.0  # for tokens, and for what is known of a person
KEPT_S = 3600.0
_AGAIN_S = 5.0
_WELL_KNOWN = "/.well-known/openid-configuration"
_JSON = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Where a provider's things are. An address that is empty is not there."""

    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    end_session: str = ""
    methods: tuple[str, ...] = ("client_secret_basic",)
    says_issuer: bool = False  # whether it names itself when it sends a browser back


class Provider:
    """One provider. `wall_s` is Unix time, `clock` monotonic."""

    def __init__(self, registration: Registration, pool: Pool, *, wall_s: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic) -> None:
        self.registration = registration
        self._pool = pool
        self._wall_s = wall_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._keys: dict[str, Any] | None = None
        self._ends = self._failed_until = float("-inf")
        self._failure = ""

    async def close(self) -> None:
        """Let go of its connections."""
        await self._pool.close()

    async def metadata(self) -> Metadata:
        """Where its things are. Raises NotReady while it cannot be reached or says what cannot be."""
        async with self._lock:  # many may ask at once, and one question is enough
            if self._metadata is None or self._clock() >= self._ends:
                self._metadata = self._keys = None
                if self._clock() < self._failed_until:
                    raise NotReady(self._failure, retry_after_s=_AGAIN_S)
                try:
                    self._metadata = await self._discovered()
                except NotReady as error:
                    self._failure, self._failed_until = error.message, self._clock() + _AGAIN_S
                    raise
                self._ends = self._clock() + KEPT_S
            return self._metadata

    async def is_away(self) -> bool:
        """Whether nobody can sign in with it now, as far as that is known soon: a page that others need too must not wait for it."""
        try:
            async with asyncio.timeout(LOOK_S):
                await shielded(self.metadata())
        except (NotReady, TimeoutError):
            return True
        return False

    async def address(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send a browser. Raises NotReady."""
        found, own = await self.metadata(), self.registration
        return authorization_url(
            found.authorization, client_id=own.client_id, redirect_uri=redirect_uri, scopes=own.scopes, state=state, nonce=nonce, verifier=verifier
        )

    async def sign_out_address(self) -> str:
        """Where a person signs out there; empty when there is no such place, or nobody answers."""
        found = None if await self.is_away() else await self.metadata()
        if found is None or not found.end_session:
            return ""
        return f"{found.end_session}{'&' if '?' in found.end_session else '?'}{urlencode({'client_id': self.registration.client_id})}"

    async def claims(self, code: str, *, verifier: str, nonce: str, redirect_uri: str) -> dict[str, Any]:
        """What it says of the person that a code stands for. Raises Forbidden, NotReady."""
        found = await self.metadata()
        tokens = await self._tokens(found, code, verifier, redirect_uri)
        access_token, id_token = tokens.get("access_token"), tokens.get("id_token")
        if not isinstance(id_token, str):
            raise self._away("it sent no ID token; is `openid` among the scopes that this client may ask for?")
        access_token = access_token if isinstance(access_token, str) and access_token.isascii() and access_token.isprintable() else ""
        claims = await self._checked(found, id_token, access_token, nonce)
        if found.userinfo and access_token and self.registration.admission.lacks(claims):
            # What the token itself says goes before: it is signed, and for us.
            claims = await self._userinfo(found, access_token, claims["sub"]) | claims
        return claims

    async def _tokens(self, found: Metadata, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        own = self.registration
        headers, body = token_request(
            found.token,
            client_id=own.client_id,
            client_secret=own.client_secret,
            methods=found.methods,
            code=code,
            verifier=verifier,
            redirect_uri=redirect_uri,
        )
        answer = await self._ask("POST", found.token, headers, body, EXCHANGE_WITHIN_S)  # a code is good once: it is not sent a second time
        content = _object(answer.body)
        if answer.status == 200 and content is not None:
            return content
        error = (content or {}).get("error")
        log.warning("the OpenID Connect provider gave no tokens", extra={"action": "oidc_no_tokens", "status": answer.status, "error": _word(error)})
        if error == "invalid_grant":
            raise Forbidden(f"{own.name} does not take its own code any more. Sign in again")
        if error == "invalid_client" or answer.status == 401:
            raise self._away("it does not know this installation: EMBERANK_OIDC_CLIENT_ID and its secret must be as they are there")
        raise self._away(f"it answered {answer.status} when it was asked for tokens" + (f" ({_word(error)})" if _word(error) else ""))

    async def _checked(self, found: Metadata, id_token: str, access_token: str, nonce: str) -> dict[str, Any]:
        own, fresh = self.registration, self._keys is None
        while True:
            keys = self._keys = self._keys or await self._published(found.keys)
            try:
                return checked_claims(id_token, keys, issuer=own.issuer, client_id=own.client_id, nonce=nonce, access_token=access_token, now_s=self._wall_s())
            except TokenRefused as error:
                if error.unknown_key and not fresh:
                    self._keys, fresh = None, True  # it may have new ones
                    continue
                log.warning("an ID token was refused: %s", error, extra={"action": "oidc_token_refused"})
                raise Forbidden(
                    f"what {own.name} says of you cannot be believed: {error}. Sign in again; if that does not help, tell whoever runs this"
                ) from error

    async def _userinfo(self, found: Metadata, access_token: str, sub: str) -> dict[str, Any]:
        answer = await self._ask("GET", found.userinfo, _JSON | {"Authorization": f"Bearer {access_token}"}, b"", EXCHANGE_WITHIN_S)
        content = _object(answer.body) if answer.status == 200 else None
        if content is None:
            raise self._away(f"it answered {answer.status} when it was asked who you are, and not with a JSON object")
        if content.get("sub") != sub:
            raise Forbidden(f"{self.registration.name} says two things of who you are. Sign in again; if that does not help, tell whoever runs this")
        return content

    async def _discovered(self) -> Metadata:
        issuer = self.registration.issuer
        said = await self._published(issuer.rstrip("/") + _WELL_KNOWN)
        if said.get("issuer") != issuer:
            raise self._away(f"it calls itself {str(said.get('issuer'))[:200]!r}, and EMBERANK_OIDC_ISSUER must be that to the letter")
        methods = said.get("token_endpoint_auth_methods_supported")
        return Metadata(
            authorization=self._place(said, "authorization_endpoint"),
            token=self._place(said, "token_endpoint"),
            keys=self._place(said, "jwks_uri"),
            userinfo=self._place(said, "userinfo_endpoint") if said.get("userinfo_endpoint") else "",
            end_session=self._place(said, "end_session_endpoint") if said.get("end_session_endpoint") else "",
            methods=tuple(map(str, methods)) if isinstance(methods, list) else ("client_secret_basic",),
            says_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        )

    def _place(self, said: Mapping[str, Any], name: str) -> str:
        """An address that secrets may be sent to, and people: by https, but for a provider on this machine."""
        try:
            address = said[name]
            url = read_url(address)
        except (KeyError, ValueError, TypeError, AttributeError) as cause:
            raise self._away(f"it does not say where its {name} is") from cause
        if url.origin.scheme != "https" and not (is_loopback(url.origin.host) and urlsplit(self.registration.issuer).scheme == "http"):
            raise self._away(f"its {name} is not reached by https")
        return str(address)

    async def _published(self, url: str) -> dict[str, Any]:
        answer = await self._ask("GET", url, _JSON, b"", WITHIN_S)
        content = _object(answer.body) if answer.status == 200 else None
        if content is None:
            raise self._away(f"it answered {answer.status} at {urlsplit(url).path[:200]}, and not with a JSON object")
        return content

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes, within_s: float) -> Answer:
        try:
            return await self._pool.request(method, url, headers, body, deadline=time.monotonic() + within_s, resend=method == "GET")
        except DeadlineExceeded as cause:
            raise self._away(f"it did not answer within {within_s:g} s", cause) from cause
        except (TransportError, ValueError) as cause:
            raise self._away("it cannot be reached", cause) from cause

    def _away(self, why: str, cause: Exception | None = None) -> EmberankError:
        log.warning("the OpenID Connect provider is of no use: %s", why, extra={"action": "oidc_away", "cause": str(cause or "")})
        return NotReady(f"nobody can sign in with {self.registration.name} now: {why}", retry_after_s=_AGAIN_S)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _word(text: object) -> str:
    """An error's code, as OAuth writes them, or nothing."""
    return text if isinstance(text, str) and len(text) <= 60 and text.replace("_", "").isalnum() and text.isascii() else ""
