"""The compatibility manifest and the tests hold each other: every claim has tests that exist and name it, and every named claim is in the manifest."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "tests/compat/claims.toml"
CLAIMS: list[dict[str, Any]] = tomllib.loads(MANIFEST.read_text("utf-8"))["claim"]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_compat", ROOT / "docs/generate_compat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def marked() -> dict[str, set[str]]:
    """Claim → the tests that say they prove it, read from the source without running any."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.claim":
                    (argument,) = mark.args
                    assert isinstance(argument, ast.Constant)
                    found.setdefault(argument.value, set()).add(f"{path.relative_to(ROOT).as_posix()}::{function.name}")
    return found


def test_every_claim_names_exactly_the_tests_that_name_it() -> None:
    assert {claim["id"]: set(claim["tests"]) for claim in CLAIMS} == marked()


def test_every_claim_has_a_test() -> None:
    assert [claim["id"] for claim in CLAIMS if not claim["tests"]] == []


def test_no_claim_is_there_twice() -> None:
    assert [name for name, count in Counter(claim["id"] for claim in CLAIMS).items() if count > 1] == []


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_claim_is_a_sentence_with_its_source(claim: dict[str, Any]) -> None:
    assert claim.keys() <= {"id", "sentence", "source", "tests", "divergence"}
    assert re.fullmatch(r"nim:[a-z]+:[a-z0-9-]+", claim["id"])
    assert claim["sentence"].endswith((".", ".`"))
    assert claim["source"]
    assert claim["id"].split(":")[1] in generator().TITLES


def test_the_page_is_what_the_manifest_says() -> None:
    writer = generator()
    assert writer.PAGE.read_text("utf-8") == writer.page(MANIFEST.read_text("utf-8")), "run `python docs/generate_compat.py`"
