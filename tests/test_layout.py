"""The import rules of the architecture, read off the syntax trees: nothing is imported to find out."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FILES = {".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path for path in sorted((SOURCE / "emberank").rglob("*.py"))}
MODULES = [pytest.param(name, id=name) for name in FILES]

# What each part may import of ours. A part that is not named here (cli, up) may import everything.
MAY: dict[str, set[str]] = {
    "contract": set(),
    "dialects": {"contract"},
    "client": {"contract", "dialects"},
    "settings": {"contract"},
    "telemetry": set(),
    "evaluate": {"contract"},
    "doctor": {"contract", "dialects", "client"},
    "bridge": {"contract", "dialects", "serving", "settings", "telemetry"},
    "mcp": {"contract", "dialects", "client", "settings"},
    "serving": {"contract", "dialects", "settings", "telemetry"},
    "runtime": {"contract", "dialects", "serving", "settings", "telemetry"},
    "gateway": {"contract", "dialects", "client", "serving", "settings", "telemetry"},
    "forge": {"contract", "dialects", "client", "serving", "settings", "telemetry"},
    "cluster": {"contract", "dialects", "client", "serving", "runtime", "gateway", "forge", "settings", "telemetry"},
}
COMPOSES = {"", "cli", "up", "evaluate_command", "commands"}  # the package itself, and what puts the parts together
# Heavy libraries, and the one place where each may be imported.
ONLY = {
    "openvino": "emberank.runtime.engines",
    "torch": "emberank.runtime.engines",
    "PIL": "emberank.runtime.images",
    "tokenizers": "emberank.runtime.tokenizer",
    "huggingface_hub": "emberank.runtime.sources.hf",
    "bm25s": "emberank.evaluate",
    "ir_measures": "emberank.evaluate",
    "sqlalchemy": "emberank.forge.store",
    "psycopg": "emberank.forge.store",
    "opentelemetry": "emberank.telemetry.traces",
    "pynvml": ("emberank.forge.discovery", "emberank.runtime.engines.nvml"),
    "jinja2": "emberank.forge.web",
    "authlib": "emberank.forge.web.signin.oidc.protocol",
    "joserfc": "emberank.forge.web.signin.oidc.protocol",
    "markdown_it": "emberank.forge.web",
    "ray": "emberank.cluster",
    "mcp": "emberank.mcp",
    "mcp_types": "emberank.mcp",
    "jsonschema": "emberank.mcp",
    "litellm": "emberank.bridge.provider",
}
NEVER = {"transformers", "sentence_transformers", "pickle", "marshal", "shelve"}
# What the lowest parts may import beside the standard library.
THIRD_PARTY = {"contract": {"numpy"}, "dialects": {"numpy", "orjson"}, "settings": set(), "telemetry": {"orjson", "opentelemetry"}}

MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_CONTRACT_LINES = 400, 60, 500


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text("utf-8"))


def imports(name: str, *, when_loaded: bool = False) -> Iterator[str]:
    """Full names of the modules that a module imports; `when_loaded` leaves out what functions import when they are called."""
    nodes = list(outside_functions(tree(name))) if when_loaded else list(ast.walk(tree(name)))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in FILES else str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("import_module", "__import__"):
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str))


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def part(name: str) -> str:
    """emberank.runtime.engines.base → runtime."""
    return name.partition(".")[2].partition(".")[0]


def is_inside(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def test_there_is_something_to_look_at() -> None:
    assert {"emberank", "emberank.settings", "emberank.contract.errors", "emberank.runtime.engines.openvino"} <= set(FILES)
    assert "emberank.contract.errors" in set(imports("emberank.settings.reading"))
    assert "openvino" in set(imports("emberank.runtime.engines.quiet_openvino"))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_part_may(name: str) -> None:
    own = part(name)
    assert own in MAY or own in COMPOSES, f"{own!r} is a part without a rule: give it one"
    if own in COMPOSES:
        return
    used = {part(other) for other in imports(name) if is_inside(other, "emberank")} - {own, ""}
    assert used <= MAY[own], f"{name} imports {sorted(used - MAY[own])}"


@pytest.mark.parametrize("name", MODULES)
def test_heavy_libraries_have_one_place_each_and_some_have_none(name: str) -> None:
    for other in imports(name):
        top = other.partition(".")[0]
        assert top not in NEVER, f"{name} imports {other}"
        places = ONLY.get(top, "")
        assert top not in ONLY or any(is_inside(name, place) for place in ([places] if isinstance(places, str) else places)), (
            f"{name} imports {other}, which is for {places}"
        )


@pytest.mark.parametrize("name", [name for name in FILES if part(name) in THIRD_PARTY])
def test_the_lowest_parts_need_hardly_more_than_the_standard_library(name: str) -> None:
    tops = {other.partition(".")[0] for other in imports(name)} - {"emberank"}
    assert tops - set(sys.stdlib_module_names) <= THIRD_PARTY[part(name)]


@pytest.mark.parametrize("name", [name for name in FILES if is_inside(name, "emberank.dialects")])
def test_dialects_do_no_input_or_output(name: str) -> None:
    forbidden = {"asyncio", "socket", "http", "urllib", "pathlib", "os", "threading", "logging", "time"}
    assert not {other.partition(".")[0] for other in imports(name)} & forbidden


def test_a_member_of_a_family_is_imported_by_nobody_but_through_its_registry() -> None:
    members = {"emberank.runtime.engines.openvino", "emberank.runtime.engines.reference", "emberank.runtime.engines.fake"}
    for name in FILES:
        assert not members & set(imports(name)), name


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: {other for other in imports(name, when_loaded=True) if other in FILES} for name in FILES}
    assert any(graph.values())
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "a cycle: " + " → ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for other in sorted(graph[name]):
            visit(other, (*path, name))
        done.add(name)

    for name in FILES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_in_its_first_sentence_what_it_is_for(name: str) -> None:
    said = ast.get_docstring(tree(name))
    assert said
    assert len(said.splitlines()[0]) > 20


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_stay_short(name: str) -> None:
    assert len(FILES[name].read_text("utf-8").splitlines()) <= MOST_FILE_LINES
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert own_lines(node) <= MOST_FUNCTION_LINES, f"{name}.{node.name}"


def own_lines(node: ast.AST) -> int:
    """Lines of a definition without the classes inside it: a function that makes a class is judged by that class's methods."""
    inner = [child for child in ast.walk(node) if isinstance(child, ast.ClassDef) and child is not node]
    lines = {line for child in inner for line in range(child.lineno, (child.end_lineno or 0) + 1)}
    return len(set(range(node.lineno, node.end_lineno + 1)) - lines)  # type: ignore[attr-defined]


def test_the_contract_stays_small() -> None:
    assert sum(len(path.read_text("utf-8").splitlines()) for name, path in FILES.items() if part(name) == "contract") <= MOST_CONTRACT_LINES
