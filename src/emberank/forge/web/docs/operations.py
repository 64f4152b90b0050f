"""An OpenAPI document in, its operations as a page lists them out: parameters, fields, answers, and a call to paste. Knows no template and no request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_KEY = '-H "Authorization: Bearer $FORGE_API_KEY"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A parameter, a field or an answer. `what` is words, each run with whether it is code."""

    name: str
    kind: str
    what: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route and method."""

    id: str
    method: str
    path: str
    summary: tuple[tuple[str, bool], ...]
    parameters: tuple[Row, ...]
    fields: tuple[Row, ...]
    answers: tuple[Row, ...]
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Operations about one thing."""

    name: str
    operations: tuple[Operation, ...]

    @property
    def anchor(self) -> str:
        """Where it is on the page."""
        return "about-" + re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def groups_of(document: Mapping[str, Any], base: str) -> tuple[Group, ...]:
    """Every operation, in the groups and the order of the document. `base` is where the examples send their calls."""
    groups: dict[str, list[Operation]] = {}
    for path, operations in document["paths"].items():
        for method, said in operations.items():
            groups.setdefault(next(iter(said.get("tags", ())), "Other"), []).append(_operation(document, base, path, method, said))
    return tuple(Group(name=name, operations=tuple(each)) for name, each in groups.items())


def _operation(document: Mapping[str, Any], base: str, path: str, method: str, said: Mapping[str, Any]) -> Operation:
    body = said.get("requestBody")
    schema = document["components"]["schemas"][body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]] if body else {}
    example = f"curl -s{'' if method == 'get' else f' -X {method.upper()}'} '{base}{path}'"
    if said.get("security") != []:
        example += f" {_KEY}"
    if body:
        data = orjson.dumps(schema["examples"][0], option=orjson.OPT_INDENT_2).decode("utf-8").replace("'", "'\\''")
        example += f" -H 'Content-Type: application/json' -d '{data}'"
    return Operation(
        id=said["operationId"],
        method=method.upper(),
        path=path,
        summary=words(said["summary"]),
        parameters=tuple(Row(name=one["name"], kind=one["in"], what=words(one["description"])) for one in said["parameters"]),
        fields=tuple(Row(name=name, kind=_type(field), what=words(field.get("description", ""))) for name, field in schema.get("properties", {}).items()),
        answers=tuple(Row(name=status, kind="", what=words(one["description"])) for status, one in said["responses"].items() if status.startswith("2")),
        example=example,
    )


def words(text: str) -> tuple[tuple[str, bool], ...]:
    """Text in runs: what stands between backticks is code."""
    return tuple((part, bool(i % 2)) for i, part in enumerate(text.split("`")) if part)


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"] if value is not None)
    if "anyOf" in field:
        return " or ".join(map(_type, field["anyOf"]))
    kinds = field.get("type", "any")
    kinds = [kind for kind in kinds if kind != "null"] if isinstance(kinds, list) else [kinds]
    return f"array of {_type(field['items'])}" if kinds == ["array"] else " | ".join(kinds)
