"""Health, version, metrics, pages and the API's description over HTTP: no key is asked for, and nothing of a user's own is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from control_plane import ADMIN, FLEET, NVIDIA, SECRET, Plane, probed, started
from emberank.forge.api import rules
from emberank.forge.openapi import OPERATIONS, document
from emberank.forge.openapi_schemas import SCHEMAS
from stores import record
from wire import Client

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "forge-api.md"
OPEN = ["/v1/health/live", "/v1/health/ready", "/v1/version", "/v1/metrics", "/openapi.json", "/v1/openapi.json", "/docs", "/docs/api", "/docs/routes", "/"]


@pytest.mark.parametrize("path", OPEN)
def test_what_the_forge_says_of_itself_needs_no_key_and_tells_no_secret(shared: Plane, path: str) -> None:
    reply = Client(shared.port).get(path)
    assert reply.status == 200
    for secret in (ADMIN, FLEET, SECRET):
        assert secret.encode() not in reply.body


def test_a_forge_is_ready_only_when_it_says_so(plane: Plane) -> None:
    assert plane.get("/v1/health/ready").json["ready"] is True
    plane.parts.readiness.ready, plane.parts.readiness.state = False, "shutting down"
    reply = plane.get("/v1/health/ready")
    assert (reply.status, reply.json["message"], reply.headers["retry-after"]) == (503, "shutting down", "1")
    assert plane.get("/v1/health/live").status == 200


def test_the_front_page_lists_the_models_but_not_the_user_s_own(shared: Plane) -> None:
    page = Client(shared.port).get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    text = page.body.decode()
    assert NVIDIA in text
    assert "tiny-embed" not in text
    assert "Your own models are listed once you" in text  # whether there are any, and how many, is nobody's business
    assert f"$FORGE_API_BASE/v1/models/{NVIDIA}/inference-routes" in text


def test_where_nobody_needs_a_key_the_front_page_lists_every_model(launch: Callable[..., Plane]) -> None:
    assert "tiny-embed" in launch(auth="none").get("/").body.decode()


def test_the_pages_call_the_installation_by_its_public_address(launch: Callable[..., Plane]) -> None:
    plane = launch(public_url="https://forge.example.org/")
    assert "export FORGE_API_BASE=&#39;https://forge.example.org&#39;" in plane.get("/").body.decode()
    assert "https://forge.example.org/v1/keys" in plane.get("/docs/routes").body.decode()


def test_a_host_header_cannot_write_into_a_page(shared: Plane) -> None:
    reply = Client(shared.port).get("/", {"Host": "x'><script>alert(1)</script>"})
    assert b"<script>" not in reply.body


def test_the_metrics_count_what_there_is(plane: Plane) -> None:
    plane.warm()
    assert plane.metric("emberank_deployments", phase="WARM") == 1
    assert plane.metric("emberank_keys") == 1
    assert plane.metric("emberank_ready") == 1
    assert plane.metric("emberank_requests_total", route="/v1/model-families/{slug}/start", model=NVIDIA, status="200") == 1
    plane.get("/v1/models/no-such-model-as-this")
    assert b"no-such-model-as-this" not in plane.get("/v1/metrics").body


def test_the_document_describes_every_route_and_no_other(shared: Plane) -> None:
    served = {(rule.method.lower(), rule.path.replace(":path}", "}")) for rule in rules(shared.parts)}
    described = {(operation.method, operation.path) for operation in OPERATIONS if not operation.open_to_all}
    assert described == served
    for operation in OPERATIONS:
        if operation.open_to_all:
            assert Client(shared.port).get(operation.path).status == 200


def test_the_document_refers_to_nothing_that_is_not_there() -> None:
    made = document()
    names = set(re.findall(r"#/components/schemas/(\w+)", str(made)))
    assert names <= set(made["components"]["schemas"])
    assert set(SCHEMAS) - {"Target", "Object"} <= names
    ids = [operation["operationId"] for operations in made["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


def test_every_answer_has_the_fields_that_the_document_promises(plane: Plane) -> None:
    plane.warm()
    key = plane.post("/v1/keys", {"name": "x", "scopes": ["read"]}).json
    probe = plane.post("/v1/probes", {"slug": NVIDIA}).json
    paths = {"{slug}": NVIDIA, "{key_id}": key["key_id"], "{probe_id}": probe["id"]}
    for operation in OPERATIONS:
        if operation.method == "get":
            path = operation.path
            for name, value in paths.items():
                path = path.replace(name, value)
            check(SCHEMAS[operation.answer], plane.get(path).json, operation.path)
    check(SCHEMAS["NewKey"], key, "a new key")
    check(SCHEMAS["Started"], plane.warm(), "a start")
    check(SCHEMAS["Stopped"], plane.post(f"/v1/model-families/{NVIDIA}/stop", {}).json, "a stop")
    check(SCHEMAS["Error"], plane.get("/v1/nothing").json, "an error")


def check(schema: dict[str, object], value: object, where: str) -> None:
    """What a schema says of required fields, closed sets and kinds holds, all the way down."""
    if "$ref" in schema:
        schema = SCHEMAS[str(schema["$ref"]).rpartition("/")[2]]
    if "enum" in schema:
        assert value in schema["enum"], where  # type: ignore[operator]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    said = schema.get("type")
    if said is not None:
        allowed = tuple(kinds[str(kind)] for kind in (said if isinstance(said, list) else [said]))
        assert isinstance(value, sum(((kind,) if isinstance(kind, type) else kind for kind in allowed), ())), f"{where}: {value!r}"
    if isinstance(value, dict):
        missing = set(schema.get("required", [])) - set(value)  # type: ignore[call-overload]
        assert not missing, f"{where}: {missing}"
        for name, inner in schema.get("properties", {}).items():  # type: ignore[attr-defined]
            if name in value:
                check(inner, value[name], f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            check(schema["items"], item, f"{where}[{i}]")  # type: ignore[arg-type]


def test_the_reference_page_has_every_route_and_every_metric(shared: Plane) -> None:
    text = PAGE.read_text("utf-8")
    for operation in OPERATIONS:
        if operation.path != "/v1/version":
            assert f"`{operation.method.upper()} {operation.path}`" in text, operation.path
    names = set(re.findall(r"^# TYPE (emberank_\w+?)(?:_total|_created)? ", shared.get("/v1/metrics").body.decode(), re.MULTILINE))
    for name in names:
        assert name in text, name


def test_the_examples_of_the_reference_page_have_the_fields_of_real_answers(launch: Callable[..., Plane]) -> None:
    plane = launch(samples=[*probed([186.0] * 10), *started([93_000.0] * 3)])
    pin = {"version": "v1", "gpu_type": "B200", "region": "us-central1"}
    model, family, query = f"/v1/models/{NVIDIA}", f"/v1/model-families/{NVIDIA}", "?model_version=v1&gpu_type=B200&region=us-central1"
    key = plane.post("/v1/keys", {"name": "search", "scopes": ["read"]}).json
    usage = {"gateway_id": "g", "number": 1, "usage": [{name: getattr(one, name) for name in one.__slots__} for one in [record(at_s=plane.wall_s)]]}
    plane.as_gateway("POST", "/internal/report", usage)
    real = {
        "GET /v1/models": plane.get("/v1/models"),
        "GET /v1/models/{slug}": plane.get(model),
        "GET /v1/models/{slug}/inference-routes": plane.get(f"{model}/inference-routes{query}"),
        "GET /v1/models/{slug}/run-estimate": plane.get(f"{model}/run-estimate{query}"),
        "GET /v1/models/{slug}/reliability": plane.get(f"{model}/reliability{query}"),
        "POST /v1/model-families/{slug}/start": plane.post(f"{family}/start", pin),
        "GET /v1/model-families/{slug}/status": plane.get(f"{family}/status?version=v1"),
        "GET /v1/targets": plane.get("/v1/targets"),
        "POST /v1/model-families/{slug}/stop": plane.post(f"{family}/stop", {"version": "v1"}),
        "POST /v1/probes": plane.post("/v1/probes", {"slug": NVIDIA}),
        "POST /v1/schedules": plane.post("/v1/schedules", {"slug": NVIDIA, "cron": "45 7 * * MON-FRI"}),
        "GET /v1/usage": plane.get("/v1/usage"),
    }
    examples = dict(re.findall(r"^### `([A-Z]+ [^`]+)`\n(?:(?!^#)[^\0])*?```json\n(.*?)```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    assert set(examples) == set(real) | {"POST /v1/keys"}
    resembles(json.loads(examples.pop("POST /v1/keys")), key, "POST /v1/keys")
    for name, example in examples.items():
        resembles(json.loads(example), real[name].json, name)


def resembles(example: object, real: object, where: str) -> None:
    """Every field of the example is in the real answer."""
    if isinstance(example, dict) and isinstance(real, dict):
        free = where.rpartition(".")[2] in ("filters", "links", "status_counts", "failure_reason_counts")
        for name, value in example.items():
            assert free or name in real, f"{where}.{name}"
            resembles(value, real.get(name), f"{where}.{name}")
    if isinstance(example, list) and isinstance(real, list) and example and real:
        resembles(example[0], real[-1] if where.endswith("targets.data") else real[0], where)
