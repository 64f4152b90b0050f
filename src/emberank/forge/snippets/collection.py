"""A model, a version, a target and an address in, all of its blocks in the order of a page out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emberank.forge.catalog import Model, Version
from emberank.forge.snippets.configs import config_snippets
from emberank.forge.snippets.deploy import deploy_snippets
from emberank.forge.snippets.in_other_languages import other_snippets
from emberank.forge.snippets.in_python import python_snippets
from emberank.forge.snippets.setup import setup_snippets, url_snippets
from emberank.forge.snippets.shell import shell_snippets
from emberank.forge.snippets.snippet import Snippet
from emberank.forge.snippets.subject import subject_of
from emberank.forge.targets import Target


def snippets(model: Model, version: Version, pin: Target | None, base: str, *, payload: Mapping[str, Any] | None = None) -> tuple[Snippet, ...]:
    """Every block for this version, pinned to a target or not. `payload` is a NIM body in the place of the sample; its routing fields are not used."""
    about = subject_of(model, version, pin, base, payload)
    families = (setup_snippets, url_snippets, shell_snippets, python_snippets, other_snippets, config_snippets, deploy_snippets)
    return tuple(snippet for family in families for snippet in family(about))
