"""A subject in, what stands before the first request out: variables, a project's .env and .gitignore, and the URLs to look at."""

from __future__ import annotations

from dataclasses import replace

from emberank.forge.snippets.literals import dotenv, shell
from emberank.forge.snippets.snippet import Snippet
from emberank.forge.snippets.subject import PLACEHOLDER, TIMEOUT_S, Subject

_SECRETS = """# Forge local API secrets
.env
.env.*
!.env.example"""


def setup_snippets(about: Subject) -> tuple[Snippet, ...]:
    """Exports with and without the pin, .env, .gitignore."""
    unpinned = replace(about, gpu_type="", region="")
    exports = [Snippet(id="setup", title="Setup", language="sh", group="setup", text=_exports(unpinned), note="Forge chooses where a request runs.")]
    if about.pin:
        note = "Every block asks for this GPU and region. Leave the last two lines out to let Forge choose."
        exports.append(Snippet(id="setup-pinned", title="Pinned setup", language="sh", group="setup", text=_exports(about), note=note))
    file = Snippet(
        id="dotenv",
        title="Project .env",
        language="dotenv",
        group="setup",
        text="\n".join((f"# {about.said(about.route)}", *(dotenv(name, value) for name, value in _values(about)))),
        note="For an app or an SDK client. Put the .gitignore rules in place before the key.",
    )
    ignored = Snippet(id="gitignore", title="Project .gitignore", language="gitignore", group="setup", text=_SECRETS, note="Keeps the key out of commits.")
    return (*exports, file, ignored)


def url_snippets(about: Subject) -> tuple[Snippet, ...]:
    """The preflight URLs and the request's. Each wants the key in its Authorization header."""
    note = "Wants the header Authorization: Bearer $FORGE_API_KEY."
    urls = (
        ("routes-url", "Route check URL", about.about("inference-routes")),
        ("run-estimate-url", "Run estimate URL", about.about("run-estimate")),
        ("reliability-url", "Reliability URL", about.about("reliability")),
        ("runtime-status-url", "Runtime status URL", about.status),
    )
    return tuple(Snippet(id=name, title=title, language="url", group="preflight", text=about.base + path, note=note) for name, title, path in urls)


def _names(about: Subject) -> list[tuple[str, str]]:
    named = [("MODEL_OR_FAMILY_SLUG", about.slug), ("FORGE_MODEL_VERSION", about.version), ("FORGE_GPU_TYPE", about.gpu_type), ("FORGE_REGION", about.region)]
    return [(name, value) for name, value in named if value]


def _exports(about: Subject) -> str:
    lines = (
        f"export FORGE_API_BASE={shell(about.base)}",
        f'export FORGE_API_KEY="${{FORGE_API_KEY:-{PLACEHOLDER}}}"',
        f'export FORGE_REQUEST_TIMEOUT_SECONDS="${{FORGE_REQUEST_TIMEOUT_SECONDS:-{TIMEOUT_S}}}"',
        f"export FORGE_API_ROUTE={shell(about.route)}",
        *(f"export {name}={shell(value)}" for name, value in _names(about)),
    )
    return "\n".join(lines)


def _values(about: Subject) -> list[tuple[str, str]]:
    first = [
        ("FORGE_API_BASE", about.base),
        ("FORGE_API_ROUTE", about.route),
        ("FORGE_API_KEY", PLACEHOLDER),
        ("FORGE_REQUEST_TIMEOUT_SECONDS", str(TIMEOUT_S)),
    ]
    return [*first, *_names(about)]
