"""A model and who looks at it in, what its playground stands on out: limits, versions with their targets, samples. Sends no request and knows no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from emberank.contract.inference import Task
from emberank.forge.answers import TASKS, Row, inference_path, phase_of
from emberank.forge.asked import Asked
from emberank.forge.catalog import Model, Version
from emberank.forge.parts import Parts
from emberank.forge.random_weights import has_random_weights
from emberank.forge.web.model.remedies import REMEDIES
from emberank.forge.web.model.selection import Selection
from emberank.forge.web.playground.samples import Sample, samples_of
from emberank.forge.web.sight import may_see
from emberank.forge.web.visitor import Visitor

MOST_ITEMS = 1000  # rows of the form, also where the server takes more; static/playground_state.js has it too
MOST_OTHERS = 250  # models that are offered for a comparison
MOST_IMAGE_BYTES = 25 << 20  # as the runtimes have it: docs/behaviour/images.md
RUNS = "inference"  # the scope
_THINGS: dict[Task, str] = {"rank": "passage", "embed": "input"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Playground:
    """What templates/_playground.html draws. `data` is the same for the script, as JSON."""

    slug: str
    title: str
    task: Task
    thing: str  # what a row holds: passage or input
    phase: str
    images: bool  # whether the model reads them
    most_items: int
    samples: tuple[Sample, ...]
    versions: tuple[str, ...]
    version: str
    target: str  # "GPU/region"; empty: any that is available
    targets: tuple[tuple[str, str, bool], ...]  # of that version: value, words, whether it can run
    calibrated: bool  # whether that version is
    dimensions: tuple[int, ...]  # to which a vector may be cut, the longest first; empty: there is no choice
    others: tuple[tuple[str, str], ...]  # slug and title of what it can be compared with
    other: str
    signed_in: bool
    may_run: bool
    sign_in: str
    address: str  # of the page of its own
    data: str


def playground_of(parts: Parts, asked: Asked, selection: Selection, visitor: Visitor, base: str, *, page: str, other: str = "") -> Playground:
    """The playground of a model. `asked` is of it without a target; `page` is where a sign-in leads back to; `other` is what to compare it with."""
    model, version = asked.model, asked.chosen
    samples = samples_of(model.task)
    versions = [_version(parts, asked, one) for one in model.versions]
    targets = next(one["targets"] for one in versions if one["name"] == version.name)
    others = _others(parts, model, visitor)
    principal = visitor.principal
    may_run = principal is not None and RUNS in principal.scopes
    images, most_items = "image" in model.modalities, _most_items(parts, model.task)
    sign_in = f"/signin?{urlencode({'next': page})}"
    dimensions = (model.dimensions, *sorted(model.shorter_dimensions, reverse=True)) if model.dimensions and model.shorter_dimensions else ()
    limits = {"items": most_items, "body_bytes": parts.settings.gateway_max_body_bytes, "image_bytes": MOST_IMAGE_BYTES}
    data = {
        "slug": model.slug,
        "title": model.title,
        "task": model.task,
        "route": inference_path(model),
        "base": base,
        "page": address_of(model.slug),
        "images": images,
        "limits": limits,
        "versions": versions,
        "dimensions": dimensions,
        "samples": [asdict(sample) for sample in samples],
        "others": others,
        "remedies": REMEDIES,
        "sign_in": sign_in,
        "signed_in": principal is not None,
        "may_run": may_run,
        "csrf": visitor.csrf,
    }
    return Playground(
        slug=model.slug,
        title=model.title,
        task=model.task,
        thing=_THINGS[model.task],
        phase=phase_of(one for one in parts.life.deployments() if one.key.slug == model.slug),
        images=images,
        most_items=most_items,
        samples=samples,
        versions=tuple(one.name for one in model.versions),
        version=version.name,
        target=_chosen(targets, selection),
        targets=tuple((one["name"], one["words"], one["runnable"]) for one in targets),
        calibrated=version.calibration is not None,
        dimensions=dimensions,
        others=others,
        other=next((slug for slug in (model.slug, *(slug for slug, _ in others)) if slug == other), ""),
        signed_in=principal is not None,
        may_run=may_run,
        sign_in=sign_in,
        address=address_of(model.slug, selection.filters),
        data=orjson.dumps(data).decode(),
    )


def address_of(slug: str, query: dict[str, str] | None = None) -> str:
    """The playground's own page."""
    return f"/playground/{quote(slug, safe='')}" + (f"?{urlencode(query)}" if query else "")


def task_word(task: Task) -> str:
    """As the catalogue writes it."""
    return TASKS[task]


def _most_items(parts: Parts, task: Task) -> int:
    settings = parts.settings
    return min(MOST_ITEMS, settings.gateway_max_passages if task == "rank" else settings.gateway_max_inputs)


def _version(parts: Parts, asked: Asked, version: Version) -> Row:
    rows = parts.rows(asked.model, version, asked.everywhere[version.name])
    return {
        "name": version.name,
        "calibrated": version.calibration is not None,
        "calibration": version.calibration.data if version.calibration else "",
        "random": has_random_weights(version),
        "targets": [_target(row) for row in rows],
    }


def _target(row: Row) -> dict[str, Any]:
    where = f"{row['gpu_type']} in {row['region']}" if row["region"] else str(row["gpu_type"])
    words = f"{where} · {row['status']}" if row["runnable"] else f"{where} · cannot run here"
    return {"name": f"{row['gpu_type']}/{row['region']}", "words": words, "runnable": bool(row["runnable"]), "message": row["message"]}


def _chosen(targets: Sequence[dict[str, Any]], selection: Selection) -> str:
    """The target that the selection means; of several the first, which is the best."""
    if not selection.pinned:
        return ""
    for one in targets:
        gpu_type, _, region = str(one["name"]).partition("/")
        if selection.gpu_type in ("", gpu_type) and selection.region in ("", region):
            return str(one["name"])
    return ""


def _others(parts: Parts, model: Model, visitor: Visitor) -> tuple[tuple[str, str], ...]:
    """Models of the same task that the visitor may see."""
    found = (one for one in parts.catalog() if one.task == model.task and one.slug != model.slug and may_see(visitor.principal, one))
    return tuple((one.slug, one.title) for one, _ in zip(found, range(MOST_OTHERS)))
