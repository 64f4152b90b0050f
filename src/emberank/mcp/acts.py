"""A tool's arguments in, what it found out: as data and in a few words. Over the Python client; knows no protocol.

Arguments have been held against the tool's schema before they come here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple, TypeAlias

from emberank.client import AsyncClient, EndpointStatus, ModelEntry, ModelInfo, Progress, RankedPassage, Started
from emberank.contract.errors import BadRequest, DeadlineExceeded, EmberankError
from emberank.mcp import tools
from emberank.mcp.tools import MOST_CHARACTERS, MOST_NUMBERS

Arguments: TypeAlias = Mapping[str, Any]
Tell: TypeAlias = Callable[[Progress], Awaitable[None]]
_PIN = ("model_version", "gpu_type", "region")
_TASKS = {"text→ranking": "rank", "text→embedding": "embed"}
_AT_ONE_TIME, _MOST_ENTRIES = 8, 200
_SHOWN = 10
_ANSWER_WITHIN_S = 10.0


class Found(NamedTuple):
    """A tool's result: by its schema, and for people and models to read."""

    data: dict[str, Any]
    words: str


async def list_models(client: AsyncClient, given: Arguments, tell: Tell) -> Found:
    """The catalogue. A plain list says no task, so each model's entry is asked for."""
    listed = await client.models()
    gate = asyncio.Semaphore(_AT_ONE_TIME)

    async def entry(one: ModelEntry) -> ModelEntry:
        try:
            async with gate:
                return await client.model(one.id)
        except EmberankError:  # a server without a catalogue, or one whose forge is away: what the list says is there
            return one

    async with asyncio.TaskGroup() as group:
        entries = [group.create_task(entry(one)) for one in listed[:_MOST_ENTRIES]]
    rows = [_model_row(one) for one in [*(task.result() for task in entries), *listed[_MOST_ENTRIES:]]]
    wanted = [row for row in rows if given.get("task") in (None, row["task"])]
    shown = wanted[: given.get("limit", 50)]
    lines = [f"{row['slug'] or row['id']} ({row['task'] or 'task unknown'}, {row['phase'] or 'phase unknown'})" for row in shown]
    more = len(wanted) - len(shown)
    words = "\n".join([*lines, *([f"and {more} more"] if more else [])]) or "no model"
    return Found({"models": shown, "more": more}, words)


def _model_row(one: ModelEntry) -> dict[str, Any]:
    more = one if isinstance(one, ModelInfo) else None
    return {
        "id": one.id,
        "slug": one.slug,
        "title": one.title,
        "description": more.description if more and more.description else None,
        "task": _TASKS.get(one.task or ""),
        "phase": one.phase,
        "context_window": more.context_window if more else None,
        "dimensions": more.dimensions if more else None,
    }


