"""An OpenAPI document in, one HTML page to read it out: no script, nothing fetched, so it works offline and under a strict policy."""

from __future__ import annotations

from html import escape
from typing import Any

import orjson

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #d9480f; }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.8rem; margin-bottom: .2rem; } h2 { margin-top: 2.4rem; border-top: 1px solid var(--line); padding-top: 1.4rem; font-size: 1.15rem; }
h2 b { color: var(--accent); font-weight: 700; margin-right: .4rem; } code, pre { font: .875rem/1.5 ui-monospace, monospace; }
pre { background: var(--soft); padding: .8rem 1rem; border-radius: 6px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; } td, th { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } h2 code { overflow-wrap: anywhere; } .wide { overflow-x: auto; }
"""


def page(document: dict[str, Any], base: str) -> str:
    """Every operation with its fields, answers and an example to paste, which names the server's own address `base`."""
    info = document["info"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>{escape(info['title'])}</title>",
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])} The same as data: <a href=/openapi.json>/openapi.json</a>.</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(document, base + path, path, method, operation))
    return "".join(parts)


def _operation(document: dict[str, Any], url: str, path: str, method: str, operation: dict[str, Any]) -> str:
    out = f"<h2><b>{method.upper()}</b><code>{escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
    body = operation.get("requestBody")
    if body:
        schema = _schema(document, body["content"])
        out += _fields(schema)
        for example in schema.get("examples", []):
            data = orjson.dumps(example, option=orjson.OPT_INDENT_2).decode("utf-8")
            out += f"<pre>curl -s {escape(url)} -H 'Content-Type: application/json' -d '{escape(data)}'</pre>"
    rows = "".join(f"<tr><td><code>{escape(status)}</code><td>{escape(answer['description'])}" for status, answer in operation["responses"].items())
    return out + f"<div class=wide><table><tr><th>Status<th>Meaning{rows}</table></div>"


def _schema(document: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = document["components"]["schemas"][name]
    return schema


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = ""
    for name, field in schema["properties"].items():
        rows += (
            f"<tr><td><code>{escape(name)}</code><td>{escape(_type(field))}<td>{'yes' if name in required else 'no'}<td>{_words(field.get('description', ''))}"
        )
    return f"<div class=wide><table><tr><th>Field<th>Type<th>Required<th>What it is{rows}</table></div>"


def _words(text: str) -> str:
    """Text with `code` marked as such."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"] if value is not None)
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if field.get("type") == "array":
        return (
            f"array of {_type(field.get('items', {}))}, {field['minItems']}…{field['maxItems']}"
            if "maxItems" in field
            else f"array of {_type(field.get('items', {}))}"
        )
    if field.get("type") == "object":
        return "{" + ", ".join(field.get("properties", {})) + "}"
    kinds = field.get("type", "any")
    return " | ".join(kind for kind in kinds if kind != "null") if isinstance(kinds, list) else str(kinds)
