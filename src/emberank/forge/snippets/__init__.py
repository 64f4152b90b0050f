"""A model, a version, a target and the address of an installation in, every block of text to copy out. Pure: opens nothing, asks nobody, knows no page."""

from emberank.forge.snippets.collection import snippets
from emberank.forge.snippets.snippet import Group, Language, Snippet

__all__ = ["Group", "Language", "Snippet", "snippets"]
