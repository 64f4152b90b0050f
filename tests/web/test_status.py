"""The status page: what runs changes under one's eyes, and is started and stopped with the mouse."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitors import WAIT_MS, Visitor, Visitors
from web_installation import EMBEDDER, RERANKER, Installation

PREWARM, STOP = re.compile("^Prewarm"), re.compile("^Stop")


def test_a_model_is_started_and_stopped_and_the_page_follows(admin: Visitor, installation: Installation) -> None:
    installation.cool(RERANKER)
    admin.open("/status?phase=cold")
    admin.press(PREWARM, within=admin.page.locator(f'[data-cold="{RERANKER}"]'))
    row = admin.page.locator(f'[data-endpoint^="{RERANKER}/v1/CPU/local"]')
    admin.open("/status")
    expect(row.locator(".phase")).to_have_text("warm", timeout=WAIT_MS)
    expect(row).to_contain_text("idle for")
    assert admin.moved() <= 0.1
    admin.press(STOP, within=row)
    expect(row).to_have_count(0, timeout=WAIT_MS)
    assert installation.phase(RERANKER) == "COLD"


def test_what_others_start_appears_by_itself(admin: Visitor, installation: Installation) -> None:
    installation.cool(EMBEDDER)
    admin.open("/status")
    installation.warm(EMBEDDER)
    expect(admin.page.locator(f'[data-endpoint^="{EMBEDDER}/"] .phase')).to_have_text("warm", timeout=WAIT_MS)
    expect(admin.page.locator("#status-targets")).to_contain_text("CPU in local")


def test_everybody_sees_phases_and_only_who_is_signed_in_sees_more(visitor: Visitor, installation: Installation) -> None:
    installation.warm(RERANKER)
    visitor.open("/status")
    visitor.sees("Sign in to see memory, requests, failures, schedules and gateways")
    expect(visitor.page.locator(f'[data-endpoint^="{RERANKER}/"]')).to_have_count(1)
    expect(visitor.page.get_by_role("button", name="Stop")).to_have_count(0)


def test_without_javascript_it_can_be_read_and_used(visitors: Visitors, installation: Installation) -> None:
    installation.warm(RERANKER)
    plain: Visitor = visitors(installation, java_script_enabled=False, signed_in=True)
    plain.open("/status")
    plain.sees("CPU in local")
    plain.press(STOP, within=plain.page.locator(f'[data-endpoint^="{RERANKER}/"]'))
    plain.at("/status")
    expect(plain.page.locator(f'[data-endpoint^="{RERANKER}/"] .phase[data-phase="WARM"]')).to_have_count(0)
