"""Addresses that look like somebody else's."""

from __future__ import annotations

import pytest

from emberank.contract.errors import Forbidden
from emberank.forge.web.signin.oidc.admission import Admission, Rule, email_of, identity_of, rights_for, rules_of

KELVIN = "\N{KELVIN SIGN}"  # its lower case is the letter k


@pytest.mark.parametrize("email", [f"{KELVIN}ate@example.com", f"kate@{KELVIN}example.com", "\N{FULLWIDTH LATIN SMALL LETTER K}ate@example.com"])
def test_an_address_of_other_signs_is_nobody_elses(email: str) -> None:
    admission = Admission(allowed=(Rule("domain", "kexample.com"),), admins=(Rule("email", "kate@example.com"),), person_claim="email")
    claims = {"sub": "x", "email": email, "email_verified": True}
    with pytest.raises(Forbidden):
        rights_for(admission, claims)
    assert identity_of(admission, claims) != identity_of(admission, {"sub": "y", "email": "kate@example.com", "email_verified": True})


def test_capitals_make_no_other_person() -> None:
    claims = {"sub": "x", "email": " Kate@EXAMPLE.com ", "email_verified": True}
    assert email_of(claims) == "kate@example.com"
    assert rules_of("KATE@Example.COM", "x") == (Rule("email", "kate@example.com"),)
