"""The catalogue page's own scripts, as they stand, against the control plane alone."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from control_plane import ADMIN, LOCAL, NVIDIA, Plane, probed
from page_scripts import FOLDER, run_script


def run(name: str, plane: Plane, base: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """As a user runs one: two variables, and those of the target where they differ from the page's."""
    if not FOLDER.is_dir():
        pytest.skip("the page's scripts are not here")
    ours = {"PATH": os.environ["PATH"], "FORGE_API_BASE": f"http://127.0.0.1:{plane.port}{base}", "FORGE_API_KEY": ADMIN, "FORGE_REQUEST_TIMEOUT_SECONDS": "30"}
    return subprocess.run(["bash", str(FOLDER / f"{name}.sh")], env=ours | variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
def test_the_api_check_prints_the_route_to_the_pinned_target(shared: Plane, base: str) -> None:
    done = run("api-check", shared, base)
    assert done.returncode == 0, done.stdout + done.stderr
    (route,) = json.loads(done.stdout)["routes"]
    assert (route["gpu_type"], route["region"], route["version"], route["method"]) == ("B200", "us-central1", "v1", "POST")


def test_the_reliability_script_prints_exports_to_paste(shared: Plane) -> None:
    done = run("reliability", shared)
    assert done.returncode == 0, done.stdout + done.stderr
    first, filters, export = done.stdout.splitlines()
    assert first == f"{NVIDIA} reliability=verified supported=1/1"
    assert filters == "filters: model_version=v1, gpu_type=B200, region=us-central1"
    assert export.startswith("export FORGE_GPU_TYPE=B200 FORGE_REGION=us-central1 # fastest supported + lowest-cost supported: p50=188.0ms, warm_cost_usd=")
    assert export.endswith("success=100%")


def test_the_reliability_script_without_a_pin_names_the_fastest_and_the_cheapest(shared: Plane) -> None:
    done = run("reliability", shared, FORGE_GPU_TYPE=" ", FORGE_REGION=" ", MODEL_OR_FAMILY_SLUG="nvidia/llama-3.2-nv-rerankqa-1b-v2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[2:]] == [
        "export FORGE_GPU_TYPE=B200 FORGE_REGION=us-central1 # fastest supported",
        "export FORGE_GPU_TYPE=CPU FORGE_REGION=local # lowest-cost supported",
    ]


def test_the_reliability_script_says_when_nothing_is_verified(plane: Plane) -> None:
    done = run("reliability", plane)
    assert done.returncode == 1
    assert "No supported GPU/region target returned." in done.stderr
    assert '"not probed": 1' in done.stdout


def test_the_warm_up_script_starts_the_target_and_finds_it_warm(plane: Plane) -> None:
    cold = run("warmup", plane)
    assert cold.returncode == 0, cold.stdout + cold.stderr
    assert cold.stdout.startswith(f"{NVIDIA} cold-started on B200 in us-central1; startup_ms=")
    assert cold.stdout.strip().endswith("keep_warm=False")
    warm = run("warmup", plane, FORGE_KEEP_WARM="true")
    assert warm.stdout.strip() == f"{NVIDIA} already warm on B200 in us-central1; keep_warm=True"


def test_the_inference_script_shows_our_error_where_no_gateway_answers(shared: Plane) -> None:
    done = run("inference", shared)
    assert done.returncode != 0
    assert json.loads(done.stderr.partition("{")[1] + done.stderr.partition("{")[2])["code"] == 404


@pytest.mark.parametrize("script", ["api-check", "reliability", "warmup"])
def test_a_script_for_another_model_and_target_differs_in_its_variables_only(launch: Any, script: str) -> None:
    plane = launch(samples=probed([35.0] * 6, target=LOCAL, slug="tiny-embed"))
    done = run_script(script, plane.port, ADMIN, slug="tiny-embed", gpu_type="CPU", region="local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny-embed" in done.stdout


@pytest.mark.parametrize("script", ["api-check", "reliability", "warmup", "inference"])
def test_a_script_refuses_a_placeholder_before_any_request(shared: Plane, script: str) -> None:
    done = run(script, shared, FORGE_API_KEY="replace-with-your-forge-api-key")
    assert done.returncode == 1
    assert "Set FORGE_API_KEY to a real Forge API key" in done.stderr


@pytest.mark.parametrize("script", ["api-check", "reliability", "warmup"])
def test_a_wrong_key_or_target_fails_a_script_with_our_sentence(shared: Plane, script: str) -> None:
    wrong = run(script, shared, FORGE_API_KEY="not-a-key-of-this-server")
    assert wrong.returncode != 0
    if script == "warmup":
        pinned = run(script, shared, FORGE_GPU_TYPE="H200", FORGE_REGION="eu-north2")
        assert pinned.returncode != 0
