"""What somebody sees without scrolling, and what fits the window: the figures of a model, the tables, long words on a phone, the header."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from visitors import Visitor, Visitors
from web_installation import RERANKER, Installation


def bottom(visitor: Visitor, words: str) -> float:
    """How far down the first place with these words ends."""
    box: Any = visitor.page.locator("main").get_by_text(words).locator("visible=true").first.bounding_box()
    return float(box["y"] + box["height"])


def test_the_first_screenful_says_what_it_is_where_it_runs_how_fast_how_reliable_and_at_what_cost(admin: Visitor, installation: Installation) -> None:
    installation.measure(RERANKER)
    admin.open(f"/models/{RERANKER}?gpu_type=CPU&region=local")
    for words in ("text→ranking", "CPU in local", "Model time, p50", "Success rate", "Price", "$0.36 per hour", "Verified targets", "Try in playground ↓"):
        assert bottom(admin, words) <= 900, words


def sideways(visitor: Visitor, name: str) -> int:
    """How much of a region's width can only be scrolled to."""
    hidden: int = visitor.page.get_by_role("region", name=name, exact=True).evaluate("(one) => one.scrollWidth - one.clientWidth")
    return hidden


def test_the_catalogue_as_a_table_fits_a_laptop(visitor: Visitor, installation: Installation) -> None:
    installation.measure(RERANKER)
    visitor.open("/?view=table")
    assert sideways(visitor, "Models, as a table") == 0


def test_the_keys_stand_below_each_other_on_a_phone(visitors: Visitors, installation: Installation) -> None:
    phone = visitors(installation, signed_in=True, viewport={"width": 390, "height": 844})
    phone.open("/account")
    assert sideways(phone, "API keys, as a table") == 0
    expect(phone.page.locator("td[data-label='Scopes']").first).to_be_visible()


@pytest.mark.parametrize("address", ["/", "/status", "/account"])
def test_the_header_fits_a_phone_in_one_line_of_links(visitors: Visitors, installation: Installation, address: str) -> None:
    phone = visitors(installation, signed_in=True, viewport={"width": 360, "height": 740})
    phone.open(address)
    tops = phone.page.locator(".nav a").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().top)")
    assert len(tops) == 5
    assert len(set(tops)) == 1
    assert phone.overflow() == []


def test_a_card_opens_wherever_it_is_pressed_and_a_tag_leads_to_its_own_list(visitor: Visitor) -> None:
    visitor.open("/")
    card = visitor.page.locator(f".card[data-slug='{RERANKER}']")
    card.locator(".card-text").scroll_into_view_if_needed()
    box: Any = card.locator(".card-text").bounding_box()
    visitor.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visitor.at(f"/models/{RERANKER}")
    visitor.page.go_back()
    card.get_by_role("link", name="english").click()
    visitor.at("/?tag=english")


def test_the_api_viewer_shows_summaries_without_marks_and_has_its_key_beside_its_filter(visitor: Visitor) -> None:
    visitor.open("/docs/api")
    first = visitor.page.locator("#docs-api .opblock-summary-description")
    expect(first.first).to_be_visible()
    assert not [words for words in first.all_inner_texts() if "`" in words]
    middles = []
    for part in (".btn.authorize", ".operation-filter-input"):
        box: Any = visitor.page.locator(f"#docs-api {part}").bounding_box()
        middles.append(box["y"] + box["height"] / 2)
    assert abs(middles[0] - middles[1]) < 20
