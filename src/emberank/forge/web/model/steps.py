"""A selection in, the path to a first request out: each step with its request, and with the API's own answer where that changes nothing. Sends nothing.

What a step comes to is said here as it is when the page is made; static/steps.js asks again and says it in the same words.
"""

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
from emberank.forge.web.model.remedies import remedy
from emberank.forge.web.model.selection import Selection

_NOWHERE = "No pool of this installation can run it: `emberank targets` lists what there is."
_PROBE = "Measure it: `emberank probe {slug}` sends the runs that a figure needs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `answer` is JSON, empty where the request would change something; `body` is what a POST sends.

    `ok` is None where nothing was asked, or nothing is known yet; `todo` says what helps where it is not well.
    """

    name: str
    title: str
    what: str
    method: str = ""
    path: str = ""
    base: str = ""
    body: str = ""
    ok: bool | None = None
    result: str = ""
    todo: str = ""
    answer: str = ""

    @property
    def url(self) -> str:
        """What a client asks."""
        return self.base + self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an answer comes to, in words."""

    ok: bool | None
    result: str
    todo: str = ""


def steps(parts: Parts, asked: Asked, selection: Selection, base: str) -> tuple[Step, ...]:
    """All six, in order. `base` is what callers reach the installation by."""
    return (*_checks(parts, asked, selection, base), *_calls(asked, selection, base))


def _checks(parts: Parts, asked: Asked, selection: Selection, base: str) -> tuple[Step, ...]:
    """What only asks, with the answers."""
    model, family = f"/v1/models/{asked.model.slug}", f"/v1/model-families/{asked.model.slug}/status"
    status = selection.asked(family) if selection.pinned else status_path(asked.model.slug, asked.chosen.name)

    def get(name: str, title: str, what: str, path: str) -> Step:
        return Step(name=name, title=title, what=what, method="GET", path=path, base=base)

    verify = get("verify", "Verify target", "Runs the key check and the check of model, version and routing.", selection.asked(f"{model}/inference-routes"))
    what = "Says whether the target is still verified, and which are the fastest and the most affordable."
    validate = get("validate", "Validate target", what, selection.asked(f"{model}/reliability"))
    what = "What a warm and a first, cold request take and cost, before one is sent."
    estimate = get("estimate", "Estimate run", what, selection.asked(f"{model}/run-estimate"))
    runtime = get("runtime", "Check runtime", "Whether the version is warm, starting or cold, and until when it stays.", status)
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
            path=f"/v1/model-families/{slug}/start",
            base=base,
            body=_pretty({"version": asked.chosen.name, **target, "run_until_stopped": False}),
        ),
        Step(
            name="docs",
            title="Open docs",
            what="Use the snippets of the selected target for the first request. The native route takes the model's own payload, with the target beside it.",
            method="POST",
            path=inference_path(asked.model),
            base=base,
            body=_pretty({"model": slug, **sample_payload(asked.model.task).fields, **selection.filters}),
        ),
    )


def _read(step: Step, answer: Callable[[], Row], verdict: Callable[[Row], Verdict]) -> Step:
    """The step with the API's answer; a refusal is an answer as well."""
    try:
        found = answer()
    except EmberankError as error:
        return replace(step, ok=False, result=_sentence(error.message), todo="Choose another target in the table below.")
    said = verdict(found)
    return replace(step, ok=said.ok, result=said.result, todo=said.todo, answer=_pretty(found))


def _routes(found: Row) -> Verdict:
    if not found["routes"]:
        instead = ", ".join(f"{one['gpu_type']} in {one['region']}" for one in found["alternatives"])
        return Verdict(ok=False, result=f"No route: {found['reason']}.", todo=f"It can run on: {instead}." if instead else _NOWHERE)
    first, n = found["routes"][0], len(found["routes"])
    said = f"{n} {'route' if n == 1 else 'routes'}; {first['gpu_type']} in {first['region']}: {first['status']}, {first['availability']['message']}."
    return Verdict(ok=True, result=said)


def _reliability(found: Row) -> Verdict:
    fastest, cheapest = found["fastest_supported_target"], found["lowest_cost_supported_target"]
    best = "" if fastest is None else f" Fastest: {fastest['gpu_type']} in {fastest['region']}."
    best += "" if cheapest is None else f" Most affordable: {cheapest['gpu_type']} in {cheapest['region']}."
    if found["supported_rows"]:
        return Verdict(ok=True, result=f"{found['reliability_status'].capitalize()}: {found['readiness']}.{best}")
    row: Row = found["rows"][0] if found["rows"] else {"message": "there is no such target", "reason": None, "runnable": False}
    why = f" {_sentence(row['message'])}" if row["message"] else ""
    unmeasured = row["runnable"] and not remedy(row["reason"])
    todo = _PROBE.format(slug=found["slug"]) if unmeasured else remedy(row["reason"]) or "Choose another target in the table below."
    return Verdict(ok=None if unmeasured else False, result=f"{found['reliability_status'].capitalize()}: {found['readiness']}.{why}", todo=todo)


def _estimate(found: Row) -> Verdict:
    where = f"{found['gpu_type']} in {found['region']}"
    if not found["runnable"]:
        return Verdict(ok=False, result=f"{where}: {found['reason']}.", todo="Choose another target in the table below.")
    if found["estimated_warm_request_ms"] is None:
        return Verdict(ok=None, result=f"{where}: no estimate yet; {found['message']}.")
    warm = f"warm {ms(found['estimated_warm_request_ms'])}, {usd(found['estimated_warm_request_cost_usd'])}"
    cold = f"first, cold {ms(found['estimated_cold_request_ms'])}, {usd(found['estimated_cold_request_cost_usd'])}"
    return Verdict(ok=True, result=f"{where}: {warm}; {cold}; confidence {found['confidence']}, n = {found['samples']['model_ms']}.")


def _runtime(found: Row) -> Verdict:
    if not found["endpoints"]:
        return Verdict(ok=True, result=f"{found['phase'].capitalize()}: {found['message']}.")
    failed = next((one for one in found["endpoints"] if one["phase"] == "FAILED"), None)
    said = "; ".join(f"{one['gpu_type']} in {one['region']} is {one['phase'].lower()}" for one in found["endpoints"]) + "."
    if found["phase"] == "FAILED" and failed is not None:
        return Verdict(ok=False, result=f"{said} {_sentence(failed['message'])}".strip(), todo=remedy(failed["reason"]))
    return Verdict(ok=True, result=said)


def _sentence(text: str) -> str:
    """Words of the API as a sentence; what is a name rather than a word keeps its letters."""
    first = text.partition(" ")[0].rstrip(":,;")
    return (text[:1].upper() if first.isalpha() else text[:1]) + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")


def _pretty(value: object) -> str:
    return orjson.dumps(orjson.loads(written(value)), option=orjson.OPT_INDENT_2).decode("utf-8")
