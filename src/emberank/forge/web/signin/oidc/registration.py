"""Settings in, what this installation is to its OpenID Connect provider and whom it lets in out; or what is wrong with them, in words. Knows no network."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import cast
from urllib.parse import urlsplit

from emberank.client.url import read_url
from emberank.contract.errors import SettingError
from emberank.contract.fleet import SCOPES, Scope
from emberank.forge.secret_store import SecretStore
from emberank.forge.web.signin.oidc.admission import Admission, rules_of
from emberank.settings import ForgeSettings

SECRET = "EMBERANK_OIDC_CLIENT_SECRET"  # noqa: S105  the name of one
CALLBACK = "/signin/oidc/callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """This installation as the provider knows it."""

    issuer: str
    name: str  # for people
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str
    admission: Admission


def registration_of(settings: ForgeSettings, kept: SecretStore) -> Registration | None:
    """None where no provider is set. Raises SettingError, which names what is missing or cannot be."""
    if not settings.oidc_issuer:
        _check_nothing_else(settings)
        return None
    _check_surroundings(settings)
    _check_issuer(settings.oidc_issuer)
    secret = settings.oidc_client_secret or kept.get(SECRET)
    if not settings.oidc_client_id:
        raise SettingError("EMBERANK_OIDC_ISSUER is set, and EMBERANK_OIDC_CLIENT_ID is not: it is what the provider knows this installation as")
    if not secret:
        raise SettingError(f"EMBERANK_OIDC_ISSUER is set, and the client's secret is not: set {SECRET}, or keep it with `emberank secret set {SECRET}`")
    return Registration(
        issuer=settings.oidc_issuer,
        name=settings.oidc_name.strip() or urlsplit(settings.oidc_issuer).netloc,
        client_id=settings.oidc_client_id,
        client_secret=secret,
        scopes=" ".join(dict.fromkeys(("openid", *settings.oidc_scopes.replace(",", " ").split()))),
        admission=_admission(settings),
    )


def is_loopback(host: str | None) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _admission(settings: ForgeSettings) -> Admission:
    allowed, admins = rules_of(settings.oidc_allow, "EMBERANK_OIDC_ALLOW"), rules_of(settings.oidc_admins, "EMBERANK_OIDC_ADMINS")
    if not allowed and not admins:
        raise SettingError(
            "EMBERANK_OIDC_ISSUER is set, and nobody is let in: set EMBERANK_OIDC_ALLOW or EMBERANK_OIDC_ADMINS, such as '@example.com,group:staff'"
        )
    if any(rule.kind == "everybody" for rule in admins):
        raise SettingError("EMBERANK_OIDC_ADMINS cannot be 'everybody': name groups or people")
    others = tuple(settings.oidc_others_may.replace(",", " ").split())
    if not others or not set(others) <= {"inference", "read"}:
        raise SettingError(
            f"EMBERANK_OIDC_OTHERS_MAY={settings.oidc_others_may!r} must be 'inference', 'read' or both; who may manage is in EMBERANK_OIDC_ADMINS"
        )
    return Admission(
        allowed=allowed,
        admins=admins,
        person_claim=settings.oidc_person_claim,
        groups_claim=settings.oidc_groups_claim,
        others_may=cast(tuple[Scope, ...], tuple(scope for scope in SCOPES if scope in others)),
        others_monthly_usd=settings.oidc_monthly_usd or None,
    )


def _check_nothing_else(settings: ForgeSettings) -> None:
    for name in ("client_id", "client_secret", "allow", "admins", "name"):
        if getattr(settings, f"oidc_{name}"):
            raise SettingError(f"EMBERANK_OIDC_{name.upper()} is set, and EMBERANK_OIDC_ISSUER is not: set the provider's address, or leave both out")


def _check_surroundings(settings: ForgeSettings) -> None:
    if settings.auth == "none":
        raise SettingError("EMBERANK_OIDC_ISSUER is set, and with auth=none there is nothing to sign in to: leave one of the two out")
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise SettingError("EMBERANK_OIDC_ISSUER is set, and Authlib is not installed: pip install 'emberank[oidc]'")
    public = urlsplit(settings.public_url)
    if public.scheme == "https" and public.hostname:
        return
    if not is_loopback(public.hostname if settings.public_url else settings.host):
        said = f"EMBERANK_PUBLIC_URL={settings.public_url!r}" if settings.public_url else "EMBERANK_PUBLIC_URL"
        raise SettingError(
            f"{said} must be the https address that browsers open: the provider sends people back to it, and only this machine's own may be http"
        )


def _check_issuer(issuer: str) -> None:
    try:
        url = read_url(issuer)
    except ValueError as cause:
        raise SettingError(f"EMBERANK_OIDC_ISSUER={issuer[:200]!r} is no address: {cause}") from cause
    if "?" in issuer or (url.origin.scheme == "http" and not is_loopback(url.origin.host)):
        raise SettingError(f"EMBERANK_OIDC_ISSUER={issuer[:200]!r} must begin with https:// and hold no '?'")
