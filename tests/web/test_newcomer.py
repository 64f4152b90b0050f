"""The whole way of somebody who has just started Emberank: with the mouse alone, from the terminal's link to an answer; and again with nothing but what was copied."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Locator, expect

from snippet_runs import REFUSAL, command
from visitors import WAIT_MS, Visitor, Visitors
from web_installation import RERANKER, Installation

BEST = "Retrieval augmented generation combines search over external documents"
STEPS = ("verify", "validate", "estimate", "runtime")
PINNED = f"/models/{RERANKER}?model_version=v1&gpu_type=CPU&region=local"
# Writes down every phase that the page shows, so that one that lasts for a moment is seen as well.
_WATCH_PHASES = """() => {
  const seen = (window.__phases = [document.querySelector("#status .phase").textContent]);
  new MutationObserver(() => {
    const now = document.querySelector("#status .phase").textContent;
    if (seen.at(-1) !== now) seen.push(now);
  }).observe(document.getElementById("status"), { subtree: true, childList: true, characterData: true });
}"""


def step(visitor: Visitor, name: str) -> Locator:
    return visitor.page.locator(f"#step-{name}")


def ask(visitor: Visitor, name: str) -> str:
    """Press a step's button; what it says then."""
    step(visitor, name).get_by_role("button").click()
    result = step(visitor, name).locator("[data-result]")
    expect(result).to_have_attribute("data-ok", "yes", timeout=WAIT_MS)
    expect(step(visitor, name)).to_have_attribute("data-done", "yes")
    return result.inner_text()


def find_and_choose(visitor: Visitor) -> None:
    """From the catalogue's first page to the reranker on this machine's CPU."""
    visitor.page.get_by_label("Search").fill("reranker")
    visitor.press("Search")
    visitor.page.locator(f'[data-slug="{RERANKER}"]').get_by_role("link").first.click()
    visitor.at(f"/models/{RERANKER}")
    visitor.press("Use CPU in local", role="link")
    visitor.at(re.compile(re.escape(PINNED)))


def test_with_the_mouse_alone(visitor: Visitor, installation: Installation) -> None:
    installation.measure(RERANKER)
    installation.cool(RERANKER)
    visitor.sign_in_by_link(installation.first_link())
    find_and_choose(visitor)
    assert "CPU in local" in ask(visitor, "verify")
    assert "Fastest: CPU in local" in ask(visitor, "validate")
    assert "warm" in ask(visitor, "estimate")
    assert "cold: nothing runs" in ask(visitor, "runtime").lower()

    visitor.page.evaluate(_WATCH_PHASES)
    ask(visitor, "prewarm")
    expect(visitor.page.locator("#status .phase")).to_have_text("warm")
    assert visitor.page.evaluate("window.__phases") == ["cold", "starting", "warm"]
    expect(visitor.page.locator("#status")).to_contain_text("CPU in local")
    assert re.search(r"the start took [\d.]+ m?s", step(visitor, "prewarm").inner_text())
    assert visitor.moved() <= 0.1

    play = visitor.page.locator("#playground")
    play.get_by_role("button", name="Run", exact=True).click()
    expect(play.locator("#play-answer")).to_contain_text(BEST, timeout=WAIT_MS)
    answer = play.locator("#play-answer").inner_text()
    assert answer.index(BEST) < answer.index("Embeddings map text") < answer.index("A graphics processing unit")
    assert visitor.moved() <= 0.1

    step(visitor, "docs").get_by_role("link", name="Open docs").click()
    visitor.at("/docs/api")
    expect(visitor.page.locator("h1")).to_be_visible()


def copied_blocks(visitor: Visitor) -> dict[str, str]:
    """Every block of the page, as its copy button puts it on the clipboard."""
    found = {}
    for block in visitor.page.locator('details[id^="snippet-"]').all():
        if block.get_attribute("open") is None:
            block.locator("summary").click()
        name = (block.get_attribute("id") or "").removeprefix("snippet-")
        found[name] = visitor.copied(block.locator("button[data-copy]"))
        assert found[name] == block.locator("pre code").text_content()
        block.locator("summary").click()
    return found


def run(block: str, language: str, key: str | None, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", block] if language == "bash" else [sys.executable, "-c", block]
    return command(words, {"HOME": str(folder)} | ({"FORGE_API_KEY": key} if key else {}))


def test_and_again_with_nothing_but_what_was_copied(visitors: Visitors, installation: Installation, tmp_path: Path) -> None:
    installation.measure(RERANKER)
    installation.cool(RERANKER)
    visitor: Visitor = visitors(installation, signed_in=True)
    visitor.open("/account")
    visitor.page.get_by_label("Name", exact=True).fill("my terminal")
    visitor.press("Create key")
    key = visitor.page.get_by_role("status").filter(has_text="FORGE_API_KEY=").inner_text().partition("FORGE_API_KEY=")[2].split()[0]
    visitor.press("Catalog", role="link")
    find_and_choose(visitor)
    blocks = copied_blocks(visitor)
    assert {"setup", "setup-pinned", "api-check", "run-estimate", "reliability", "runtime-status", "warmup", "curl", "python-emberank"} <= blocks.keys()

    refused = run(blocks["api-check"], "bash", None, tmp_path)
    assert (refused.returncode, refused.stderr.strip()) == (1, REFUSAL)  # the browser's session is nothing to a terminal
    said = {name: run(blocks[name], "bash", key, tmp_path) for name in ("api-check", "reliability", "run-estimate", "runtime-status", "warmup", "curl")}
    assert [(name, done.stderr) for name, done in said.items() if done.returncode] == []
    assert json.loads(said["api-check"].stdout)["routes"][0]["gpu_type"] == "CPU"
    assert "export FORGE_GPU_TYPE=CPU FORGE_REGION=local" in said["reliability"].stdout
    assert json.loads(said["run-estimate"].stdout)["target_chosen_by"] == "pinned"
    assert json.loads(said["runtime-status"].stdout)["phase"] == "COLD"
    assert re.search(rf"{RERANKER} cold-started on CPU in local; startup_ms=\d", said["warmup"].stdout)
    assert [one["index"] for one in json.loads(said["curl"].stdout)["rankings"]] == [0, 2, 1]
    done = run(blocks["python-emberank"], "python", key, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one["index"] for one in json.loads(done.stdout)["rankings"]] == [0, 2, 1]
    # The page saw the terminal warm the model.
    expect(visitor.page.locator("#status .phase")).to_have_text("warm", timeout=WAIT_MS)
