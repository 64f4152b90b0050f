"""The live parts of a model's page in a browser: details and comparison in the target table, the six steps, and a status that changes in its place.

On a control plane in this process, whose several targets are measured and whose clock stands still.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, expect

from control_plane import ADMIN, L40S, NVIDIA, POOLS, price, probed, started
from emberank.forge.launchers.fake import Script
from emberank.forge.targets import Pool, Target
from visited_planes import VisitedPlane, visited
from visitors import Visitor, Visitors

PAGE = f"/models/{NVIDIA}"
RTX = Target("RTX6000", "us-central1")
POOL = Pool(target=L40S, memory_bytes=48 * 10**9, slots=1, launcher="fake", devices=("0",), price=price(1.82))
FAILED = [replace(one, ok=False, reason="out_of_memory", cold_start_ms=None) for one in started([1.0], RTX)]
SPREAD = [float(ms) for ms in range(182, 192)]


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisitedPlane]:
    samples = [*probed(SPREAD), *probed([35.0 + i / 10 for i in range(12)], L40S), *FAILED]
    with visited(tmp_path_factory.mktemp("plane"), samples, pools=(*POOLS, POOL, replace(POOL, target=RTX))) as one:
        yield one


@pytest.fixture
def guest(visitors: Visitors, planes: VisitedPlane) -> Visitor:
    return visitors(planes)


@pytest.fixture
def owner(visitors: Visitors, planes: VisitedPlane) -> Visitor:
    return visitors(planes, signed_in=True)


def row(visitor: Visitor, target: Target) -> Locator:
    return visitor.page.locator(f'#targets tr[data-target="{target.gpu_type}/{target.region}"]')


def baseline(visitor: Visitor) -> Locator:
    """What the page says the rows are compared with."""
    return visitor.page.locator("[data-rooted-at] b")


def relative(visitor: Visitor) -> list[str]:
    return visitor.page.locator("#targets [data-relative]").all_inner_texts()


def test_pointing_at_a_row_or_going_into_it_compares_the_others_with_it(guest: Visitor) -> None:
    guest.open(PAGE)
    fastest = relative(guest)
    b200 = Target("B200", "us-central1")
    row(guest, b200).locator("td").last.hover()
    expect(baseline(guest)).to_have_text("B200 in us-central1")
    pointed = relative(guest)
    guest.page.mouse.move(1, 1)
    expect(baseline(guest)).to_have_text("L40S in eu-north1")
    assert relative(guest) == fastest
    row(guest, b200).get_by_role("link", name="Compare").focus()
    assert relative(guest) == pointed
    guest.page.locator("h1").evaluate("(h1) => document.activeElement.blur()")
    assert relative(guest) == fastest
    guest.open(f"{PAGE}?baseline=B200/us-central1")
    assert relative(guest) == pointed  # the server's own numbers


def test_a_baseline_is_chosen_by_its_link_and_stays_in_the_address(guest: Visitor) -> None:
    guest.open(f"{PAGE}?gpu_type=L40S&region=eu-north1")
    b200 = Target("B200", "us-central1")
    row(guest, b200).get_by_role("link", name="Compare").click()
    guest.at(re.compile(r"[?&]baseline=B200(/|%2F)us-central1"))
    assert "gpu_type=L40S&region=eu-north1" in guest.page.url  # the chosen target stays
    expect(row(guest, b200).locator("[data-relative]")).to_contain_text("100%")
    expect(row(guest, L40S).locator("[data-relative]")).to_contain_text("+")
    # Their intervals do not overlap: the faster of the two is called so, and only that one.
    expect(guest.page.locator("#targets .crowned", has_text="fastest")).to_have_count(1)
    expect(row(guest, L40S).locator(".crowned", has_text="fastest")).to_have_count(1)
    # Pointing elsewhere is for as long as one points.
    row(guest, L40S).locator("td").last.hover()
    expect(baseline(guest)).to_have_text("L40S in eu-north1")
    guest.page.mouse.move(1, 1)
    expect(baseline(guest)).to_have_text("B200 in us-central1")
    guest.page.reload()
    expect(baseline(guest)).to_have_text("B200 in us-central1")


def test_details_open_by_pointer_and_by_keyboard_and_close_by_escape(guest: Visitor) -> None:
    guest.open(PAGE)
    button, details = row(guest, RTX).locator("button.more"), row(guest, RTX).locator(".details")
    expect(details).to_be_hidden()
    button.hover()
    expect(details).to_be_visible()
    expect(details).to_contain_text("it does not fit into the memory there")
    details.hover()  # what has opened can be pointed at
    expect(details).to_be_visible()
    guest.page.mouse.move(1, 1)
    expect(details).to_be_hidden()
    row(guest, RTX).locator("td").first.evaluate("(cell) => { cell.tabIndex = 0; cell.focus(); }")
    guest.page.keyboard.press("Tab")
    expect(button).to_be_focused()
    expect(details).to_be_visible()
    guest.page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    guest.page.keyboard.press("Enter")
    expect(details).to_contain_text("Choose a target with more memory")
    assert guest.barriers() == []


def test_details_open_by_touch(visitors: Visitors, planes: VisitedPlane) -> None:
    phone = visitors(planes, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    phone.open(PAGE)
    row(phone, RTX).locator("button.more").tap()
    expect(row(phone, RTX).locator(".details")).to_be_visible()
    assert phone.overflow() == []
    phone.page.touchscreen.tap(200, 20)
    expect(row(phone, RTX).locator(".details")).to_be_hidden()


def test_without_a_script_details_open_and_steps_are_forms(visitors: Visitors, planes: VisitedPlane) -> None:
    plain = visitors(planes, java_script_enabled=False)
    plain.page.goto(planes.home + PAGE)
    row(plain, RTX).locator("button.more").click()
    expect(row(plain, RTX).locator(".details")).to_be_visible()
    plain.page.keyboard.press("Escape")
    plain.press("Estimate run")
    plain.at(f"{PAGE}?model_version=v1#step-estimate")
    plain.context.close()


def test_who_is_not_signed_in_is_told_so_and_comes_back_after_it(guest: Visitor) -> None:
    guest.open(f"{PAGE}?gpu_type=L40S&region=eu-north1")
    step = guest.page.locator("#step-verify")
    guest.press("Verify target", within=step)
    guest.sees("You are not signed in.", within=step)
    guest.press("Sign in, and come back here", role="link", within=step)
    guest.sign_in_by_key(ADMIN)
    guest.at(f"{PAGE}?model_version=v1&gpu_type=L40S&region=eu-north1")


def test_a_key_that_may_only_look_is_told_so_before_its_first_request(guest: Visitor, planes: VisitedPlane) -> None:
    guest.open(f"/signin?next={PAGE}")
    guest.sign_in_by_key(planes.plane.key("read")["Authorization"].removeprefix("Bearer "))
    guest.at(PAGE)
    step = guest.page.locator("#step-verify")
    guest.press("Verify target", within=step)
    expect(step.locator(".verdict")).to_have_text("Not ok")
    guest.sees("Your key may only look. A key with the scope inference sends requests.", within=step)


def test_steps_say_what_came_back_and_are_ticked_off_for_their_target_only(owner: Visitor) -> None:
    owner.open(f"{PAGE}?gpu_type=L40S&region=eu-north1")
    for name, words in (
        ("Verify target", "1 route; L40S in eu-north1: works, 1 free GPU. Your session may send requests."),
        ("Validate target", "Verified: 1/1 verified. Fastest: L40S in eu-north1."),
        ("Estimate run", "L40S in eu-north1: warm"),
        ("Check runtime", "Cold: nothing runs"),
    ):
        step = owner.page.locator(".step").filter(has=owner.page.get_by_role("button", name=name, exact=True))
        step.get_by_role("button", name=name).click()
        expect(step.locator(".verdict")).to_have_text("Ok")
        expect(step).to_have_attribute("data-done", "yes")
        owner.sees(words, within=step)
    owner.sees("4 of 6 done for this target")
    owner.page.reload()
    owner.sees("4 of 6 done for this target")
    owner.open(f"{PAGE}?gpu_type=B200&region=us-central1")
    expect(owner.page.locator("#path-done")).to_be_empty()


def test_a_server_that_is_away_is_said_and_asking_again_works(owner: Visitor) -> None:
    owner.open(PAGE)
    step = owner.page.locator("#step-estimate")
    owner.faults.bear("ERR_FAILED|Failed to load resource")
    owner.page.route("**/run-estimate*", lambda route: route.abort())
    owner.press("Estimate run", within=step)
    owner.sees("The server cannot be reached.", within=step)
    owner.page.unroute("**/run-estimate*")
    owner.press("Estimate run", within=step)
    expect(step.locator(".verdict")).to_have_text("Ok")


def test_a_prewarm_is_followed_until_it_is_warm_and_the_status_changes_in_its_place(owner: Visitor, planes: VisitedPlane) -> None:
    planes.plane.launcher.scripts[NVIDIA] = Script(ready_after_s=2.0)
    owner.open(f"{PAGE}?gpu_type=B200&region=us-central1")
    status, step = owner.page.locator("#status"), owner.page.locator("#step-prewarm")
    expect(status.locator(".phase")).to_have_text("cold")
    height = status.bounding_box()
    step.get_by_role("button").focus()
    owner.listen()
    owner.page.keyboard.press("Enter")
    expect(step.locator(".verdict")).to_have_text("Starting")
    expect(status.locator(".phase")).to_have_text("starting")
    expect(status.locator(".phase")).to_have_text("warm", timeout=20_000)
    expect(step.locator(".verdict")).to_have_text("Ok")
    expect(step.get_by_role("button")).to_be_focused()
    owner.sees("B200 in us-central1 is warm; the start took", within=step)
    expect(status.locator('[data-field="stops"]')).to_contain_text("unless a request comes")
    # Who cannot see it is told so, and not every second.
    said = owner.heard()
    assert said.count("warm") == 1, said
    assert any("is warm; the start took" in one for one in said), said
    assert len(said) <= 10, said
    assert owner.moved() <= 0.02
    assert height is not None
    after = status.bounding_box()
    assert after is not None
    assert abs(after["height"] - height["height"]) <= 24  # a line at most


def test_a_start_that_fails_says_why_and_what_to_do(owner: Visitor, planes: VisitedPlane) -> None:
    planes.plane.launcher.scripts["tiny-embed"] = Script(ready_after_s=0.0, fails=("weights_corrupt", "the hash of model.bin is another one"))
    owner.open("/models/tiny-embed")
    step = owner.page.locator("#step-prewarm")
    owner.press("Prewarm any available target", within=step)
    expect(step.locator(".verdict")).to_have_text("Not ok", timeout=20_000)
    owner.sees("Delete what is in the cache", within=step)
    owner.sees("Delete what is in the cache", within=owner.page.locator("#status"))
