"""tests/compat/claims.toml in, docs/behaviour/nim.md out: `python docs/generate_compat.py`. A test holds the page to this."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "tests/compat/claims.toml"
PAGE = ROOT / "docs/behaviour/nim.md"

TITLES = {
    "ranking": "Ranking: `POST /v1/ranking` and the hosted path",
    "embeddings": "Embeddings: `POST /v1/embeddings`",
    "images": "Images, in both",
    "errors": "Errors",
    "models": "Models",
    "health": "Health",
    "metadata": "Metadata",
    "manifest": "Manifest",
    "metrics": "Metrics",
    "routes": "Routes",
    "paths": "Paths",
    "openapi": "OpenAPI",
    "requests": "Requests and connections",
    "settings": "Settings",
    "shutdown": "Shutting down",
}


def page(text: str) -> str:
    """The page for the manifest's text."""
    claims = tomllib.loads(text)["claim"]
    out = (
        "# Compatibility with NVIDIA's retrieval NIMs\n\n<!-- written by docs/generate_compat.py from tests/compat/claims.toml; a test holds this page to it -->\n\n"
        f"{len(claims)} claims. Each is proved by the tests that the manifest names under its id. Nothing here was tried against a live NIM: the sources are public documents, "
        "other projects' issues, and unmodified clients. `ours` marks what no source asks for.\n"
    )
    for section, title in TITLES.items():
        rows = [claim for claim in claims if claim["id"].split(":")[1] == section]
        out += f"\n## {title}\n\n| claim | what holds | where it is said | how we differ |\n|---|---|---|---|\n"
        out += "".join(f"| `{row['id']}` | {_cell(row['sentence'])} | {_cell(row['source'])} | {_cell(row.get('divergence', ''))} |\n" for row in rows)
    return out


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(CLAIMS.read_text("utf-8")), "utf-8")
