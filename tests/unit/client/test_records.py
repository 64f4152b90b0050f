"""Answers as types: what a record needs, what it bears with, and what stays in `raw`. And that the forge's real answers are such records."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from control_plane import ADMIN, NVIDIA, Plane, probed, started
from emberank.client import Client, EndpointStatus, Key, NewKey, RankedPassage, Reliability, Status, StepProgress, Target
from emberank.client.record import read
from emberank.contract.errors import ServerFault
from emberank.contract.inference import Chunk
from wire import WAIT_S

ENDPOINT = {"version": "v1", "gpu_type": "B200", "region": "us-central1", "phase": "STARTING", "since": "2027-01-15T07:59:59.998Z", "eta_s": 4}
STATUS = {"slug": "m", "version": None, "phase": "STARTING", "endpoints": [ENDPOINT | {"progress": {"step": "fetching", "percent": 12.5}}], "weather": "fine"}


def test_a_record_has_its_fields_with_their_types_and_keeps_what_is_new() -> None:
    status = read(Status, STATUS)
    (endpoint,) = status.endpoints
    assert (status.slug, status.version, status.phase, status.message) == ("m", None, "STARTING", "")
    assert isinstance(endpoint, EndpointStatus)
    assert (endpoint.since, endpoint.eta_s, endpoint.reason, endpoint.queue_depth) == (datetime(2027, 1, 15, 7, 59, 59, 998_000, UTC), 4.0, None, 0)
    assert endpoint.progress == {"step": "fetching", "percent": 12.5}
    assert isinstance(endpoint.progress, StepProgress)
    assert (status["weather"], status.raw["weather"], status.get("wind"), len(status)) == ("fine", "fine", None, 5)
    assert status == STATUS
    assert pickle.loads(pickle.dumps(status)).endpoints[0].progress.step == "fetching"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "no object"),
        ({"phase": "WARM", "endpoints": []}, "no 'slug'"),
        (STATUS | {"slug": 7}, "'slug' something else than a text"),
        (STATUS | {"slug": None}, "'slug' something else than a text"),
        (STATUS | {"endpoints": {}}, "'endpoints' something else than a list"),
        (STATUS | {"endpoints": [1]}, r"'endpoints\[0\]\.' what is no object"),
        (STATUS | {"endpoints": [{"version": "v1"}]}, r"no 'endpoints\[0\].gpu_type'"),
        (STATUS | {"endpoints": [ENDPOINT | {"eta_s": "soon"}]}, r"'endpoints\[0\].eta_s' something else than a number"),
        (STATUS | {"endpoints": [ENDPOINT | {"keep_warm": 1}]}, "something else than true or false"),
        (STATUS | {"endpoints": [ENDPOINT | {"queue_depth": 1.5}]}, "something else than a whole number"),
        (STATUS | {"endpoints": [ENDPOINT | {"since": "yesterday"}]}, "something else than"),
        (STATUS | {"endpoints": [ENDPOINT | {"progress": {}}]}, r"no 'endpoints\[0\].progress.step'"),
    ],
)
def test_an_answer_without_what_a_record_needs_is_a_server_s_fault_that_names_the_field(answer: object, said: str) -> None:
    with pytest.raises(ServerFault, match=said):
        read(Status, answer)


def test_pairs_and_tables_are_read_too() -> None:
    row = {"gpu_type": "CPU", "region": "local", "status": "works", "model_ms_p50_interval": [1, 2]}
    assert read(Target, row).model_ms_p50_interval == (1.0, 2.0)
    with pytest.raises(ServerFault, match="2 values"):
        read(Target, row | {"model_ms_p50_interval": [1]})
    counted = {"slug": "m", "model_version": "v1", "reliability_status": "verified", "supported_rows": 1, "total_rows": 1, "rows": [row]}
    found = read(Reliability, counted | {"status_counts": {"works": 1}})
    assert (found.status_counts, found.rows[0].region) == ({"works": 1}, "local")
    with pytest.raises(ServerFault, match=r"status_counts.works"):
        read(Reliability, counted | {"status_counts": {"works": "one"}})
    with pytest.raises(ServerFault, match="an object"):
        read(Reliability, counted | {"status_counts": []})


def test_a_new_key_does_not_show_itself() -> None:
    made = read(NewKey, {"key_id": "k1", "name": "ci", "state": "active", "scopes": ["read"], "key": "ember_k1_secret"})
    assert made.key == "ember_k1_secret"
    assert "secret" not in repr(made)


def test_a_place_in_a_ranking_is_a_pair_with_more_to_say() -> None:
    place = RankedPassage(3, -1.5, 0.18, Chunk(0, 40, 0, 2))
    index, logit = place
    assert (index, logit) == (place.index, place.logit) == (3, -1.5)
    assert (place.score, place.chunk) == (0.18, Chunk(0, 40, 0, 2))
    assert place == (3, -1.5)
    assert repr(RankedPassage(3, -1.5)) == "RankedPassage(index=3, logit=-1.5)"
    assert "score=0.18" in repr(place)
    again = pickle.loads(pickle.dumps(place))
    assert (again, again.score, again.chunk) == (place, place.score, place.chunk)
    with pytest.raises(AttributeError, match="does not change"):
        place.score = 1.0


# --- what the forge really answers


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    running = Plane(tmp_path_factory.mktemp("plane"), [*probed([186.0] * 10), *started([93_000.0] * 4)])
    yield running
    running.stop()


@pytest.fixture
def client(plane: Plane) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{plane.port}", ADMIN, WAIT_S) as found:
        yield found


def test_the_catalogue_is_read(client: Client) -> None:
    assert next((one.slug, one.task, one.phase) for one in client.models()) == (NVIDIA, "text→ranking", "COLD")
    model = client.model("nvidia/llama-3.2-nv-rerankqa-1b-v2")
    assert (model.slug, model.context_window, model.licenses, model.links) == (
        NVIDIA,
        8192,
        ("nvidia-open-model-license",),
        {"Model card": "https://example.org"},
    )
    assert [version.name for version in model.versions] == ["v1", "v2"]
    best = next(row for row in model.versions[0].targets if row.status == "works")
    assert (best.gpu_type, best.model_ms_p50, best.model_ms_n) == ("B200", 186.0, 10)


def test_routes_estimates_and_reliability_are_read(client: Client) -> None:
    routes = client.routes(NVIDIA, gpu_type="B200", region="us-central1")
    assert (routes.routes[0].path, routes.routes[0].availability.slots) == (f"/v1/inference/{NVIDIA}", 2)
    nowhere = client.routes(NVIDIA, gpu_type="H200")
    assert nowhere.routes == ()
    assert "H200" in nowhere.reason
    assert nowhere.alternatives[0].gpu_type == "B200"
    estimate = client.estimate(NVIDIA, model_version="v1")
    assert (estimate.gpu_type, estimate.estimated_warm_request_ms, estimate.cost_per_gpu_hour_usd, estimate.runnable) == ("B200", 188.0, 7.15, True)
    assert estimate.samples["model_ms"] == 10
    table = client.reliability(NVIDIA)
    assert table.fastest_supported_target is not None
    assert (table.fastest_supported_target.gpu_type, table.fastest_supported_target["gpu_type"]) == ("B200", "B200")
    assert (table.supported_rows, table.total_rows) == (1, len(table.rows))


def test_a_life_is_read(client: Client) -> None:
    told: list[str] = []
    started = client.start("tiny-embed", on_progress=lambda progress: told.append(progress.phase))
    assert (started.slug, started.phase, started.was_cold_start) == ("tiny-embed", "WARM", True)
    assert started.startup_ms is not None
    assert told[-1] == "WARM"
    status = client.status("tiny-embed")
    (endpoint,) = status.endpoints
    assert (status.phase, endpoint.phase, endpoint.keep_warm, endpoint.queue_depth) == ("WARM", "WARM", False, 0)
    assert endpoint.since is not None
    assert client.start("tiny-embed").was_cold_start is False
    assert [one.region for one in client.stop("tiny-embed").stopped] == [endpoint.region]


def test_keys_are_read(client: Client) -> None:
    def found(key_id: str) -> Key:
        every = client.keys()
        return next(key for key in every if key.key_id == key_id)

    made = client.create_key("ci", scopes=["read"], requests_per_minute=60)
    assert made.key.startswith("ember_")
    assert (found(made.key_id).state, found(made.key_id).requests_per_minute) == ("active", 60)
    client.revoke_key(made.key_id)
    assert found(made.key_id).state == "revoked"


def test_every_field_of_every_record_is_one_that_the_forge_says(client: Client) -> None:
    """A field that no server says would be None for ever."""
    client.start(NVIDIA, wait=False)
    answers: list[Any] = [
        client.models()[0],
        client.model(NVIDIA),
        client.model(NVIDIA).versions[0],
        client.reliability(NVIDIA),
        client.reliability(NVIDIA).rows[0],
        client.estimate(NVIDIA),
        client.routes(NVIDIA).routes[0],
        client.routes(NVIDIA).routes[0].availability,
        client.routes(NVIDIA, gpu_type="H200"),
        client.routes(NVIDIA, gpu_type="H200").alternatives[0],
        client.status(NVIDIA),
        client.status(NVIDIA).endpoints[0],
        client.start(NVIDIA),
        client.stop(NVIDIA),
        client.keys()[0],
        client.create_key("all fields", scopes=["read"]),
    ]
    for answer in answers:
        said = {name for name in type(answer).__dataclass_fields__ if name != "raw"}
        missing = said - set(answer.raw)
        assert missing <= {"message"}, f"{type(answer).__name__}: {sorted(missing)}"
