"""What the playground's script makes of pasted lists, links and its form, run as a browser runs it: lists, states, links, requests, and what an error means."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.inference import Content
from emberank.dialects.forge import parse_embeddings, parse_ranking
from emberank.dialects.nim import Rules
from emberank.forge.web.assets import assets
from node_modules import modules_folder

RUN_S = 60
MODULES = ("playground_lists.js", "playground_share.js", "playground_state.js", "playground_request.js")
# [[module, function, arguments], …] in, [answer, …] out; what is thrown is {"thrown": its sentence}.
MAIN = """
import { readFileSync } from "node:fs";
import * as lists from "./playground_lists.js";
import * as share from "./playground_share.js";
import * as state from "./playground_state.js";
import * as request from "./playground_request.js";
const modules = { lists, share, state, request };
const answers = [];
for (const [module, name, words] of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    answers.push((await modules[module][name](...words)) ?? null);
  } catch (error) {
    answers.push({ thrown: error.message });
  }
}
console.log(JSON.stringify(answers));
"""
ABOUT = {
    "slug": "acme-rank",
    "title": "Acme",
    "task": "rank",
    "route": "/v1/inference/acme-rank",
    "base": "http://127.0.0.1:8000",
    "images": True,
    "limits": {"items": 3, "body_bytes": 1_000_000, "image_bytes": 100},
}
EMBED = ABOUT | {"task": "embed", "slug": "acme-embed", "route": "/v1/inference/acme-embed"}
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(30)).decode()
STRICT = Rules(ranking_unknown_fields="reject", embeddings_unknown_fields="reject")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return modules_folder(tmp_path_factory.mktemp("playground"), MODULES, MAIN)


def ask(folder: Path, module: str, name: str, *words: Any) -> Any:
    done = subprocess.run(
        ["node", str(folder / "main.js")], input=json.dumps([[module, name, words]]), capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


def state(**changes: Any) -> dict[str, Any]:
    made = {"query": "q", "items": [{"text": "a"}], "version": "v1", "target": "", "truncate": "END", "scale": "logit", "chunks": "", "cut": ""}
    return made | {"inputType": "passage", "dimensions": "", "deadline": "600", "other": None} | changes


# --- lists


@pytest.mark.parametrize(
    ("text", "how", "kind", "items"),
    [
        ("one\ntwo\r\n\r\n  three  ", {"kind": "lines"}, "lines", ["one", "two", "three"]),
        ("one\ntwo", {}, "lines", ["one", "two"]),
        ("a\nb\n\nc d\n \n\ne", {}, "paragraphs", ["a\nb", "c d", "e"]),
        ('["a", {"text": "b"}, {"title": "c"}, 4]', {}, "json", ["a", "b", "c", "4"]),
        ('{"query": {"text": "q"}, "passages": [{"text": "a"}]}', {}, "json", ["a"]),
        ('{"input": ["x", "y"]}', {}, "json", ["x", "y"]),
        ('{"text": "a"}\n{"text": "b"}\n', {}, "jsonl", ["a", "b"]),
        ('"a"\n"b"', {"name": "x.JSONL"}, "jsonl", ["a", "b"]),
        ('a,1\n"b ""c"",\nd",2\n', {"name": "x.csv"}, "csv", ["a", 'b "c",\nd']),
        ("id,text\n1,first\r\n2,second", {"name": "x.csv"}, "csv", ["first", "second"]),
        ("a\t1\nb\t2", {}, "tsv", ["a", "b"]),
        ("7\tthe text\r\n8\tanother one\r\n", {}, "tsv", ["the text", "another one"]),
        (
            'one\r\n"two ""of"" them,\r\n\r\nas a spreadsheet copies it"\r\nthree\r\n',
            {},
            "tsv",
            ["one", 'two "of" them,\r\n\r\nas a spreadsheet copies it', "three"],
        ),
        ('1\t"Yes" she said\n2\tan inch is 1"', {}, "tsv", ['"Yes" she said', 'an inch is 1"']),
        ('"one"\n"two"', {}, "lines", ['"one"', '"two"']),
        ("id\ttitle\ttext\n1\tT\tbody", {}, "tsv", ["T\nbody"]),
        ('{"_id": "9", "title": "T", "text": "body"}\n{"_id": "8", "title": "alone", "text": ""}\n{"document": "d"}', {}, "jsonl", ["T\nbody", "alone", "d"]),
        ('{"input": "single"}', {}, "json", ["single"]),
        ("[not json\nbut lines", {}, "lines", ["[not json", "but lines"]),
        ("\ufeffa\nb", {"kind": "lines"}, "lines", ["a", "b"]),
    ],
)
def test_a_list_is_read_whatever_it_is_written_as(folder: Path, text: str, how: dict[str, str], kind: str, items: list[str]) -> None:
    found = ask(folder, "lists", "readList", text, how)
    assert (found["kind"], found["items"], found["problem"]) == (kind, items, "")


def test_a_whole_request_brings_its_query_along(folder: Path) -> None:
    assert ask(folder, "lists", "readList", '{"query": {"text": "q"}, "passages": ["a"]}', {})["query"] == "q"


def test_what_does_not_fit_is_counted(folder: Path) -> None:
    found = ask(folder, "lists", "readList", "a\nbb\nccccc\nd\ne", {"kind": "lines", "most": 2, "longest": 4})
    assert (found["items"], found["found"], found["long"], found["over"]) == (["a", "bb"], 5, 1, 2)


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ('["a",\n"b', "json", "This is no JSON"),
        ('{"a": 1}', "json", "This JSON is no array."),
        ('"a"\nnonsense', "jsonl", "Line 2 is no JSON."),
        ('"a\nb', "csv", "Row 1 opens a quotation mark and does not close it."),
        (" \n ", "lines", ""),
        ("[]", "json", "No text was found in it."),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(folder: Path, text: str, kind: str, problem: str) -> None:
    found = ask(folder, "lists", "readList", text, {"kind": kind})
    assert found["items"] == []
    assert found["problem"].startswith(problem)


# --- states and links


def test_a_link_brings_back_what_it_was_made_of(folder: Path) -> None:
    made = state(query="wörter 漢字 <b>", items=[{"text": "x" * 5_000}, {"text": "b"}])
    packed = ask(folder, "share", "pack", made)
    assert packed.startswith("z")
    assert len(packed) < 600
    assert set(packed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert ask(folder, "share", "unpack", packed) == made


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no request"),
        ("x123", "holds no request"),
        ("zAAAA", "was cut or changed"),
        ("j%%%", "was cut or changed"),
        ("z" + "A" * 70_000, "holds no request"),
    ],
)
def test_a_damaged_link_is_said_to_be_one(folder: Path, text: str, sentence: str) -> None:
    assert sentence in ask(folder, "share", "unpack", text)["thrown"]


def test_a_short_link_does_not_unpack_to_gigabytes(folder: Path) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    content = packer.compress(b'"' + b"a" * 8_000_000 + b'"') + packer.flush()
    text = "z" + base64.urlsafe_b64encode(content).decode().rstrip("=")
    assert len(text) < 16_000
    assert ask(folder, "share", "unpack", text)["thrown"] == "The link to this page holds more than a request may."


@pytest.mark.parametrize("found", [None, 4, "x", [1]])
def test_what_is_no_state_is_none(folder: Path, found: object) -> None:
    assert ask(folder, "state", "sane", found) is None


def test_of_a_strange_state_what_fits_is_kept(folder: Path) -> None:
    found = ask(
        folder,
        "state",
        "sane",
        {
            "query": 4,
            "items": ["a", 5, {"text": "b", "image": {"url": "javascript:alert(1)"}}, {"text": "", "image": {"url": PNG, "bytes": 8, "width": -1}}],
            "truncate": "MIDDLE",
            "chunks": "-4",
            "cut": "64",
            "scale": "calibrated",
            "target": ["x"],
            "__proto__": {"polluted": True},
            "other": {"slug": "x" * 999},
        },
    )
    assert found["query"] == found["chunks"] == found["target"] == ""
    assert found["items"][:3] == [{"text": "a"}, {"text": ""}, {"text": "b"}]
    assert found["items"][3]["image"] == {"url": PNG, "name": "", "kind": "", "bytes": 8, "width": 0, "height": 0}
    assert (found["truncate"], found["cut"], found["scale"], len(found["other"]["slug"])) == ("END", "64", "calibrated", 200)


# --- requests


def test_a_rankers_form_is_a_body_that_the_native_route_takes(folder: Path) -> None:
    items = [{"text": "a"}, {"text": "  "}, {"text": "", "image": {"url": PNG}}, {"text": "c", "image": {"url": PNG}}]
    made = state(items=items, target="B200/us-central1", scale="sigmoid", chunks="8", cut="64")
    asked = parse_ranking(json.dumps(ask(folder, "request", "bodyOf", made, ABOUT)).encode(), STRICT)
    assert asked.pin == ("v1", "B200", "us-central1")
    assert asked.call.passages == (Content("a"), Content(None, PNG), Content("c", PNG))
    assert (asked.call.model, asked.call.truncate, asked.call.max_chunks, asked.call.max_passage_tokens) == ("acme-rank", "END", 8, 64)


def test_an_embedders_form_is_a_body_that_the_native_route_takes(folder: Path) -> None:
    items = [{"text": "a data:image/png;base64,AAAA"}, {"text": "", "image": {"url": PNG}}, {"text": "c", "image": {"url": PNG}}]
    made = state(items=items, version="", dimensions="256", truncate="START")
    asked = parse_embeddings(json.dumps(ask(folder, "request", "bodyOf", made, EMBED)).encode(), STRICT)
    assert asked.call.inputs == (Content("a data:image/png;base64,AAAA"), Content(None, PNG), Content("c", PNG))
    assert (asked.call.input_type, asked.call.dimensions, asked.call.truncate, asked.pin.version) == ("passage", 256, "START", None)


@pytest.mark.parametrize(
    ("changes", "about", "field", "words"),
    [
        ({"query": " "}, ABOUT, "query", "The query is empty."),
        ({"query": "x" * 200_001}, ABOUT, "query", "200,001 characters"),
        ({"items": [{"text": " "}]}, ABOUT, "items", "There is no passage with anything in it."),
        ({"items": [{"text": str(i)} for i in range(600)]}, ABOUT, "items", "There are 600 passages, and one request takes 3. Remove 597 or more."),
        ({"items": [{"text": "a"}, {"text": "x" * 200_001}]}, ABOUT, "item", "Passage 2 has 200,001 characters."),
        ({"items": [{"text": "", "image": {"url": PNG}}]}, ABOUT | {"images": False}, "item", "Acme reads no images."),
        ({"items": [{"text": "", "image": {"url": PNG}}], "inputType": "query"}, EMBED, "inputType", "A query is text"),
        ({}, ABOUT | {"limits": {"items": 3, "body_bytes": 20}}, "body", "this server takes 20 B"),
    ],
)
def test_what_would_be_refused_is_said_before_it_is_sent(folder: Path, changes: dict[str, Any], about: dict[str, Any], field: str, words: str) -> None:
    found = ask(folder, "request", "problemsOf", state(**changes), about)
    assert [one["field"] for one in found][:1] == [field]
    assert words in found[0]["message"]


def test_a_form_that_is_right_has_no_problems(folder: Path) -> None:
    assert ask(folder, "request", "problemsOf", state(), ABOUT) == []
    assert ask(folder, "request", "problemsOf", state(query=""), EMBED) == []


def test_the_command_holds_the_body_byte_for_byte_and_nothing_in_it_is_the_shells(folder: Path, tmp_path: Path) -> None:
    hostile = 'it\'s $HOME `id` "$(id)" \\n\nFORGE_JSON\n; touch owned'
    about = ABOUT | {"base": "http://x'; touch owned; '"}
    body = ask(folder, "request", "bodyOf", state(query=hostile), about)
    command = ask(folder, "request", "curlOf", about, body, "600")
    seen = tmp_path / "curl"
    seen.write_text('#!/bin/sh\nfor one; do printf "%s\\n" "$one" >> args; done\ncat > body\n', "utf-8")
    seen.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "FORGE_API_KEY": "k-0123456789"}
    done = subprocess.run(["bash", "-eu", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "body").read_text("utf-8")) == body
    arguments = (tmp_path / "args").read_text("utf-8").splitlines()
    assert "http://x'; touch owned; '/v1/inference/acme-rank" in arguments
    assert "Authorization: Bearer k-0123456789" in arguments
    assert not (tmp_path / "owned").exists()
    for key in ("", "replace-with-your-forge-api-key"):
        refused = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment | {"FORGE_API_KEY": key}, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        assert refused.returncode == 1
        assert "Set FORGE_API_KEY to a real Forge API key first." in refused.stderr


def test_the_shown_request_names_an_images_size_in_the_place_of_its_characters(folder: Path) -> None:
    url = "data:image/png;base64," + "A" * 4_000
    shown = ask(folder, "request", "shownJson", {"passages": [{"image": url}, {"text": "x" * 500}]})
    assert "(4,000 characters)" in shown
    assert "A" * 100 not in shown
    assert "x" * 500 in shown


@pytest.mark.parametrize(
    ("error", "title", "todo", "actions"),
    [
        ({"status": 0, "kind": "network"}, "The server could not be reached", "What you typed is still here", ["again"]),
        ({"status": 0, "kind": "cancelled"}, "Cancelled", "its place is free again", ["again"]),
        ({"status": 401, "message": "no"}, "You are not signed in any more", "Nothing here is lost.", ["signin", "again"]),
        ({"status": 403, "message": "the scope 'inference' is needed"}, "Your key does not allow this", "scope inference", ["signin", "again"]),
        ({"status": 404, "message": "no model"}, "It is not there", "Choose another one", ["change"]),
        ({"status": 413, "message": "large"}, "The request is too large", "Remove passages", ["change"]),
        ({"status": 422, "message": "passages must not be empty"}, "The request was refused", "Change what it names", ["change"]),
        ({"status": 429, "message": "60 a minute", "retryAfterS": 36.2}, "Too much at one time", "", ["again"]),
        ({"status": 429, "message": "its monthly budget"}, "The budget is used up", "Try again in a moment.", ["signin", "again"]),
        (
            {"status": 503, "message": "acme v1 could not be started: out_of_memory: 3 GB", "retryAfterS": 1},
            "It could not be started or reached",
            "Take less.",
            ["again"],
        ),
        ({"status": 503, "message": "'a' on CPU in local is full"}, "It could not be started or reached", "Another target may work at once.", ["again"]),
        ({"status": 503, "message": "away"}, "It could not be started or reached", "Try again in a moment.", ["again"]),
        ({"status": 0, "kind": "unshown"}, "The answer could not be shown", "run again when it is back", ["again"]),
        ({"status": 504, "message": "late"}, "It took longer than the deadline", "Run again", ["again"]),
        ({"status": 502, "message": ""}, "The server failed", "Try again in a moment.", ["again"]),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(folder: Path, error: dict[str, Any], title: str, todo: str, actions: list[str]) -> None:
    found = ask(folder, "request", "faultOf", error, ABOUT | {"remedies": {"out_of_memory": "Take less."}})
    assert (found["title"], found["actions"]) == (title, actions)
    assert todo in found["todo"]


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        ({"status": 429, "message": "60 a minute", "retryAfterS": 36.2}, 37),
        ({"status": 503, "message": "away", "retryAfterS": 1}, 1),
        ({"status": 503, "message": "out_of_memory: 3 GB", "retryAfterS": 1}, None),  # waiting alone helps nobody there
        ({"status": 429, "message": "busy"}, None),
    ],
)
def test_how_long_to_wait_is_told_where_waiting_helps(folder: Path, error: dict[str, Any], wait: int | None) -> None:
    assert ask(folder, "request", "faultOf", error, ABOUT | {"remedies": {"out_of_memory": "Take less."}})["waitS"] == wait


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (0, "It can be tried again now."),
        (1, "Try again in 1 second."),
        (119, "Try again in 119 seconds."),
        (121, "Try again in 3 minutes."),
        (7201, "Try again in 3 hours."),
        (811_455, "Try again in 10 days."),
    ],
)
def test_a_wait_is_said_in_the_unit_that_suits_it(folder: Path, left: int, words: str) -> None:
    assert ask(folder, "request", "waitWords", left) == words


def test_whoever_fetches_a_part_of_the_page_fetches_all_that_it_imports(tmp_path: Path) -> None:
    found = subprocess.run(
        ["node", "--input-type=module", "-e", f"import {{ NEEDS }} from {json.dumps(str(written(tmp_path)))}; console.log(JSON.stringify(NEEDS))"],
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=True,
    )
    named = json.loads(found.stdout)
    assert {name: sorted(set(needs)) for name, needs in named.items()} == {name: sorted(imported(name) - {name}) for name in named}


def written(folder: Path) -> Path:
    if shutil.which("node") is None:
        pytest.skip("node is not installed here")
    (folder / "package.json").write_text('{"type": "module"}', "utf-8")
    (folder / "parts.js").write_bytes(assets()["playground_parts.js"].content)
    return folder / "parts.js"


def imported(name: str, known: frozenset[str] = frozenset()) -> set[str]:
    """A module, and all that it imports at once."""
    found = {each.decode() for each in re.findall(rb'(?:\bfrom|^import) "\./([\w-]+\.js)', assets()[name].content, re.MULTILINE)}
    return {name}.union(*(imported(each, known | {name}) for each in found - known))
