"""The status page: what runs and what fails, for those who may see it, and the forms that start, keep warm and stop."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest

from browser import Browser
from control_plane import ADMIN, B200, GB, LOCAL, MODELS, NVIDIA, Plane, started
from emberank.contract.errors import NotReady
from emberank.contract.fleet import EndpointLoad, LoadReport, Wish
from emberank.forge.catalog import Model, Version
from emberank.forge.deployments import Deployment, Key
from emberank.forge.launchers.fake import Script
from emberank.forge.lifecycle import Policy, decide
from emberank.forge.loads import Load
from emberank.forge.targets import Pool, Target
from emberank.forge.web.status import answered_lately, wellbeing
from emberank.forge.web.status.running_now import next_try
from page_checks import check_page, text_of
from stores import record
from wire import Reply

Launch = Callable[..., Plane]
EVIL = "<script>alert('1')</script>\"&"
KEY_FORM = {"slug": NVIDIA, "model_version": "v1", "gpu_type": "B200", "region": "us-central1"}


@pytest.fixture(autouse=True)
def counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page keeps for a few seconds is asked for at every look here."""
    monkeypatch.setattr(answered_lately, "KEPT_S", 0.0)
    monkeypatch.setattr(answered_lately, "_SHARE", 0.0)
    monkeypatch.setattr(wellbeing, "CHECKED_EVERY_S", 0.0)


@pytest.fixture
def admin(browser: Browser) -> Browser:
    browser.sign_in(ADMIN)
    return browser


def shown(browser: Browser, query: str = "") -> str:
    """The words of the page, after a look at its form."""
    return text_of(check_page(browser.get(f"/status{query}")))


def html(browser: Browser, query: str = "") -> str:
    return check_page(browser.get(f"/status{query}"))


def part(page: str, name: str) -> str:
    """The words of one section."""
    found = re.search(rf'<section [^>]*id="status-{name}".*?</section>', page, re.DOTALL)
    assert found, f"there is no part {name}"
    return text_of(found[0])


def signed_in(plane: Plane, *scopes: str, **limits: Any) -> Browser:
    browser = Browser(plane.port)
    browser.sign_in(plane.key(*scopes, **limits)["Authorization"].partition(" ")[2])
    return browser


def use(plane: Plane, *statuses: int, **changed: Any) -> None:
    """Requests that were answered so."""
    values: dict[str, Any] = {"slug": NVIDIA, "gpu_type": LOCAL.gpu_type, "region": LOCAL.region, "at_s": plane.wall_s - 60} | changed
    number = time.monotonic_ns()
    used = [record(request_id=f"r{number}-{place}", status=status, **values) for place, status in enumerate(statuses)]
    plane.run(lambda: plane.parts.stored(lambda store: store.usage.append("gw", number, used)))


def report(plane: Plane, in_flight: int, gateway_id: str = "gw-1", number: int = 1) -> None:
    """A gateway says what it has at every endpoint that runs."""
    loads = tuple(EndpointLoad(endpoint_id=one.id, in_flight=in_flight, idle_s=0.0) for one in plane.do(plane.parts.life.deployments))
    plane.run(lambda: plane.parts.intake.take(LoadReport(gateway_id=gateway_id, number=number, loads=loads)))


def test_an_empty_installation_says_what_to_do(admin: Browser) -> None:
    page = html(admin)
    words = text_of(page)
    assert "No endpoints are running, so nothing is billed" in words
    assert "No requests in the last 24 hours" in words
    assert "No starts yet" in words
    assert "None has connected since this server started" in words
    assert "0%" not in words
    assert "Ready warm 0 failed 0 cold 3 models Database writable" in words


