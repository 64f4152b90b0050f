"""Headers in, principal out: where a key may stand, which keys are refused, and whether the refusal says what to do."""

from __future__ import annotations

import pytest

from emberank.contract.errors import Forbidden, Unauthorized
from emberank.gateway.auth import Keys, check_model, check_scope
from emberank.serving.credentials import key_of
from fleets import KEY, SECRET, digest, model, principal

NOW = 1_800_000_000.0


def keys(**fields: object) -> Keys:
    return Keys([principal(**fields)], SECRET)


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer fk-test")],
        [(b"authorization", b"bearer   fk-test ")],
        [(b"authorization", b"fk-test")],
        [(b"x-api-key", b"fk-test")],
        [(b"api-key", b"fk-test")],
        [(b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", b"fk-test")],
    ],
)
def test_a_key_is_found_wherever_clients_put_it(headers: list[tuple[bytes, bytes]]) -> None:
    assert key_of(headers) == b"fk-test"
    assert keys().identify(headers, NOW).key_id == "k1"


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", b"")], [(b"authorization", b"Bearer ")], [(b"authorization", b"Basic eDp5")], [(b"cookie", b"s=1")]]
)
def test_a_call_without_a_key_is_told_how_to_send_one(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized, match="needs an API key: send `Authorization: Bearer"):
        keys().identify(headers, NOW)


def test_the_placeholder_of_the_copied_snippets_is_called_by_its_name() -> None:
    with pytest.raises(Unauthorized, match="the placeholder 'replace-with-your-forge-api-key': put a real key in its place"):
        keys().identify(bearer("replace-with-your-forge-api-key"), NOW)


@pytest.mark.parametrize("key", ["fk-tes", "fk-test2", "FK-TEST", "\u00e9"])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(Unauthorized, match="is not known here"):
        keys().identify([(b"authorization", f"Bearer {key}".encode("latin-1"))], NOW)


def test_nobody_is_known_before_a_key_is() -> None:
    with pytest.raises(Unauthorized):
        Keys().identify(bearer(KEY), NOW)


def test_a_revoked_key_and_an_expired_one_are_told_apart() -> None:
    with pytest.raises(Unauthorized, match="'tests' was revoked"):
        keys(revoked=True).identify(bearer(KEY), NOW)
    with pytest.raises(Unauthorized, match="'tests' has expired"):
        keys(expires_at_s=NOW).identify(bearer(KEY), NOW)
    assert keys(expires_at_s=NOW + 1).identify(bearer(KEY), NOW)


def test_a_digest_is_of_the_secret_and_the_key() -> None:
    assert digest("a") != digest("b")
    with pytest.raises(Unauthorized):
        Keys([principal()], "cd" * 32).identify(bearer(KEY), NOW)


def test_a_key_without_the_scope_is_told_which_it_needs_and_which_it_has() -> None:
    check_scope(principal(), "inference")
    with pytest.raises(Forbidden, match="needs a key with the scope 'manage'; the key 'tests' has: inference, read"):
        check_scope(principal(), "manage")
    with pytest.raises(Forbidden, match="has: none"):
        check_scope(principal(scopes=()), "read")


def test_a_key_for_some_models_may_use_no_other() -> None:
    check_model(principal(), model())
    check_model(principal(models=("acme-rank",)), model())
    with pytest.raises(Forbidden, match="may not use the model 'acme/acme-rank'; it may use: other"):
        check_model(principal(models=("other",)), model())


def test_no_error_repeats_the_key() -> None:
    for key in ("fk-secret-1", "fk-test-but-longer"):
        with pytest.raises(Unauthorized) as caught:
            keys().identify(bearer(key), NOW)
        assert key not in caught.value.message
