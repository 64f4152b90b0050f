"""The README, executed: its commands exist, its curl lines get the answers it prints, its links and its tree lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance_environment import environment
from up_process import KEY, Authorized, Up

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)


def curls() -> list[tuple[str, dict[str, Any]]]:
    """Path and body of every curl line; read with the shell's own quoting, so that a line that cannot be pasted fails here."""
    lines = [shlex.split(text) for kind, text in BLOCKS if kind == "sh" and text.startswith("curl ")]
    assert all("Authorization: Bearer $FORGE_API_KEY" in words for words in lines)
    return [(words[2].partition(":8000")[2], json.loads(words[words.index("-d") + 1])) for words in lines]


@pytest.fixture(scope="module")
def client(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorized]:
    """What `make serve` runs, with a key of ours; the lines of the README carry it in a variable."""
    up = Up(tmp_path_factory.mktemp("readme"), environment(EMBERANK_API_KEY=KEY))
    yield up.ready()
    up.end()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    commands = re.findall(r"^make (\w+)", BLOCKS[0][1], re.M)
    assert commands == ["serve", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(f"\n{command}: " in makefile for command in commands)


def test_the_ranking_line_gets_the_answer_that_is_printed(client: Any) -> None:
    path, body = curls()[0]
    printed = json.loads(next(text for kind, text in BLOCKS if kind == "json"))
    answer = client.post(path, body).json
    assert [ranked["index"] for ranked in answer["rankings"]] == [ranked["index"] for ranked in printed["rankings"]]
    # bf16 CPUs differ in the second decimal, as the README says.
    assert [ranked["logit"] for ranked in answer["rankings"]] == pytest.approx([ranked["logit"] for ranked in printed["rankings"]], abs=0.2)
    assert answer["usage"] == printed["usage"]


def test_the_embeddings_line_works(client: Any) -> None:
    path, body = curls()[1]
    assert len(client.post(path, body).json["data"][0]["embedding"]) == 384


def test_the_pages_it_names_are_served(client: Any) -> None:
    assert client.get("/docs").status == 200
    assert client.get("/openapi.json").json["openapi"].startswith("3.1")


def test_every_link_leads_to_a_file() -> None:
    for page in (README, *((ROOT / "docs" / name).read_text("utf-8") for name in ("index.md",))):
        base = ROOT if page is README else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#:]+)\)", page):
            assert (base / target).exists(), target


def test_the_tree_names_what_exists() -> None:
    tree = next(text for kind, text in BLOCKS if kind == "" and text.startswith("src/emberank/"))
    folder = ROOT / "src/emberank"
    for line in tree.splitlines()[1:]:
        indent, name = re.match(r"( *)([\w./]+)", line).groups()  # type: ignore[union-attr]
        if indent:
            place = folder / ("runtime" if len(indent) == 4 else "")
            assert (place / name).exists(), name
