"""A catalogue of 500 models and one running on three targets: found, paged and filtered by keyboard, narrowed by target, stopped after a question. On a control plane of this process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, expect

from control_plane import B200, L40S, MODELS, NVIDIA, POOLS, price, probed
from emberank.forge.targets import Pool
from visited_planes import VisitedPlane, visited
from visitors import WIDTHS, Visitor, Visitors

NUMBER = 500
POOL = Pool(target=L40S, memory_bytes=48 * 10**9, slots=1, launcher="fake", devices=("0",), price=price(1.82))
SHIPPED = MODELS[1]
MANY = tuple(
    replace(
        SHIPPED,
        slug=f"many-{i:03}",
        id=f"acme/many-{i:03}",
        title=f"Model {i} of many",
        task="rank" if i % 3 else "embed",
        source="huggingface",
        tags=(f"tag-{i % 40}", "english"),
        licenses=(("Apache-2.0", "MIT")[i % 2],),
    )
    for i in range(NUMBER - len(MODELS))
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisitedPlane]:
    samples = [*probed([182.0] * 10), *probed([35.0] * 10, L40S), *(one for i in range(0, 400, 7) for one in probed([10.0 + i] * 6, slug=f"many-{i:03}"))]
    with visited(tmp_path_factory.mktemp("plane"), samples, models=(*MODELS, *MANY), pools=(*POOLS, POOL)) as one:
        yield one


@pytest.fixture
def owner(visitors: Visitors, plane: VisitedPlane) -> Visitor:
    return visitors(plane, signed_in=True)


def reach(visitor: Visitor, place: Locator, most: int) -> None:
    """Press Tab until it has the focus."""
    for _ in range(most):
        visitor.page.keyboard.press("Tab")
        if place.evaluate("(place) => place === document.activeElement"):
            return
    pytest.fail(f"not reached with {most} tabs")


def test_one_of_five_hundred_is_found_with_the_keyboard(owner: Visitor) -> None:
    owner.open("/")
    page, keys = owner.page, owner.page.keyboard
    expect(page.locator("[role=status]").filter(has_text=f"{NUMBER} models")).to_be_visible()
    first = page.locator("[data-slug]").first.get_attribute("data-slug")
    reach(owner, page.get_by_label("Search"), 12)
    keys.type("model 387")
    keys.press("Enter")
    owner.at("/?q=model+387")
    expect(page.locator("[data-slug]").first).to_have_attribute("data-slug", "many-387")
    # A filter by keyboard: the page goes on where it was left.
    page.get_by_label("Search").fill("")
    page.get_by_label("Task").focus()
    keys.press("ArrowDown")
    owner.at(re.compile("[?&]task="))
    expect(page.get_by_label("Task")).to_be_focused()
    owner.open("/")
    assert page.locator("[data-slug]").first.get_attribute("data-slug") == first


def test_the_pages_of_a_long_list_have_every_model_once(owner: Visitor) -> None:
    owner.open("/?view=table")
    seen: list[str] = []
    following = owner.page.locator('a[rel="next"]')
    for number in range(2, 60):
        seen += [one.get_attribute("data-slug") or "" for one in owner.page.locator("[data-slug]").all()]
        if not following.count():
            break
        following.focus()
        owner.page.keyboard.press("Enter")
        owner.at(re.compile(rf"[?&]page={number}\b"))
    assert len(seen) == len(set(seen)) == NUMBER
    assert owner.moved() <= 0.1


def test_a_full_page_of_it_is_for_everybody_and_fits_every_window(owner: Visitor) -> None:
    owner.open("/?sort=speed")
    barriers = owner.barriers()
    assert not barriers, "\n".join(barriers)
    for width in WIDTHS:
        owner.page.set_viewport_size({"width": width, "height": 900})
        assert owner.overflow() == [], width


def endpoint(visitor: Visitor, slug: str, target: str) -> Locator:
    return visitor.page.locator(f'[data-endpoint^="{slug}/v1/{target}"]')


def press(place: Locator, change: str) -> None:
    """The button of one of the status page's forms."""
    place.locator(f'form[action="/web/status/{change}"] button').click()


def test_what_runs_is_narrowed_by_target_phase_and_word_and_the_address_says_so(owner: Visitor, plane: VisitedPlane) -> None:
    plane.plane.warm(NVIDIA, gpu_type="B200", region="us-central1")
    plane.plane.warm("many-100", gpu_type="L40S", region="eu-north1")
    plane.plane.until_phase("WARM", "many-100")
    plane.plane.until_phase("WARM")
    owner.open("/status")
    both = owner.page.locator("[data-endpoint]")
    expect(both).to_have_count(2)
    owner.page.get_by_label("Target", exact=True).select_option(f"{L40S.gpu_type} in {L40S.region}")
    owner.at(re.compile(r"/status\?target="))
    expect(both).to_have_count(1)
    expect(endpoint(owner, "many-100", "L40S/eu-north1")).to_be_visible()
    owner.page.locator("#status-filters + p a[href='/status']").click()
    owner.at("/status")
    owner.page.locator("#s-q").fill("nvidia")
    owner.page.keyboard.press("Enter")
    owner.at("/status?q=nvidia")
    expect(endpoint(owner, NVIDIA, "B200/us-central1")).to_be_visible()
    expect(both).to_have_count(1)
    owner.page.get_by_label("Phase", exact=True).select_option("cold")
    owner.at("/status?phase=cold&q=nvidia")
    expect(both).to_have_count(0)
    owner.page.go_back()
    expect(both).to_have_count(1)
    # 499 cold ones are not all on one page.
    owner.open("/status?phase=cold")
    shown = owner.page.locator("[data-cold]")
    before = shown.count()
    assert 0 < before < NUMBER - 2
    owner.page.locator("a[href*='rows=']").first.click()
    owner.at(re.compile("[?&]rows="))
    assert shown.count() > before


def test_what_is_kept_warm_is_stopped_after_a_question_only(owner: Visitor, plane: VisitedPlane) -> None:
    plane.plane.warm(NVIDIA, gpu_type=B200.gpu_type, region=B200.region)
    plane.plane.until_phase("WARM")
    owner.open("/status")
    row = endpoint(owner, NVIDIA, "B200/us-central1")
    press(row, "keep")
    expect(row.locator('form[action$="/keep"] [name=keep_warm]')).to_have_value("0")
    press(row, "stop")
    question = owner.page.locator("main")
    expect(question.locator("h1")).to_contain_text("?")
    expect(question).to_contain_text("kept warm")
    barriers = owner.barriers()
    assert not barriers, "\n".join(barriers)
    question.locator("a[href='/status']").click()
    owner.at("/status")
    expect(row.locator(".phase")).to_have_text("warm")
    press(row, "stop")
    press(question, "stop")
    owner.at("/status")
    expect(row).to_have_count(0, timeout=20_000)
    plane.plane.until_phase("COLD")
