"""`/v1/models…` over HTTP: what there is, where it runs, how reliably; and what a wrong question is told."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import GB, LOCAL, NVIDIA, Plane
from emberank.forge.launchers.fake import Script
from emberank.forge.targets import Pool

M = f"/v1/models/{NVIDIA}"
NAMES = [
    NVIDIA,
    "nvidia/llama-3.2-nv-rerankqa-1b-v2",
    "nvidia%2Fllama-3.2-nv-rerankqa-1b-v2",
    "nvidia%252Fllama-3.2-nv-rerankqa-1b-v2",
    "llama-3_2-nv-rerankqa-1b-v2",
    "LLAMA-3.2-nv-rerankqa-1b-v2",
]


def slugs(reply: Any) -> list[str]:
    return [row["slug"] for row in reply.json["data"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [NVIDIA, "tiny-embed", "huge"]),
        ("?task=ranking", [NVIDIA, "huge"]),
        ("?task=text%E2%86%92ranking", [NVIDIA, "huge"]),
        ("?task=embed", ["tiny-embed"]),
        ("?tag=rerank", [NVIDIA]),
        ("?tag=rerank,retrieval", [NVIDIA]),
        ("?q=more+fits", ["huge"]),
        ("?q=", [NVIDIA, "tiny-embed", "huge"]),
        ("?q=nothing-like-it", []),
        ("?task=rank&tag=tiny", []),
    ],
)
def test_the_list_is_filtered_by_task_tags_and_words(shared: Plane, query: str, expected: list[str]) -> None:
    reply = shared.get(f"/v1/models{query}")
    assert reply.status == 200
    assert slugs(reply) == expected


def test_an_entry_of_the_list_is_openai_s_and_ours(shared: Plane) -> None:
    entry = shared.get("/v1/models").json["data"][0]
    assert {"id": "nvidia/llama-3.2-nv-rerankqa-1b-v2", "object": "model", "owned_by": "nvidia", "created": 1_777_334_400}.items() <= entry.items()
    assert {"slug": NVIDIA, "task": "text→ranking", "phase": "COLD", "versions": ["v1", "v2"]}.items() <= entry.items()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_model_leads_to_its_entry_and_to_its_routes(shared: Plane, name: str) -> None:
    assert shared.get(f"/v1/models/{name}").json["slug"] == NVIDIA
    assert shared.get(f"/v1/models/{name}/inference-routes").json["slug"] == NVIDIA
    assert shared.get(f"/v1/models/{name}/reliability").json["slug"] == NVIDIA
    assert shared.get(f"/v1/models/{name}/run-estimate").json["slug"] == NVIDIA
    assert shared.get(f"/v1/model-families/{name}/status?version=v1").json["slug"] == NVIDIA


def test_a_catalogue_entry_has_every_field_of_the_page_and_a_table_for_each_version(shared: Plane) -> None:
    entry = shared.get(M).json
    page = {"title", "category", "source", "licenses", "added", "description", "task", "tags", "context_window", "parameters", "weights_dtype", "links"}
    assert page | {"route", "method", "model_field", "names", "golden", "warm_policy"} <= set(entry)
    assert (entry["route"], entry["method"], entry["model_field"], entry["context_window"]) == (f"/v1/inference/{NVIDIA}", "POST", NVIDIA, 8192)
    assert entry["warm_policy"]["idle_after_s"] == 900
    assert "15 minutes" in entry["warm_policy"]["sentence"]
    v1, v2 = entry["versions"]
    assert (v1["name"], v2["name"], v2["idle_after_s"]) == ("v1", "v2", 60)
    assert v1["readiness"] == "2/3 verified · 1 unavailable"
    assert {"slope": 0.5, "intercept": -1.0, "data": "ours, n = 900", "ece": None}.items() <= v1["calibration"].items()
    assert v2["calibration"] is None
    assert v1["memory"]["observed_bytes"] == 15_100_000_000
    assert [(row["gpu_type"], row["status"]) for row in v1["targets"]] == [("B200", "works"), ("CPU", "works"), ("H200", "unavailable")]
    assert v1["targets"][2]["published"]["model_ms_p50"] == 574.0
    assert v1["targets"][2]["model_ms_p50"] is None  # what others published is never among what was measured
    assert [row["status"] for row in v2["targets"]] == ["not probed", "not probed"]


def test_a_version_can_be_asked_for_alone(shared: Plane) -> None:
    assert [version["name"] for version in shared.get(f"{M}?version=2").json["versions"]] == ["v2"]


def test_the_routes_to_a_target_say_what_to_send_where_and_what_is_free(shared: Plane) -> None:
    answer = shared.get(f"{M}/inference-routes?model_version=v1&gpu_type=B200&region=us-central1").json
    assert answer["filters"] == {"model_version": "v1", "gpu_type": "B200", "region": "us-central1"}
    (route,) = answer["routes"]
    assert (route["method"], route["path"], route["model"], route["version"]) == ("POST", f"/v1/inference/{NVIDIA}", NVIDIA, "v1")
    assert (route["gpu_type"], route["region"], route["status"], route["phase"]) == ("B200", "us-central1", "works", "COLD")
    assert route["availability"] == {"free": 2, "slots": 2, "message": "2 free GPUs"}
    assert (answer["reason"], answer["alternatives"]) == ("", [])


def test_without_filters_all_routes_of_all_versions_are_listed_the_best_first(shared: Plane) -> None:
    routes = shared.get(f"{M}/inference-routes").json["routes"]
    assert [(route["version"], route["gpu_type"]) for route in routes] == [("v1", "B200"), ("v1", "CPU"), ("v2", "B200"), ("v2", "CPU")]


def test_filters_are_read_in_any_case_and_written_as_we_write_them(shared: Plane) -> None:
    answer = shared.get(f"{M}/inference-routes?model_version=V1&gpu_type=b200&region=US-CENTRAL1").json
    assert answer["filters"] == {"model_version": "v1", "gpu_type": "B200", "region": "us-central1"}
    assert len(answer["routes"]) == 1


def test_a_target_without_a_route_says_why_and_what_there_is_instead(shared: Plane) -> None:
    answer = shared.get(f"{M}/inference-routes?model_version=v1&gpu_type=H200").json
    assert answer["routes"] == []
    assert answer["reason"] == "no pool here provides H200 in eu-north2"
    assert [(other["version"], other["gpu_type"], other["status"]) for other in answer["alternatives"][:2]] == [("v1", "B200", "works"), ("v1", "CPU", "works")]


def test_a_gpu_and_a_region_that_do_not_go_together_have_no_route(shared: Plane) -> None:
    answer = shared.get(f"{M}/inference-routes?gpu_type=B200&region=local").json
    assert answer["routes"] == []
    assert "B200 in local" in answer["reason"]
    assert answer["alternatives"]


def test_a_model_that_fits_nowhere_says_so_with_the_numbers(shared: Plane) -> None:
    answer = shared.get("/v1/models/huge/inference-routes").json
    assert answer["routes"] == []
    assert "900" in answer["reason"]
    assert answer["alternatives"] == []


def test_the_reliability_of_a_version_is_what_the_page_s_script_reads(shared: Plane) -> None:
    answer = shared.get(f"{M}/reliability?model_version=v1&gpu_type=B200&region=us-central1").json
    assert (answer["slug"], answer["reliability_status"], answer["supported_rows"], answer["total_rows"]) == (NVIDIA, "verified", 1, 1)
    assert answer["filters"] == {"model_version": "v1", "gpu_type": "B200", "region": "us-central1"}
    fastest = answer["fastest_supported_target"]
    assert (fastest["gpu_type"], fastest["region"], fastest["status"], fastest["observed_success_rate"]) == ("B200", "us-central1", "works", 1.0)
    assert fastest["request_ms_p50"] == 188.0
    assert fastest["cost_per_gpu_hour_usd"] == 7.15
    whole = shared.get(f"{M}/reliability").json
    assert whole["lowest_cost_supported_target"]["gpu_type"] == "CPU"
    assert whole["status_counts"] == {"works": 2, "unavailable": 1}
    assert whole["baseline"]["gpu_type"] == "B200"


def test_another_row_can_be_the_one_that_the_rest_is_compared_with(shared: Plane) -> None:
    answer = shared.get(f"{M}/reliability?baseline=cpu/LOCAL").json
    assert answer["baseline"]["gpu_type"] == "CPU"
    assert next(row["relative"]["speed_percent"] for row in answer["rows"] if row["gpu_type"] == "B200") == 215
    assert "such as CPU/local" in shared.get(f"{M}/reliability?baseline=CPU").message
    assert shared.get(f"{M}/reliability?baseline=B200/mars").status == 404
    assert shared.get(f"{M}/reliability?baseline=B200/local").status == 404


UNKNOWN = {
    "model": ("/v1/models/what-is-this", 404, "what-is-this", "available"),
    "model's route": ("/v1/models/what-is-this/reliability", 404, "what-is-this", "available"),
    "version": (f"{M}/reliability?model_version=v9", 404, "v9", "v1, v2"),
    "GPU": (f"{M}/inference-routes?gpu_type=Z9000", 404, "Z9000", "CPU, B200, H200"),
    "region": (f"{M}/run-estimate?region=mars", 404, "mars", "local, us-central1, eu-north2"),
    "GPU of a status": (f"/v1/model-families/{NVIDIA}/status?gpu_type=Z9000", 404, "Z9000", "B200"),
    "filter": (f"{M}/reliability?gpu=B200", 400, "gpu", "gpu_type"),
    "filter of an entry": (f"{M}?colour=red", 400, "colour", "region"),
    "tag": ("/v1/models?tag=red", 404, "red", "rerank"),
    "task": ("/v1/models?task=chat", 404, "chat", "rank"),
    "filter of the list": ("/v1/models?sort=name", 400, "sort", "task"),
    "two versions": (f"{M}/reliability?model_version=v1&version=v2", 400, "v1", "v2"),
    "a filter twice": (f"{M}/reliability?gpu_type=B200&gpu_type=CPU", 400, "gpu_type", "once"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_unknown_is_named_together_with_what_is_known(shared: Plane, what: str) -> None:
    path, status, named, known = UNKNOWN[what]
    reply = shared.get(path)
    assert reply.status == status
    assert named in reply.message
    assert known in reply.message


def test_a_caller_s_text_is_cut_in_an_error(shared: Plane) -> None:
    reply = shared.get(f"/v1/models/{'x' * 3000}/reliability?gpu_type=B200")
    assert reply.status == 404
    assert len(reply.message) < 700


def test_an_empty_filter_is_none(shared: Plane) -> None:
    assert shared.get(f"{M}/reliability?model_version=&gpu_type=&region=").json["filters"] == {}


def test_a_wrong_method_says_which_is_right(shared: Plane) -> None:
    reply = shared.post(f"{M}/reliability", {})
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert shared.get("/v1/nothing").status == 404


def test_a_running_model_is_seen_in_every_answer(plane: Plane) -> None:
    plane.warm(gpu_type="B200", region="us-central1", version="v1")
    (route,) = plane.get(f"{M}/inference-routes?gpu_type=B200&model_version=v1").json["routes"]
    assert (route["phase"], route["availability"]["free"]) == ("WARM", 1)
    assert route["availability"]["message"] == "1 free GPU"
    assert plane.get("/v1/models").json["data"][0]["phase"] == "WARM"
    assert [version["phase"] for version in plane.get(M).json["versions"]] == ["WARM", "COLD"]


def test_a_target_that_failed_keeps_its_route_and_says_what_is_wrong(launch: Any) -> None:
    plane = launch(pools=(Pool(target=LOCAL, memory_bytes=8 * GB, slots=1, launcher="fake"),))
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.0, fails=("weights_unavailable", "the hub answered 403"))
    assert plane.post(f"/v1/model-families/{NVIDIA}/start", {}).status == 503
    (route,) = plane.get(f"{M}/inference-routes?model_version=v1").json["routes"]
    assert route["status"] == "unavailable"
    assert "weights" in route["message"]
    answer = plane.get(f"{M}/reliability").json
    assert answer["failure_reason_counts"] == {"weights_unavailable": 1}
    assert answer["fastest_supported_target"] is None
