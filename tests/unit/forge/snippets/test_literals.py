"""Any text comes back from every literal as it went in, and none can be read as anything but a text."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emberank.forge.snippets import literals

HOSTILE = (
    "",
    "it's",
    "'; touch canary; '",
    '"; touch canary; "',
    "$(touch canary)",
    "${HOME}",
    "`touch canary`",
    "\\",
    "\\'",
    "a\\\nb",
    "two\nlines\r\n",
    "tab\tand\x07bell",
    "</script><script>alert(1)</script>",
    "<!-- comment",
    "\N{RIGHT-TO-LEFT OVERRIDE}reversed",
    "\N{LINE SEPARATOR}\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}",
    "emoji \N{FIRE} and 你好",
    "%s %d %% {braces} {{two}}",
    "!history #comment *glob? ~ [a-z] & | ; < > ( )",
    "-n",
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def is_visible(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def through_bash(texts: list[str]) -> list[str]:
    script = "".join(f"printf '%s\\0' {literals.shell(text)}\n" for text in texts)
    subprocess.run(["bash", "-n", "-c", script], check=True, timeout=30)
    return subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=30).stdout.decode("utf-8").split("\0")[:-1]


def test_hostile_texts_are_single_words_of_a_shell() -> None:
    assert through_bash(list(HOSTILE)) == list(HOSTILE)


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXTS.map(lambda text: text.replace("\0", "")), min_size=1, max_size=20))
def test_any_texts_are_single_words_of_a_shell(texts: list[str]) -> None:
    assert through_bash(texts) == texts


def test_a_default_value_of_a_variable_is_a_text_too() -> None:
    for text in HOSTILE:
        done = subprocess.run(["bash", "-uc", f"X=${{X:-{literals.shell(text)}}}; printf '%s' \"$X\""], capture_output=True, check=True, timeout=30)
        assert done.stdout.decode("utf-8") == text


@given(JSON)
def test_what_json_holds_is_a_python_literal(value: object) -> None:
    for indent in ("", " " * 95):  # short values on a line, and a line each
        text = literals.python(value, indent)
        assert ast.literal_eval(text) == value
        assert is_visible(text)


@given(JSON)
def test_json_comes_back_and_hides_nothing(value: object) -> None:
    text = literals.json_text(value)
    assert json.loads(text) == value
    assert is_visible(text)


@given(JSON)
def test_json_in_go_s_raw_strings_comes_back(value: object) -> None:
    text = literals.go_raw(literals.json_text(value))
    assert "`" not in text[1:-1]
    assert json.loads(text[1:-1]) == value


@given(TEXTS)
def test_a_word_has_nothing_that_cannot_be_seen_and_no_line_break(text: str) -> None:
    assert literals.word(text).isprintable()
    assert len(literals.word(text)) == len(text)


@given(TEXTS)
def test_an_address_has_only_characters_of_urls(text: str) -> None:
    assert not set(literals.address(text)) & set(" \t\n\r'\"`$(){}<>\\;&|*?#!")


def test_yaml_scalars_come_back() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed here")
    assert [yaml.safe_load(literals.yaml(text)) for text in HOSTILE] == list(HOSTILE)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed here")
def test_javascript_expressions_come_back_and_end_no_script_element() -> None:
    text = literals.javascript(list(HOSTILE))
    assert "</" not in text
    assert "<!--" not in text
    done = subprocess.run(["node", "-e", f"process.stdout.write(JSON.stringify({text}))"], capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout) == list(HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_of_an_env_file_is_the_text_or_says_that_it_cannot_be(text: str) -> None:
    line = literals.dotenv("X", text)
    assert len(line.splitlines()) == 1
    done = subprocess.run(["bash", "-c", f"{line}\nprintf '%s' \"${{X-unset}}\""], capture_output=True, check=True, timeout=30)
    assert done.stdout.decode("utf-8") == ("unset" if line.startswith("#") else text)
    assert line.startswith("# X ") == ("'" in text or "\\" in text or "${" in text or not text.isprintable())


def test_a_lone_surrogate_becomes_a_replacement_everywhere() -> None:
    lone = "a\ud800b"
    assert ast.literal_eval(literals.python(lone)) == "a?b"
    assert json.loads(literals.json_text(lone)) == "a?b"
    assert literals.word(lone) == "a\N{REPLACEMENT CHARACTER}b"
    assert literals.address(f"http://{lone}") == "http://a%3Fb"
