"""Text that nobody vouches for in, the same text as a literal of a shell, Python, JavaScript, Go, YAML or a .env file out.

What a reader could not see (control characters, bidirectional marks, odd spaces) is written as an escape, so that a block is what it looks like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import quote

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Safe between double quotes for sh, python-dotenv and compose alike.
_PLAIN = re.compile(r"[A-Za-z0-9 ._:/@?&=%+,~\[\]-]*")
_HIDDEN_MEANING = re.compile(r"['\\]|\$\{")  # python-dotenv reads these between single quotes too


def word(text: str) -> str:
    """A name as it may stand anywhere in a block, a comment included: what is not printable is replaced."""
    return "".join(char if char.isprintable() else _REPLACEMENT for char in text)


def unicode(text: str) -> str:
    """Text without lone surrogates, which no language here can write."""
    return text.encode("utf-8", "replace").decode("utf-8") if any("\ud800" <= char <= "\udfff" for char in text) else text


def address(base: str) -> str:
    """A base URL without a slash at its end. A Host header is the caller's own text: what has no place in a URL is percent-encoded."""
    return quote(unicode(base).rstrip("/"), safe=":/@[]%-._~")


def path_part(name: str) -> str:
    """A name as one part of a path."""
    return quote(unicode(name), safe="")


def shell(text: str) -> str:
    """A single-quoted shell word; always quoted, as the blocks show values. Shells know no NUL: it is replaced."""
    return "'" + text.replace("\0", _REPLACEMENT).replace("'", "'\\''") + "'"


def dotenv(name: str, value: str) -> str:
    """A line of a .env file that sh, python-dotenv and compose read alike; a comment for a value that they would not."""
    if _PLAIN.fullmatch(value):
        return f'{name}="{value}"'
    if _HIDDEN_MEANING.search(value) or not value.isprintable():
        return f"# {name} has characters that programs read differently in a .env file: set it elsewhere"
    return f"{name}='{value}'"


def json_text(value: object, indent: int | None = 2) -> str:
    """JSON whose every character is visible."""
    return _visible(json.dumps(value, ensure_ascii=False, indent=indent), _utf16)


def javascript(value: object, indent: int | None = 2) -> str:
    """A JavaScript expression: JSON that cannot end a script element either."""
    return json_text(value, indent).replace("</", "<\\/").replace("<!--", "<\\u0021--")


def go_raw(text: str) -> str:
    """JSON text as a Go raw string literal: a backtick, which would end it, can only stand in a JSON string."""
    return "`" + text.replace("`", "\\u0060") + "`"


def go(text: str) -> str:
    """A Go string literal."""
    return _visible(json.dumps(text, ensure_ascii=False), _code_point)


def yaml(text: str) -> str:
    """A double-quoted YAML scalar."""
    return _visible(json.dumps(text, ensure_ascii=False), _code_point)


def python(value: object, indent: str = "") -> str:
    """A Python literal of what JSON can hold; one line for what is short, else a line each."""
    flat = _flat_python(value)
    if len(flat) + len(indent) <= 100 or not isinstance(value, dict | list | tuple):
        return flat
    inner = indent + "    "
    if isinstance(value, dict):
        lines = [f"{inner}{_flat_python(name)}: {python(item, inner)},\n" for name, item in value.items()]
        return "{\n" + "".join(lines) + indent + "}"
    return "[\n" + "".join(f"{inner}{python(item, inner)},\n" for item in value) + indent + "]"


def _flat_python(value: object) -> str:
    if isinstance(value, str):
        return _visible(json.dumps(value, ensure_ascii=False), _code_point)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat_python(name)}: {_flat_python(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flat_python, value)) + "]"
    return repr(value)


def _visible(text: str, escaped: Callable[[str], str]) -> str:
    return "".join(char if char.isprintable() or char == "\n" else escaped(char) for char in unicode(text))


def _utf16(char: str) -> str:
    return json.dumps(char, ensure_ascii=True)[1:-1] if char > "\x7f" else f"\\u{ord(char):04x}"


def _code_point(char: str) -> str:
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"
