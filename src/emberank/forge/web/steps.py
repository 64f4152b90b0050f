"""A selection in, the path to a first request out: each step with its request, and with the API's own answer where that changes nothing. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from emberank.contract.errors import EmberankError
from emberank.forge.answers import Row, inference_path, status_path, written
from emberank.forge.asked import Asked
from emberank.forge.estimate_routes import EstimateRoutes
from emberank.forge.family_routes import FamilyRoutes
from emberank.forge.model_routes import routes_to, target_table
from emberank.forge.parts import Parts
from emberank.forge.payloads import sample_payload
from emberank.forge.web.filters import ms, usd
from emberank.forge.web.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `answer` is JSON, empty where the request would change something; `body` is what a POST sends."""

    name: str
    title: str
    what: str
    method: str
    url: str
    body: str = ""
    result: str = ""
    answer: str = ""


def steps(parts: Parts, asked: Asked, selection: Selection, base: str) -> tuple[Step, ...]:
    """All six, in order. `base` is what callers reach the installation by."""
    return (*_checks(parts, asked, selection, base), *_calls(asked, selection, base))


def _checks(parts: Parts, asked: Asked, selection: Selection, base: str) -> tuple[Step, ...]:
    """What only asks, with the answers."""
    model, family = f"{base}/v1/models/{asked.model.slug}", f"/v1/model-families/{asked.model.slug}/status"
    status = selection.asked(family) if selection.pinned else status_path(asked.model.slug, asked.chosen.name)
    verify = Step(
        name="verify",
        title="Verify target",
        what="Runs the key check and the check of model, version and routing.",
        method="GET",
        url=selection.asked(f"{model}/inference-routes"),
    )
    validate = Step(
        name="validate",
        title="Validate target",
        what="Says whether the target is still verified, and which are the fastest and the most affordable.",
        method="GET",
        url=selection.asked(f"{model}/reliability"),
    )
    estimate = Step(
        name="estimate",
        title="Estimate run",
        what="What a warm and a first, cold request take and cost, before one is sent.",
        method="GET",
        url=selection.asked(f"{model}/run-estimate"),
    )
    what = "Whether the version is warm, starting or cold, and until when it stays."
    runtime = Step(name="runtime", title="Check runtime", what=what, method="GET", url=base + status)
    return (
        _read(verify, lambda: routes_to(parts, asked), _routes),
        _read(validate, lambda: target_table(parts, asked, asked.chosen, None), _reliability),
        _read(estimate, lambda: EstimateRoutes(parts).estimate(asked), _estimate),
        _read(runtime, lambda: FamilyRoutes(parts).standing(asked), _runtime),
    )


def _calls(asked: Asked, selection: Selection, base: str) -> tuple[Step, ...]:
    """What changes something: only the request is shown."""
    slug = asked.model.slug
    target = {name: value for name, value in selection.filters.items() if name != "model_version"}
    return (
        Step(
            name="prewarm",
            title="Prewarm target",
            what="Starts the version before traffic that must not wait. Without it the first request starts it, and is held until it is ready.",
            method="POST",
            url=f"{base}/v1/model-families/{slug}/start",
            body=_pretty({"version": asked.chosen.name, **target, "run_until_stopped": False}),
        ),
        Step(
            name="request",
            title="Send the first request",
            what="The native route takes the model's own payload, with the target beside it.",
            method="POST",
            url=base + inference_path(asked.model),
            body=_pretty({"model": slug, **sample_payload(asked.model.task).fields, **selection.filters}),
        ),
    )


def _read(step: Step, answer: Callable[[], Row], result: Callable[[Row], str]) -> Step:
    """The step with the API's answer; a refusal is an answer as well."""
    try:
        found = answer()
    except EmberankError as error:
        return replace(step, result=error.message)
    return replace(step, result=result(found), answer=_pretty(found))


def _routes(found: Row) -> str:
    if not found["routes"]:
        instead = ", ".join(f"{one['gpu_type']} in {one['region']}" for one in found["alternatives"])
        return f"No route: {found['reason']}" + (f". It can run on: {instead}" if instead else "") + "."
    first = found["routes"][0]
    return f"{len(found['routes'])} {'route' if len(found['routes']) == 1 else 'routes'}; {first['gpu_type']} in {first['region']}: {first['status']}, {first['availability']['message']}."


def _reliability(found: Row) -> str:
    fastest, cheapest = found["fastest_supported_target"], found["lowest_cost_supported_target"]
    best = "" if fastest is None else f" Fastest: {fastest['gpu_type']} in {fastest['region']}."
    best += "" if cheapest is None else f" Most affordable: {cheapest['gpu_type']} in {cheapest['region']}."
    return f"{found['reliability_status']}: {found['readiness']}.{best}"


def _estimate(found: Row) -> str:
    where = f"{found['gpu_type']} in {found['region']}"
    if not found["runnable"]:
        return f"{where}: {found['reason']}."
    if found["estimated_warm_request_ms"] is None:
        return f"{where}: no estimate yet; {found['message']}."
    warm = f"warm {ms(found['estimated_warm_request_ms'])}, {usd(found['estimated_warm_request_cost_usd'])}"
    cold = f"first, cold {ms(found['estimated_cold_request_ms'])}, {usd(found['estimated_cold_request_cost_usd'])}"
    return f"{where}: {warm}; {cold}; confidence {found['confidence']}, n = {found['samples']['model_ms']}."


def _runtime(found: Row) -> str:
    if not found["endpoints"]:
        return f"{found['phase'].capitalize()}: {found['message']}."
    named = (f"{one['gpu_type']} in {one['region']} is {one['phase'].lower()}" for one in found["endpoints"])
    return "; ".join(named) + "."


def _pretty(value: object) -> str:
    return orjson.dumps(orjson.loads(written(value)), option=orjson.OPT_INDENT_2).decode("utf-8")
