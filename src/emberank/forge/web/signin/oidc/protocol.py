"""Values of a sign-in in, what OpenID Connect makes of them out: the address to send a browser to, the request for tokens, an ID token's checked claims.

All of it is Authlib's and joserfc's work, and nothing else imports them. Knows no network and no setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

LEEWAY_S = 60  # by which two machines' clocks may differ
# Signatures that a published key checks. Not `none`, and no HMAC: its key would be one that both sides know.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")
_KEY_TYPES = ("RSA", "EC")


class TokenRefused(Exception):
    """An ID token that proves nothing. The text is for people; `unknown_key` says that another set of keys may know better."""

    def __init__(self, message: str, *, unknown_key: bool = False) -> None:
        super().__init__(message)
        self.unknown_key = unknown_key


def authorization_url(endpoint: str, *, client_id: str, redirect_uri: str, scopes: str, state: str, nonce: str, verifier: str) -> str:
    """Where a browser asks the provider who sits in front of it."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    challenge = create_s256_code_challenge(verifier)
    url: str = prepare_grant_uri(endpoint, client_id, "code", redirect_uri, scopes, state, nonce=nonce, code_challenge=challenge, code_challenge_method="S256")
    return url


def token_request(
    endpoint: str, *, client_id: str, client_secret: str, methods: tuple[str, ...], code: str, verifier: str, redirect_uri: str
) -> tuple[dict[str, str], bytes]:
    """Headers and body of the request that turns a code into tokens. `methods` are the ways to prove who we are that the provider knows."""
    from authlib.oauth2.auth import ClientAuth
    from authlib.oauth2.rfc6749.parameters import prepare_token_request

    body = prepare_token_request("authorization_code", redirect_uri=redirect_uri, code=code, code_verifier=verifier)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    # Not all read other characters in a Basic header alike; in a body there is only one way to write them.
    plain = _PLAIN.fullmatch(client_id + client_secret) is not None
    if "client_secret_post" in methods and not (plain and "client_secret_basic" in methods):
        auth = ClientAuth(client_id, client_secret, "client_secret_post")
    else:
        auth = ClientAuth(quote(client_id, safe=""), quote(client_secret, safe=""), "client_secret_basic")
    _, headers, body = auth.prepare("POST", endpoint, headers, body)
    return headers, body.encode("ascii")


def checked_claims(id_token: str, keys: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, access_token: str, now_s: float) -> dict[str, Any]:
    """What an ID token says, once its signature, issuer, audience, times and nonce are right. Raises TokenRefused."""
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError, MissingKeyError, UnsupportedAlgorithmError
    from joserfc.jwk import KeySet
    from joserfc.jws import JWSRegistry

    try:
        usable = [key for key in keys.get("keys") or () if isinstance(key, dict) and key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig"]
        found = jwt.decode(id_token, KeySet.import_key_set({"keys": usable}), registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
        options: dict[str, Any] = {name: {"essential": True, "value": value} for name, value in (("iss", issuer), ("aud", client_id))}
        claims = CodeIDToken(found.claims, found.header, options, {"nonce": nonce, "client_id": client_id, "access_token": access_token})
        claims.validate(now=int(now_s), leeway=LEEWAY_S)
    except (InvalidKeyIdError, MissingKeyError, BadSignatureError) as cause:
        raise TokenRefused("its signature is by a key that the provider does not publish", unknown_key=True) from cause
    except UnsupportedAlgorithmError as cause:
        raise TokenRefused(f"it is signed in a way that is not taken here; these are: {', '.join(ALGORITHMS)}") from cause
    except JoseError as cause:
        raise TokenRefused(_words(cause)) from cause
    except (ValueError, TypeError, KeyError, AttributeError) as cause:  # what is no token at all, or no key
        raise TokenRefused("it cannot be read") from cause
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise TokenRefused("it does not say who signed in")
    return dict(claims)


def _words(error: Any) -> str:
    """Why, for people."""
    name = getattr(error, "claim", "")
    name = name if isinstance(name, str) and name.isidentifier() else ""
    if name in ("exp", "nbf", "iat"):
        return f"by this machine's clock it is out of its time ({name}): compare the clocks of this machine and of the provider"
    if name == "nonce":
        return "it belongs to another sign-in (nonce)"
    if name == "iss":
        return "another provider issued it than EMBERANK_OIDC_ISSUER says (iss)"
    if name in ("aud", "azp"):
        return f"it is for another client than EMBERANK_OIDC_CLIENT_ID ({name})"
    return f"its claim {name} is missing or wrong" if name else "it cannot be read"
