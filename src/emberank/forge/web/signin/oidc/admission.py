"""What a provider says of a person in, their rights here out, or why they have none. Pure: knows no provider and no store.

An email address counts only when the provider says that it is verified: elsewhere anybody may write any address into a profile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from emberank.contract.errors import Forbidden, SettingError
from emberank.contract.fleet import SCOPES, Scope
from emberank.forge.rights import Rights

_LOWER = {ord(upper): upper.lower() for upper in ascii_uppercase}
_DOMAIN = re.compile(r"[a-z0-9.-]+")
_NAMES = ("email", "name", "preferred_username")
_MOST_NAME = 100  # characters
_MOST_IDENTITY = 255  # as OpenID Connect bounds `sub`


@dataclass(frozen=True, slots=True)
class Rule:
    """Some people. `value` is a domain, an address, a group or an id; of `everybody` it is empty."""

    kind: Literal["everybody", "domain", "email", "group", "sub"]
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who gets in, and what they may do."""

    allowed: tuple[Rule, ...]
    admins: tuple[Rule, ...]
    person_claim: str = "sub"
    groups_claim: str = "groups"
    others_may: tuple[Scope, ...] = ("inference", "read")
    others_monthly_usd: float | None = None

    def lacks(self, claims: Mapping[str, Any]) -> bool:
        """Whether something is not said that decides, or that names a person."""
        kinds = {rule.kind for rule in (*self.allowed, *self.admins)}
        wanted = [self.person_claim]
        if kinds & {"domain", "email"} or self.person_claim == "email":
            wanted += ["email", "email_verified"]
        if "group" in kinds:
            wanted.append(self.groups_claim)
        return any(claim(claims, name) is None for name in wanted) or not any(claims.get(name) for name in _NAMES)


def rules_of(text: str, name: str) -> tuple[Rule, ...]:
    """The rules of a setting; `name` is its name. Raises SettingError."""
    return tuple(_rule(part.strip(), name) for part in text.split(",") if part.strip())


def identity_of(admission: Admission, claims: Mapping[str, Any]) -> str:
    """What a person is known by. Raises Forbidden when the provider does not say it."""
    name = admission.person_claim
    found = email_of(claims) if name == "email" else claim(claims, name)
    if not isinstance(found, str) or not 0 < len(found) <= _MOST_IDENTITY:
        raise Forbidden(f"the provider does not say by what you are known: the claim {name!r} is missing. Whoever runs this installation can mend that")
    return found


def rights_for(admission: Admission, claims: Mapping[str, Any]) -> Rights:
    """What a person may do here. Raises Forbidden for whom nobody has let in."""
    name = name_of(claims)
    if any(_fits(rule, admission, claims) for rule in admission.admins):
        return Rights(name=name, scopes=SCOPES)
    if any(_fits(rule, admission, claims) for rule in admission.allowed):
        return Rights(name=name, scopes=admission.others_may, monthly_usd=admission.others_monthly_usd)
    doubt = ", and the provider does not say that your email address is verified" if claims.get("email") and not email_of(claims) else ""
    raise Forbidden(
        f"you are known to the provider as {name!r}, and are not among those who may use this installation{doubt}. Ask whoever runs it to let you in"
    )


def email_of(claims: Mapping[str, Any]) -> str:
    """The verified address in lower case; empty when there is none."""
    found, verified = claims.get("email"), claims.get("email_verified")
    # Some send the word in the place of the value.
    if not (verified is True or verified == "true") or not isinstance(found, str):
        return ""
    return _lower(found.strip()) if found.count("@") == 1 and found.isprintable() else ""


def name_of(claims: Mapping[str, Any]) -> str:
    """How a person is shown: by their address, else by their name, else by their id."""
    for found in (email_of(claims), claims.get("name"), claims.get("preferred_username"), claims.get("sub")):
        if isinstance(found, str) and found.strip() and found.isprintable():
            return found.strip()[:_MOST_NAME]
    return "somebody"


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by dots through objects; None when there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _lower(text: str) -> str:
    """In lower case, as far as that is ASCII's: Unicode has signs whose lower case is an ASCII letter, and another person's address could be made of them."""
    return text.translate(_LOWER)


def _rule(text: str, name: str) -> Rule:
    if text.lower() == "everybody":
        return Rule("everybody")
    kind, colon, value = text.partition(":")
    if colon and value.strip() and kind in ("group", "sub"):
        return Rule("group" if kind == "group" else "sub", value.strip())
    local, at, domain = _lower(text).partition("@")
    if at and _DOMAIN.fullmatch(domain) and local.isprintable() and " " not in local:
        return Rule("email", f"{local}@{domain}") if local else Rule("domain", domain)
    raise SettingError(f"{name}: {text[:100]!r} must be '@example.com', 'ann@example.com', 'group:NAME', 'sub:ID' or 'everybody'")


def _fits(rule: Rule, admission: Admission, claims: Mapping[str, Any]) -> bool:
    match rule.kind:
        case "everybody":
            return True
        case "domain":
            return email_of(claims).partition("@")[2] == rule.value
        case "email":
            return email_of(claims) == rule.value
        case "group":
            found = claim(claims, admission.groups_claim)
            return rule.value == found or (isinstance(found, list) and rule.value in found)
        case "sub":
            return bool(claims.get("sub") == rule.value)