def test_an_endpoint_is_shown_with_its_time_its_load_and_its_memory(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200")
    page = html(admin)
    row = part(page, "endpoints")
    assert f"NVIDIA Llama 3.2 NV-RerankQA 1B v2 {NVIDIA} v1 B200 in us-central1 warm" in row
    assert "idle for" in row
    assert "unless a request comes" in row
    assert "3.0 GB VRAM reserved peak 100 B, n = 1 start" in row
    left = re.search(r'data-count-down="([\d.]+)"', page)
    assert left
    assert 0 < float(left[1]) <= plane.settings.idle_after_s
    assert "1 of 2 GPUs free" in part(page, "targets")
    assert f'data-endpoint="{NVIDIA}/v1/B200/us-central1" data-phase="WARM"' in page


def test_what_gateways_have_in_work_is_on_the_endpoint_and_on_its_target(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200")
    report(plane, 3)
    page = html(admin)
    assert "3 requests active or queued" in part(page, "endpoints")
    assert "after its last request" in part(page, "endpoints")
    assert "B200 in us-central1 Endpoints 1 1 of 2 GPUs free Active or queued 3 requests" in part(page, "targets")
    assert 'data-gateway="gw-1"' in page
    assert re.search(r"gw-1 last usage report \S+ \S+ ago, last seen \S+ \S+ ago", part(page, "plans"))


def test_a_gateway_that_only_waits_for_news_is_there_too_until_it_is_silent(plane: Plane, admin: Browser) -> None:
    assert "No gateway connected" in part(html(admin), "health")
    plane.run(lambda: plane.parts.intake.know("gw-2"))
    page = html(admin)
    assert "gw-2 no usage report yet, last seen" in part(page, "plans")
    assert "1 gateway" in part(page, "health")
    plane.parts.intake._asked["gw-2"] -= 91
    page = html(admin)
    assert "offline: its active requests no longer count" in part(page, "plans")
    assert "No gateway connected" in part(page, "health")


def test_a_target_without_requests_says_so_and_no_rate(plane: Plane, admin: Browser) -> None:
    use(plane, 200)
    targets = part(html(admin), "targets")
    cpu, b200 = targets.split("B200 in us-central1")
    assert "Last hour 1 request 0 failed: 0.0% of n = 1" in cpu
    assert "Last hour no requests Last 24 hours no requests" in b200
    assert "%" not in b200


def test_failures_are_counted_with_n_and_interval_and_the_callers_faults_apart(plane: Plane, admin: Browser) -> None:
    use(plane, *[200] * 18, 500, 503, 400)
    use(plane, *[200] * 20, at_s=plane.wall_s - 7200)
    use(plane, 200, at_s=plane.wall_s - 90_000)  # the day before
    requests = part(html(admin), "requests")
    hour = "21 requests 1 rejected (4xx) 2 failed: 10.0% of n = 20 (95 % interval 2.8% to 30.1%)"
    day = "41 requests 1 rejected (4xx) 2 failed: 5.0% of n = 40 (95 % interval 1.4% to 16.5%)"
    assert f"{NVIDIA} v1 CPU in local {hour} {day}" in requests
    assert f"Total {hour} {day}" in requests


def test_of_too_many_requests_the_latest_are_counted_and_the_page_says_how_far_they_go(plane: Plane, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered_lately, "MOST", 5)
    for place in range(8):
        use(plane, 200, at_s=plane.wall_s - 600 * (place + 1))
    requests = part(html(admin), "requests")
    assert "the latest of them, which go back 50m 0s" in requests
    assert "5 requests" in requests
    assert "8 requests" not in requests


def test_a_store_that_takes_no_writes_is_seen_and_the_page_still_comes(plane: Plane, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(call: object) -> None:
        raise NotReady("the disk is full")

    plane.warm()
    object.__setattr__(plane.parts, "stored", refused)  # every part asks by it, the page too
    page = html(admin)
    assert "Database not writable: the disk is full" in part(page, "health")
    assert "Requests cannot be counted now: the disk is full" in part(page, "requests")
    assert "warm" in part(page, "endpoints")


def test_a_failed_start_says_why_what_to_do_and_when_it_is_tried_again(launch: Launch) -> None:
    plane = launch()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.0, fails=("weights_corrupt", "model.safetensors has another hash"))
    assert plane.post(f"/v1/model-families/{NVIDIA}/start", {}).status == 503
    browser = Browser(plane.port)
    browser.sign_in(ADMIN)
    page = html(browser)
    endpoint, starts = part(page, "endpoints"), part(page, "starts")
    assert "failed" in endpoint
    assert "model.safetensors has another hash" in endpoint
    assert "Next try: not by itself" in endpoint
    assert "fetch it again" in endpoint
    assert "Cancel retries" in endpoint
    assert f"{NVIDIA} v1" in starts
    assert "failed : its weights are not the ones whose hash is known." in starts
    assert "failed 1" in part(page, "health")


@pytest.mark.parametrize(
    ("changes", "in_flight", "words"),
    [
        ({"retry_at": 112.0, "wanted": True}, 0, "in 12 s, by itself."),
        ({"retry_at": 100.0, "wanted": True}, 0, "now, by itself."),
        ({"retry_at": 112.0, "wanted": True, "last_used": -900.0}, 0, "possible in 12 s, when a request waits for it or somebody starts it."),
        ({"retry_at": 112.0}, 0, "possible in 12 s, when a request waits for it or somebody starts it."),
        ({"retry_at": 112.0}, 1, "in 12 s, by itself."),
        ({"retry_at": 112.0, "keep_warm": True}, 0, "in 12 s, by itself."),
        (
            {"retry_at": 112.0, "keep_warm": True, "reason": "bad_setting"},
            0,
            "not by itself, for it would end in the same way. Start it when the cause is mended.",
        ),
        ({"phase": "WARM"}, 0, ""),
    ],
)
def test_when_a_failed_start_is_tried_again_is_what_the_life_cycle_will_do(changes: dict[str, Any], in_flight: int, words: str) -> None:
    values: dict[str, Any] = {"phase": "FAILED", "since": 90.0, "last_used": 90.0, "reason": "crashed"}
    one = Deployment(key=Key(NVIDIA, "v1", *B200), **values | changes)
    assert next_try(one, in_flight, 900.0, 100.0) == words
    if one.phase == "FAILED" and one.retry_at is not None:
        due = decide(one, Load(in_flight=in_flight), one.retry_at + 0.1, Policy())
        assert (due.action == "start") is ("by itself." in words)


def test_starts_are_listed_newest_first_with_what_they_took(launch: Launch) -> None:
    plane = launch(samples=[*started([93_000.0], B200), *started([1_500.0], LOCAL, weights_from="network")])
    browser = Browser(plane.port)
    browser.sign_in(ADMIN)
    starts = part(html(browser), "starts")
    assert starts.index("warm after 1.5 s weights downloaded first") < starts.index("warm after 1m 33s weights from page cache")
    assert "warm after 1m 33s" not in part(html(browser, "?target=CPU/local"), "starts")


def test_failures_of_one_kind_in_a_row_are_one_line(launch: Launch) -> None:
    failed = started([0.0] * 7, B200, ok=False, reason="out_of_memory")
    plane = launch(samples=[*started([900.0], B200), *failed, *started([800.0], LOCAL)])
    browser = Browser(plane.port)
    browser.sign_in(ADMIN)
    page = html(browser)
    assert page.count("data-start=") == 3
    starts = part(page, "starts")
    assert "failed 7 times in a row : it does not fit into the memory there." in starts
    assert starts.index("warm after 800 ms") < starts.index("failed 7 times") < starts.index("warm after 900 ms")
    assert starts.count("Choose a target with more memory") == 1


def test_schedules_and_probes_under_way_are_shown(plane: Plane, admin: Browser) -> None:
    plane.post("/v1/schedules", {"slug": NVIDIA, "kind": "prewarm", "cron": "0 7 * * MON-FRI"})
    gate = threading.Event()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.0, gate=gate)
    try:
        plane.post("/v1/probes", {"slug": NVIDIA, "gpu_type": "B200"})
        words = part(html(admin), "plans")
    finally:
        gate.set()
    assert f"prewarm 0 7 * * MON-FRI {NVIDIA} 2027-01-18 07:00:00 UTC" in words
    assert re.search(rf"(waiting|running) {NVIDIA}( v1)? on B200 in us-central1, requested now", words)


@pytest.mark.parametrize(
    ("query", "there", "away"),
    [
        ("?target=CPU/local", "CPU in local", 'data-endpoint="tiny-embed'),
        ("?phase=warm", "data-endpoint", "No endpoints are running"),
        ("?phase=failed", "None of the 2 running endpoints matches", "data-endpoint"),
        ("?q=TINY_embed", 'data-endpoint="tiny-embed', f'data-endpoint="{NVIDIA}'),
        ("?phase=cold", 'data-cold="huge"', "data-endpoint"),
        ("?q=hug", 'data-cold="huge"', "data-endpoint"),
    ],
)
def test_filters_stand_in_the_address(plane: Plane, admin: Browser, query: str, there: str, away: str) -> None:
    plane.warm(gpu_type="CPU")
    plane.warm("tiny-embed", gpu_type="B200")
    page = html(admin, query)
    assert there in page
    assert away not in page
    assert "Clear filters" in page


@pytest.mark.parametrize("query", ["?target=B9/moon", "?phase=warmish", "?rows=7", "?colour=red", f"?target={'x' * 5000}"])
def test_what_means_nothing_in_the_address_is_said_and_ignored(admin: Browser, query: str) -> None:
    assert "Ignored, because they are not known here" in shown(admin, query)


def test_a_visitor_who_is_not_signed_in_sees_what_runs_of_the_shipped_models_only(plane: Plane, browser: Browser) -> None:
    plane.warm(gpu_type="B200")
    plane.warm("tiny-embed", gpu_type="CPU")
    use(plane, 200, 500)
    use(plane, 200, slug="tiny-embed")
    page = html(browser)
    words = text_of(page)
    assert f'data-endpoint="{NVIDIA}' in page
    assert "tiny" not in page.lower()
    assert "warm 1" in words  # and not 2
    assert "GB" not in words
    assert "1 request" not in words
    assert "failed:" not in words
    assert "gateway" not in part(page, "health")
    assert "Sign in to see memory" in words
    assert "/web/status/" not in page


def test_a_key_for_one_model_sees_nothing_of_the_others(plane: Plane) -> None:
    plane.warm(gpu_type="B200")
    plane.warm("tiny-embed", gpu_type="CPU")
    report(plane, 2)
    use(plane, 200)
    plane.post("/v1/schedules", {"slug": NVIDIA, "kind": "prewarm", "cron": "0 7 * * *"})
    page = html(signed_in(plane, "read", models=["tiny-embed"]))
    assert "nvidia" not in page.lower()
    assert 'data-endpoint="tiny-embed' in page
    assert "Active or queued" not in part(page, "targets")
    assert "No requests in the last 24 hours" in page


def test_a_key_that_may_only_read_has_no_buttons_and_its_forms_do_nothing(plane: Plane) -> None:
    plane.warm(gpu_type="B200")
    browser = signed_in(plane, "read")
    assert "/web/status/" not in html(browser)
    for path in ("start", "stop", "keep"):
        reply = browser.send(f"/web/status/{path}", KEY_FORM)
        assert "needs a key with the scope" in unescape(check_page(reply, 403))
    assert plane.phase() == "WARM"


def test_a_key_for_requests_alone_may_start_and_sees_no_counts(plane: Plane) -> None:
    use(plane, 200)
    browser = signed_in(plane, "inference")
    page = html(browser, "?phase=cold")
    assert "/web/status/start" in page
    assert "/web/status/stop" not in page
    assert "are shown to keys with the scope read or manage" in text_of(page)
    assert 'id="status-requests"' not in page
    reply = browser.send("/web/status/start", {**KEY_FORM, "back": "/status?phase=cold"})
    assert (reply.status, reply.headers["location"]) == (303, "/status?phase=cold")
    plane.until_phase("WARM")


def test_keep_warm_and_back_again(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200")
    page = html(admin)
    assert "Keep warm" in page
    assert admin.send("/web/status/keep", {**KEY_FORM, "keep_warm": "1"}).headers["location"] == "/status"
    page = html(admin)
    assert "kept warm until stopped" in part(page, "endpoints")
    assert "Stop keeping warm" in page
    admin.send("/web/status/keep", {**KEY_FORM, "keep_warm": "0"})
    assert "unless a request comes" in part(html(admin), "endpoints")


def test_what_is_idle_is_stopped_at_once(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200")
    html(admin)
    assert admin.send("/web/status/stop", KEY_FORM).headers["location"] == "/status"
    plane.until_phase("COLD")


def test_what_is_in_use_is_asked_about_before_it_is_stopped(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200")
    report(plane, 2)
    html(admin)
    reply = admin.send("/web/status/stop", {**KEY_FORM, "back": "/status?q=nvidia"})
    page = check_page(reply)
    assert "has 2 requests active or queued" in text_of(page)
    assert plane.phase() == "WARM"
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert (fields["sure"], fields["back"]) == ("1", "/status?q=nvidia")
    report(plane, 0, number=2)
    assert admin.send("/web/status/stop", {name: unescape(value) for name, value in fields.items() if name != "csrf"}).headers["location"] == "/status?q=nvidia"
    plane.until_phase("COLD")


def test_what_somebody_keeps_warm_is_asked_about_too(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200", run_until_stopped=True)
    html(admin)
    assert "is kept warm because somebody asked for that" in text_of(check_page(admin.send("/web/status/stop", KEY_FORM)))


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/status@evil", "/statusx", "/status?" + "x" * 5000, "/account"])
def test_a_form_leads_back_to_the_status_page_and_nowhere_else(plane: Plane, admin: Browser, back: str) -> None:
    plane.warm(gpu_type="B200")
    html(admin)
    assert admin.send("/web/status/keep", {**KEY_FORM, "keep_warm": "1", "back": back}).headers["location"] == "/status"


@pytest.mark.parametrize("path", ["start", "stop", "keep"])
def test_forms_need_the_sessions_token_and_our_own_page(plane: Plane, admin: Browser, path: str) -> None:
    plane.warm(gpu_type="B200")
    html(admin)
    assert admin.send(f"/web/status/{path}", KEY_FORM, csrf="wrong").status == 403
    assert admin.send(f"/web/status/{path}", KEY_FORM, {"Origin": "https://evil.example"}).status == 403
    assert plane.phase() == "WARM"


def test_a_form_of_a_session_that_has_ended_does_nothing_and_says_so(plane: Plane, admin: Browser) -> None:
    plane.warm(gpu_type="B200")
    html(admin)
    plane.wall_s += plane.settings.web_session_max_s
    page = check_page(admin.send("/web/status/stop", KEY_FORM), 401)
    assert "nothing was done" in text_of(page)
    assert plane.phase() == "WARM"


def test_a_page_that_is_left_open_does_not_keep_its_session_alive(plane: Plane, admin: Browser) -> None:
    plane.wall_s += plane.settings.web_session_idle_s - 10
    assert 'id="status-targets"' in html(admin, "?live=1")
    plane.wall_s += 20
    assert 'id="status-targets"' not in html(admin, "?live=1")


def hostile() -> Model:
    version = Version(name="v1", source="file:x", memory_gb=0.1)
    return Model(slug="hostile", id="acme/hostile", title=EVIL, description=EVIL, task="rank", source=EVIL, tags=(EVIL,), versions=(version,))


def test_hostile_text_of_the_catalogue_of_gateways_and_of_failures_is_text(launch: Launch) -> None:
    plane = launch(models=(*MODELS, hostile()))
    plane.launcher.scripts["hostile"] = Script(ready_after_s=0.0, fails=("crashed", EVIL))
    plane.post("/v1/model-families/hostile/start", {})
    report(plane, 0, gateway_id=EVIL)
    browser = Browser(plane.port)
    for who in (None, ADMIN):
        if who:
            browser.sign_in(who)
        page = html(browser)
        assert "<script>alert" not in page
        assert unescape(page).count(EVIL) >= 1
    page = html(browser, f"?q={'%3Cscript%3E'}")
    assert "<script>" not in page


def many(models: int) -> Iterator[Model]:
    for number in range(models):
        version = Version(name="v1", source="file:x", memory_gb=0.001)
        yield Model(
            slug=f"model-{number:03}", id=f"acme/model-{number:03}", title=f"Model {number}", description="One of many.", task="rank", versions=(version,)
        )


def test_five_hundred_models_and_two_hundred_endpoints_are_a_page_of_few_rows_made_in_no_time(launch: Launch) -> None:
    pools = (Pool(target=Target("CPU", "local"), memory_bytes=100 * GB, slots=500, launcher="fake"),)
    samples = [one for number in range(500) for one in started([100.0] * 3, LOCAL, f"model-{number:03}")]
    plane = launch(models=tuple(many(500)), pools=pools, samples=samples)
    for number in range(200):
        plane.do(lambda number=number: plane.reconciler.wake(Wish(slug=f"model-{number:03}")))  # type: ignore[misc]
    browser = Browser(plane.port)
    browser.sign_in(ADMIN)
    page = html(browser)
    assert page.count("data-endpoint=") == 25
    assert page.count("data-start=") == 25
    assert "175 more endpoints. Show more" in text_of(page)
    assert html(browser, "?rows=100").count("data-endpoint=") == 100
    took = []
    for _ in range(5):
        began = time.perf_counter()
        reply: Reply = browser.get("/status")
        took.append(time.perf_counter() - began)
        assert len(reply.body) < 150_000
    assert min(took) < 0.25  # a tenth of it as a rule: this is no measurement, only a bound that a slip would cross


def test_where_no_keys_are_asked_for_whoever_reaches_it_may_do_everything_from_our_own_pages(launch: Launch) -> None:
    plane = launch(auth="none")
    plane.warm(gpu_type="B200")
    browser = Browser(plane.port)
    page = html(browser)
    assert 'id="status-requests"' in page
    assert "Sign in to see" not in text_of(page)
    assert browser.send("/web/status/stop", KEY_FORM, {"Origin": "https://evil.example"}).status == 403
    assert browser.send("/web/status/stop", KEY_FORM).status == 303
    plane.until_phase("COLD")
