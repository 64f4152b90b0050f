"""Finding a model: by words, by filters that apply themselves, by keyboard alone; phases that change under one's eyes without anything moving."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from visitors import Visitor, Visitors
from web_installation import EMBEDDER, RERANKER, Installation


def cards(visitor: Visitor) -> Locator:
    return visitor.page.locator(".card")


def test_words_find_a_model_and_filters_narrow_at_once(visitor: Visitor) -> None:
    visitor.open("/")
    page, everything = visitor.page, cards(visitor).count()
    page.get_by_label("Search").fill("minilm")
    visitor.press("Search")
    expect(cards(visitor).filter(has_text=RERANKER)).to_have_count(1)
    assert cards(visitor).count() < everything
    page.get_by_label("Task").select_option("embed")
    visitor.at("/?q=minilm&task=embed")
    expect(page.get_by_label("Task")).to_be_focused()
    expect(page.locator(f'[data-slug="{EMBEDDER}"]')).to_have_count(1)
    expect(page.locator(f'[data-slug="{RERANKER}"]')).to_have_count(0)
    visitor.press("Table", role="link")
    expect(page.locator(".models tbody tr")).not_to_have_count(0)
    visitor.press("Clear all", role="link")
    visitor.at("/?view=table")
    page.go_back()
    visitor.at("/?q=minilm&task=embed&view=table")
    expect(page.get_by_label("Task")).to_have_value("embed")


def test_what_fits_nothing_says_so_and_leads_back(visitor: Visitor) -> None:
    visitor.open("/?q=nothing+is+called+so&task=rank")
    visitor.sees("No models match")
    visitor.press("Clear all", role="link")
    expect(cards(visitor)).not_to_have_count(0)


def test_phases_change_by_themselves_and_nothing_moves(admin: Visitor, installation: Installation) -> None:
    installation.cool(RERANKER)
    admin.open("/")
    dot = admin.page.locator(f'[data-slug="{RERANKER}"] .phase')
    expect(dot).to_have_text("cold")
    installation.warm(RERANKER)
    expect(dot).to_have_text("warm", timeout=20_000)
    admin.page.get_by_label("Warm now").check()
    expect(admin.page.locator(f'[data-slug="{RERANKER}"]')).to_have_count(1)
    installation.cool(RERANKER)
    expect(dot).to_have_text("cold", timeout=20_000)
    assert admin.moved() <= 0.1


def test_a_model_is_found_and_opened_with_the_keyboard_alone(visitor: Visitor) -> None:
    visitor.open("/")
    keys = visitor.page.keyboard
    keys.press("Tab")
    expect(visitor.page.get_by_text("Skip to the content")).to_be_focused()
    keys.press("Enter")
    for _ in range(12):
        keys.press("Tab")
        if visitor.page.get_by_label("Search").evaluate("(field) => field === document.activeElement"):
            break
    keys.type("minilm reranker")
    keys.press("Enter")
    visitor.at("/?q=minilm+reranker")
    link = visitor.page.locator(f'[data-slug="{RERANKER}"] h2 a')
    for _ in range(40):
        keys.press("Tab")
        if link.evaluate("(link) => link === document.activeElement"):
            break
    expect(link).to_be_focused()
    assert link.evaluate("(link) => getComputedStyle(link).outlineStyle") == "solid"
    keys.press("Enter")
    visitor.at(f"/models/{RERANKER}")


def test_a_chosen_theme_stays_on_every_page(visitors: Visitors, installation: Installation) -> None:
    visitor: Visitor = visitors(installation, color_scheme="light")
    visitor.open("/")
    page = visitor.page
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.locator("#theme")
    for word in ("Light", "Dark"):
        button.click()
        expect(button).to_have_text(word)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != bright
    visitor.open(f"/models/{RERANKER}")
    expect(button).to_have_text("Dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    button.click()
    expect(button).to_have_text("Auto")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == bright
