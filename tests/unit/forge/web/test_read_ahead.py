"""What a forge reads before its first visitor comes."""

from __future__ import annotations

import pytest
from jinja2 import Environment

from emberank.forge.web import page


def test_no_template_is_left_for_the_first_visitor_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    page.environment.cache_clear()
    page.read_ahead()
    templates = page.environment()

    def compiled(*given: object, **named: object) -> None:
        raise AssertionError("a template is compiled while somebody waits")

    monkeypatch.setattr(Environment, "compile", compiled)
    names = templates.list_templates()
    assert "model.html" in names
    assert all(templates.get_template(name) for name in names)
