"""An OpenID Connect provider as a process of its own: Authlib's server side over Flask, PKCE demanded, one client, and whoever the test says sits in front.

`python tests/openid_provider.py CLIENT_ID CLIENT_SECRET [PORT]` prints its issuer. `PUT /test` sets: `redirect_uri` (the one it sends browsers back to),
`claims` (the person; null: who refuses), `in_token` (which of them the ID token says; the others only userinfo does), `changes` (of the token's claims, null takes one out), `alg`, `rotate` (new keys),
`error` (what a browser is sent back with). `GET /test` counts what was asked. Knows nothing of ours.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
from typing import Any
from urllib.parse import urlencode

import flask
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AccessDeniedError, AuthorizationCodeMixin, ClientMixin, grants, list_to_scope
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server

CLIENT_ID, CLIENT_SECRET = sys.argv[1:3]


class State:
    """What the test has set, and what was asked."""

    def __init__(self) -> None:
        self.key = new_key()
        self.claims: dict[str, Any] | None = {"sub": "ann"}
        self.in_token: list[str] | None = None
        self.changes: dict[str, Any] = {}
        self.alg = "RS256"
        self.error = self.redirect_uri = ""
        self.issuer = ""
        self.codes: dict[str, Code] = {}
        self.access: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, int] = {}


def new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"}, private=True)


class Client(ClientMixin):
    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_allowed_scope(self, scope: str) -> str:
        return list_to_scope([one for one in scope.split() if one in ("openid", "email", "profile", "groups")])

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == state.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret, CLIENT_SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class Code(AuthorizationCodeMixin):
    def __init__(self, code: str, request: Any, claims: dict[str, Any]) -> None:
        data = request.payload.data
        self.code, self.claims = code, claims
        self.redirect_uri, self.scope = request.payload.redirect_uri, request.payload.scope
        self.nonce, self.code_challenge, self.code_challenge_method = (data.get(name) for name in ("nonce", "code_challenge", "code_challenge_method"))

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> None:
        return None

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def save_authorization_code(self, code: str, request: Any) -> None:
        state.codes[code] = Code(code, request, request.user)

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        return state.codes.get(code)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del state.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Code) -> dict[str, Any]:
        return authorization_code.claims


class Pkce(CodeChallenge):
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        assert grant.request.payload.data.get("code_challenge"), "a sign-in without PKCE"
        super().validate_code_challenge(grant, redirect_uri)


class IdTokens(OpenIDCode):
    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return False

    def process_token(self, grant: Any, response: Any) -> Any:
        _, token, _ = response
        code, now_s = grant.request.authorization_code, int(time.time())
        said = code.claims if state.in_token is None else {name: value for name, value in code.claims.items() if name in ("sub", *state.in_token)}
        claims = {"iss": state.issuer, "aud": CLIENT_ID, "iat": now_s, "exp": now_s + 300, "nonce": code.nonce, **said} | state.changes
        claims = {name: value for name, value in claims.items() if value is not None}
        key: Any = OctKey.import_key(CLIENT_SECRET) if state.alg.startswith("HS") else None if state.alg == "none" else state.key
        header = {"alg": state.alg, "kid": state.key.kid}
        state.access[token["access_token"]] = code.claims
        token["id_token"] = jwt.encode(header, claims, key, algorithms=[state.alg])
        return token


app = flask.Flask("provider")
server = AuthorizationServer(app, query_client=lambda client_id: Client() if client_id == CLIENT_ID else None, save_token=lambda token, request: None)
server.register_grant(CodeGrant, [IdTokens(require_nonce=True), Pkce(required=True)])
state = State()


@app.before_request
def count() -> None:
    state.counts[flask.request.path] = state.counts.get(flask.request.path, 0) + 1


@app.get("/.well-known/openid-configuration")
def configuration() -> Any:
    places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys", "userinfo_endpoint": "who", "end_session_endpoint": "leave"}
    return {name: f"{state.issuer}/{place}" for name, place in places.items()} | {
        "issuer": state.issuer,
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "authorization_response_iss_parameter_supported": True,
    }


@app.get("/keys")
def keys() -> Any:
    return {"keys": [state.key.as_dict(private=False)]}


@app.get("/authorize")
def authorize() -> Any:
    if state.error:
        return flask.redirect(f"{state.redirect_uri}?{urlencode({'error': state.error, 'state': flask.request.args['state'], 'iss': state.issuer})}")
    grant = server.get_consent_grant(end_user=state.claims)
    response = server.create_authorization_response(grant_user=state.claims, grant=grant)
    if state.claims is None:
        assert "access_denied" in response.location, AccessDeniedError
    response.location += "&" + urlencode({"iss": state.issuer})
    return response


@app.post("/token")
def token() -> Any:
    return server.create_token_response()


@app.get("/who")
def who() -> Any:
    found = state.access.get(flask.request.headers.get("Authorization", "").removeprefix("Bearer "))
    return ({}, 401) if found is None else found


@app.get("/leave")
def leave() -> Any:
    return "left"


@app.route("/test", methods=["GET", "PUT"])
def test() -> Any:
    if flask.request.method == "PUT":
        for name, value in flask.request.get_json().items():
            if name == "rotate":
                state.key = new_key()
            else:
                setattr(state, name, value)
    return state.counts


class Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Nothing: a code is in the address."""


if __name__ == "__main__":
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0))
        listener.listen()
        state.issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print(json.dumps({"issuer": state.issuer}), flush=True)
        make_server("127.0.0.1", listener.getsockname()[1], app, threaded=True, request_handler=Quiet, fd=listener.fileno()).serve_forever()
