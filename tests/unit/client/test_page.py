"""The page about the Python client: its code is Python, and names only what exists."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest

from emberank.client import AsyncClient, Client

PAGE = (Path(__file__).resolve().parents[3] / "docs/howto/python-client.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def calls(tree: ast.Module) -> Iterator[tuple[str, list[str | None]]]:
    """(method, keywords) of every call on a client."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("client", "admin")
        ):
            yield node.func.attr, [keyword.arg for keyword in node.keywords]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_python_that_calls_what_exists(block: str) -> None:
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert all(hasattr(importlib.import_module(str(node.module)), alias.name) for alias in node.names)
    found = list(calls(tree))
    assert found
    for name, keywords in found:
        parameters = signature(getattr(Client, name)).parameters
        assert name == "create_key" or set(keywords) <= set(parameters)


def test_both_clients_have_the_same_methods() -> None:
    def shape(cls: type) -> dict[str, str]:
        found = {name: str(signature(method)) for name, method in vars(cls).items() if not name.startswith("_") and callable(method)}
        return {name: shown.replace("AsyncIterator[", "Iterator[") for name, shown in found.items()}

    assert shape(Client) == shape(AsyncClient)


def test_every_method_is_on_the_page_or_plain() -> None:
    told = {name for block in BLOCKS for name, _ in calls(ast.parse(block))} | {"models", "model", "close", "base_url"}
    assert told == {name for name in vars(Client) if not name.startswith("_")}