async def rank(client: AsyncClient, given: Arguments, tell: Tell) -> Found:
    """Passages in order."""
    _bound([given["query"], *given["passages"]])
    options = {name: given.get(name) for name in ("model", "top_n", "truncate", "score_mode", "max_chunks_per_doc", *_PIN)}
    found = await client.rank(given["query"], given["passages"], **options)
    places = [_place(one) for one in found.rankings]
    gpu_type, region = found.target or (None, None)
    data = {
        "rankings": places,
        "prompt_tokens": found.prompt_tokens,
        "cost_usd": found.cost_usd,
        "gpu_type": gpu_type,
        "region": region,
        "request_id": found.request_id,
    }
    best = "\n".join(f"passage {one['index']}: {one.get('score', one['logit']):.4g}" for one in places[:_SHOWN])
    return Found(data, best + (f"\nand {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""))


def _place(one: RankedPassage) -> dict[str, Any]:
    place: dict[str, Any] = {"index": one.index, "logit": one.logit}
    if one.score is not None:
        place["score"] = one.score
    return place if one.chunk is None else place | {"chunk": asdict(one.chunk)}


async def embed(client: AsyncClient, given: Arguments, tell: Tell) -> Found:
    """Vectors, whole: as many as the schema lets through, and no more numbers than MOST_NUMBERS."""
    _bound(given["texts"])
    options = {name: given.get(name) for name in ("model", "dimensions", "truncate", *_PIN)}
    vectors = await client.embed(given["texts"], input_type=given.get("input_type", "passage"), **options)
    count, dimensions = vectors.shape
    if vectors.size > MOST_NUMBERS:
        raise BadRequest(
            f"{count} vectors of {dimensions} numbers are more than the {MOST_NUMBERS} of one answer; send fewer texts, or ask for fewer dimensions"
        )
    # The shortest decimals that read back to the same float32; as float64 they would have twice as many digits.
    rows = [[float(str(number)) for number in vector] for vector in vectors]
    return Found({"dimensions": dimensions, "vectors": rows}, f"{count} vectors of {dimensions} numbers each, in the structured result")


async def estimate(client: AsyncClient, given: Arguments, tell: Tell) -> Found:
    """Time and money of one request."""
    found = await client.estimate(given["model"], **{name: given.get(name) for name in ("tokens", "passages", *_PIN)})
    data = {name: getattr(found, name) for name in tools.ESTIMATE.gives["properties"]}
    warm, cold = (_took(ms, usd) for ms, usd in _both(data))
    words = f"{found.slug} {found.model_version} on {found.gpu_type} in {found.region}: running {warm}, with a start before it {cold}; confidence {found.confidence}"
    return Found(data, f"{words}. {found.message}" if found.message else words)


def _both(data: Arguments) -> list[tuple[float | None, float | None]]:
    return [(data[f"estimated_{kind}_request_ms"], data[f"estimated_{kind}_request_cost_usd"]) for kind in ("warm", "cold")]


def _took(ms: float | None, usd: float | None) -> str:
    time = "not measured" if ms is None else f"{ms:.4g} ms"
    return time if usd is None else f"{time}, ${usd:.6f}"


async def start_model(client: AsyncClient, given: Arguments, tell: Tell) -> Found:
    """Start it, and say how far that is; after `wait_s` it goes on starting without anybody waiting."""
    slug, wait_s = given["model"], given.get("wait_s", 60)
    target: dict[str, Any] = {"version": given.get("model_version"), "gpu_type": given.get("gpu_type"), "region": given.get("region")}
    # A start that failed is tried again when the server says, which may be later than anybody waits here.
    last = _of_start(await client.start(slug, wait=False, timeout_s=max(wait_s, _ANSWER_WITHIN_S), **target))
    try:
        if last.phase != "WARM" and wait_s:
            async for last in client.starting(slug, timeout_s=wait_s, **target):
                await tell(last)
    except DeadlineExceeded:
        pass
    status = await client.status(slug, version=last.version) if last.phase == "WARM" else None
    startup_ms = next((one.startup_ms for one in status.endpoints if (one.gpu_type, one.region) == (last.gpu_type, last.region)), None) if status else None
    where = f"{last.slug} {last.version} on {last.gpu_type} in {last.region}"
    data = {name: getattr(last, name, None) for name in tools.START_MODEL.gives["properties"]} | {"startup_ms": startup_ms}
    if last.phase == "WARM":
        return Found(data, f"{where} is ready")
    expected = "" if last.eta_s is None else f"; about {last.eta_s:.0f} s more are expected"
    return Found(data, f"{where} is still starting{expected}: ask model_status")


def _of_start(one: Started) -> Progress:
    return Progress(slug=one.slug, version=one.version, gpu_type=one.gpu_type, region=one.region, phase=one.phase)


async def model_status(client: AsyncClient, given: Arguments, tell: Tell) -> Found:
    """What runs of it."""
    found = await client.status(given["model"], version=given.get("model_version"))
    lines = [f"{one.version} on {one.gpu_type} in {one.region}: {one.phase}{' — ' + one.message if one.message else ''}" for one in found.endpoints]
    data = {"slug": found.slug, "phase": found.phase, "endpoints": [_endpoint_row(one) for one in found.endpoints], "message": found.message}
    return Found(data, "\n".join([f"{found.slug}: {found.phase}", *lines]))


def _endpoint_row(one: EndpointStatus) -> dict[str, Any]:
    step = one.progress
    names = ("version", "gpu_type", "region", "phase", "eta_s", "queue_depth", "reason", "message", "retry_in_s")
    return {name: getattr(one, name) for name in names} | {"step": step.step if step else None, "percent": step.percent if step else None}


def _bound(texts: list[str]) -> None:
    total = sum(map(len, texts))
    if total > MOST_CHARACTERS:
        raise BadRequest(f"the texts hold {total} characters together; at most {MOST_CHARACTERS} are taken in one call: send several")


ACTS: Mapping[str, Callable[[AsyncClient, Arguments, Tell], Awaitable[Found]]] = {
    tools.LIST_MODELS.name: list_models,
    tools.RANK.name: rank,
    tools.EMBED.name: embed,
    tools.ESTIMATE.name: estimate,
    tools.START_MODEL.name: start_model,
    tools.MODEL_STATUS.name: model_status,
}
