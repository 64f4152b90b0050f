"""The six steps on the model page: what each says of the target as it stands, what helps where it is not well, and what a script finds there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import get_args

import pytest

from browser import Browser
from control_plane import ADMIN, LOCAL, NVIDIA, Plane, probed, started
from emberank.contract.fleet import FailureReason
from emberank.forge.web.model.remedies import REMEDIES, remedy
from page_checks import check_page, text_of
from wire import Client

Launch = Callable[..., Plane]
PAGE = f"/models/{NVIDIA}"
NAMES = ["verify", "validate", "estimate", "runtime", "prewarm", "docs"]
PINNED = f"{PAGE}?model_version=v1&gpu_type=CPU&region=local"


def step(html: str, name: str) -> str:
    return html.split(f'id="step-{name}"')[1].split("</li>")[0]


def said(html: str, name: str) -> str:
    """The verdict and its words."""
    return text_of("<p>" + step(html, name).split("data-result")[1].partition(">")[2].split("</div>")[0] + "</p>")


def page(plane: Plane, path: str = PAGE) -> str:
    return check_page(Client(plane.port).get(path))


def test_there_are_six_in_their_order_and_each_can_be_done_without_a_script(shared: Plane) -> None:
    html = page(shared, PINNED)
    assert re.findall(r'data-step="(\w+)"', html) == NAMES
    for name in NAMES[:4]:
        assert f'action="{PAGE}#step-{name}"' in step(html, name)
        assert '<button class="button" type="submit">' in step(html, name)
        for field in ('name="model_version" value="v1"', 'name="gpu_type" value="CPU"', 'name="region" value="local"'):
            assert field in step(html, name)
    assert "Sign in" in step(html, "prewarm")
    assert 'href="/docs/api"' in step(html, "docs")


def test_a_script_finds_the_api_s_route_and_body_and_where_to_sign_in(shared: Plane) -> None:
    html = page(shared, PINNED)
    paths = [unescape(path) for path in re.findall(r'data-path="([^"]+)"', html)]
    query = "?model_version=v1&gpu_type=CPU&region=local"
    assert paths[0] == f"/web/api/v1/models/{NVIDIA}/inference-routes{query}"
    assert paths[4] == f"/web/api/v1/model-families/{NVIDIA}/start"
    body = json.loads(unescape(re.findall(r'data-body="([^"]+)"', html)[0]))
    assert body == {"version": "v1", "gpu_type": "CPU", "region": "local", "run_until_stopped": False}
    assert f'data-signin="/signin?next={PAGE.replace("/", "/")}%3Fmodel_version%3Dv1%26gpu_type%3DCPU%26region%3Dlocal"' in html
    assert 'data-signed-in=""' in html
    assert json.loads(unescape(html.split("data-remedies='")[1].split("'")[0])) == dict(REMEDIES)


def test_the_routes_that_the_steps_name_answer_a_session(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    html = check_page(browser.get(PINNED))
    assert 'data-signed-in="yes"' in html
    for path in [unescape(path) for path in re.findall(r'data-path="([^"]+)"', html)][:4]:
        assert browser.get(path).status == 200, path


def test_a_verified_target_is_well_in_every_step(shared: Plane) -> None:
    html = page(shared, PINNED)
    assert said(html, "verify") == "Ok 1 route; CPU in local: works, 3 free slots."
    assert said(html, "validate").startswith("Ok Verified: 1/1 verified. Fastest: CPU in local.")
    assert said(html, "estimate").startswith("Ok CPU in local: warm 402 ms")
    assert said(html, "runtime").startswith("Ok Cold: nothing runs")
    assert said(html, "prewarm").startswith("Not asked yet")


def test_what_was_never_measured_is_not_called_well_and_the_step_says_how_to_measure_it(plane: Plane) -> None:
    html = page(plane, PINNED)
    assert "Not yet Not probed: 0/1 verified" in said(html, "validate")
    assert f"emberank probe {NVIDIA}" in said(html, "validate")
    assert said(html, "estimate").startswith("Not yet CPU in local: no estimate yet;")


def test_a_target_that_is_not_there_says_what_there_is_instead(plane: Plane) -> None:
    html = page(plane, f"{PAGE}?gpu_type=H200&region=eu-north2")
    assert said(html, "verify").startswith("Not ok No route: no pool here provides H200 in eu-north2. It can run on:")
    assert said(html, "estimate").startswith("Not ok H200 in eu-north2: no pool here provides H200 in eu-north2.")
    assert "Choose another target" in said(html, "validate")


def test_a_failure_says_its_reason_and_what_to_do(launch: Launch) -> None:
    failed = [replace(one, ok=False, reason="out_of_memory", cold_start_ms=None) for one in started([1.0], LOCAL)]
    html = page(launch(samples=[*probed([40.0] * 8, LOCAL), *failed]), PINNED)
    assert "The latest start failed: it does not fit into the memory there." in said(html, "validate")
    assert "Choose a target with more memory" in said(html, "validate")


def test_every_reason_has_a_remedy_and_what_is_no_reason_has_none() -> None:
    assert set(REMEDIES) == set(get_args(FailureReason))
    assert all(sentence.endswith(".") and sentence.count("`") % 2 == 0 for sentence in REMEDIES.values())
    assert remedy(None) == remedy("weather") == ""


@pytest.mark.parametrize("scope", ["read"])
def test_who_may_only_look_is_told_so_instead_of_being_offered_a_start(plane: Plane, browser: Browser, scope: str) -> None:
    browser.sign_in(plane.key(scope)["Authorization"].removeprefix("Bearer "))
    html = check_page(browser.get(PAGE))
    assert "Your key may only look" in text_of(step(html, "prewarm") and html)
    assert "<form" not in step(html, "prewarm")
