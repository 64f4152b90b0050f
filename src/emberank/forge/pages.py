"""An OpenAPI document in, a page of HTML to read it out: no script, nothing fetched, so it works offline and under a strict policy."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import orjson

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #d9480f; }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.8rem; margin-bottom: .2rem; } h2 { margin-top: 2.4rem; border-top: 1px solid var(--line); padding-top: 1.4rem; font-size: 1.15rem; }
h2 b { color: var(--accent); margin-right: .4rem; } code, pre { font: .875rem/1.5 ui-monospace, monospace; } code { overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .8rem 1rem; border-radius: 6px; overflow-x: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; } td, th { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
"""
_HEAD = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
_KEY = '-H "Authorization: Bearer $FORGE_API_KEY"'


def docs_page(document: dict[str, Any], base: str) -> str:
    """Every operation with its parameters, fields and answers, and an example to paste."""
    info = document["info"]
    parts = [
        f"{_HEAD}<title>{escape(info['title'])}</title><style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])} The same as data: <a href=/openapi.json>/openapi.json</a>.</p>",
    ]
    for path, operations in document["paths"].items():
        parts += [_operation(document, base, path, method, operation) for method, operation in operations.items()]
    return "".join(parts)


def _operation(document: dict[str, Any], base: str, path: str, method: str, operation: dict[str, Any]) -> str:
    out = f"<h2><b>{method.upper()}</b><code>{escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
    named = [(one["name"], one["in"], one["description"]) for one in operation["parameters"]]
    if named:
        out += _table(("Parameter", "In", "What it is"), named)
    body = operation.get("requestBody")
    key = "" if operation.get("security") == [] else f" {_KEY}"
    example = f"curl -s{'' if method == 'get' else f' -X {method.upper()}'} '{base}{path}'{key}"
    if body:
        schema = document["components"]["schemas"][body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
        fields = [(name, _type(field), field.get("description", "")) for name, field in schema["properties"].items()]
        out += _table(("Field", "Type", "What it is"), fields)
        data = orjson.dumps(schema["examples"][0], option=orjson.OPT_INDENT_2).decode("utf-8").replace("'", "'\\''")
        example += f" -H 'Content-Type: application/json' -d '{data}'"
    answers = [(status, "", answer["description"]) for status, answer in operation["responses"].items() if status.startswith("2")]
    return out + f"<pre>{escape(example)}</pre>" + _table(("Status", "", "Meaning"), answers)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr><td><code>{escape(first)}</code><td>{escape(second)}<td>{_words(third)}" for first, second, third in rows)
    return f"<div class=wide><table><tr>{''.join(f'<th>{escape(head)}' for head in heads)}{body}</table></div>"


def _words(text: str) -> str:
    """Text with `code` marked as such."""
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(escape(text).split("`")))


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"] if value is not None)
    if "anyOf" in field:
        return " or ".join(map(_type, field["anyOf"]))
    kinds = field.get("type", "any")
    kinds = [kind for kind in kinds if kind != "null"] if isinstance(kinds, list) else [kinds]
    return f"array of {_type(field['items'])}" if kinds == ["array"] else " | ".join(kinds)
