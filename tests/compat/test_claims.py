"""The compatibility manifests and the tests hold each other: every claim has tests that exist and name it, and every named claim is in a manifest.

The clients' tests are read here like all others, and run by `make test-clients`.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "tests/compat/claims.toml"
CLIENT_MANIFEST = ROOT / "tests/compat/claims_clients.toml"
WIRE: list[dict[str, Any]] = tomllib.loads(MANIFEST.read_text("utf-8"))["claim"]
CLIENTS: list[dict[str, Any]] = tomllib.loads(CLIENT_MANIFEST.read_text("utf-8"))["claim"]
CLAIMS = WIRE + CLIENTS


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_compat", ROOT / "docs/generate_compat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_test() -> Iterator[tuple[str, list[str]]]:
    """Each test by its id, and the claims that it says it proves, read from the source without running any."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                yield f"{path.relative_to(ROOT).as_posix()}::{function.name}", list(claims_of(function))


def claims_of(function: ast.FunctionDef) -> Iterator[str]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.claim":
            (argument,) = mark.args
            assert isinstance(argument, ast.Constant)
            yield argument.value


def test_every_claim_names_exactly_the_tests_that_name_it() -> None:
    marked: dict[str, set[str]] = {}
    for test, claims in every_test():
        for claim in claims:
            marked.setdefault(claim, set()).add(test)
    assert {claim["id"]: set(claim["tests"]) for claim in CLAIMS} == marked


def test_every_test_of_a_client_proves_a_claim_about_one() -> None:
    found = {test: claims for test, claims in every_test() if test.startswith("tests/compat/clients/")}
    assert found
    assert [test for test, claims in found.items() if not any(claim.startswith("client:") for claim in claims)] == []


def test_every_claim_has_a_test() -> None:
    assert [claim["id"] for claim in CLAIMS if not claim["tests"]] == []


def test_no_claim_is_there_twice() -> None:
    assert [name for name, count in Counter(claim["id"] for claim in CLAIMS).items() if count > 1] == []


@pytest.mark.parametrize("claim", WIRE, ids=lambda claim: claim["id"])
def test_a_claim_is_a_sentence_with_its_source(claim: dict[str, Any]) -> None:
    assert claim.keys() <= {"id", "sentence", "source", "tests", "divergence"}
    assert re.fullmatch(r"nim:[a-z]+:[a-z0-9-]+", claim["id"])
    assert claim["sentence"].endswith((".", ".`"))
    assert claim["source"]
    assert claim["id"].split(":")[1] in generator().TITLES


@pytest.mark.parametrize("claim", CLIENTS, ids=lambda claim: claim["id"])
def test_a_client_s_claim_is_a_sentence_with_its_source_and_feature(claim: dict[str, Any]) -> None:
    assert claim.keys() <= {"id", "feature", "sentence", "source", "tests", "divergence"}
    assert re.fullmatch(r"client:[a-z0-9-]+:[a-z0-9-]+", claim["id"])
    assert claim["sentence"].endswith(".")
    assert claim["source"]
    assert claim["feature"] in generator().FEATURES
    assert generator().client_of(claim) in generator().CLIENTS


@pytest.mark.parametrize("client", generator().CLIENTS)
def test_every_client_of_the_page_has_a_claim(client: str) -> None:
    assert any(claim["id"].startswith(f"client:{client}:") for claim in CLIENTS)


def test_the_page_is_what_the_manifest_says() -> None:
    writer = generator()
    assert writer.PAGE.read_text("utf-8") == writer.page(MANIFEST.read_text("utf-8")), "run `python docs/generate_compat.py`"


def test_the_clients_page_is_what_the_manifests_say() -> None:
    writer = generator()
    wanted = writer.client_page(CLIENT_MANIFEST.read_text("utf-8"), MANIFEST.read_text("utf-8"))
    assert writer.CLIENT_PAGE.read_text("utf-8") == wanted, "run `python docs/generate_compat.py`"


def test_every_client_s_package_is_pinned() -> None:
    lines = (ROOT / "tests/compat/clients/requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in wanted if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    versions = dict(line.split("==") for line in wanted)
    for source in {claim["source"] for claim in CLIENTS}:  # "voyageai 0.5.0, …": a version that is named is the one that is installed
        for name, version in re.findall(r"([a-z_][a-z_-]+[a-z]) (\d+\.[\d.]*\d)", source):
            assert versions[name] == version, source
