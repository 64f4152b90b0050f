"""The playground of models that read images: dropped, pasted and chosen ones are sent and shown again; what is no image, or too much of one, is said and nothing else is lost."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from playwright.sync_api import Locator, expect

from families import write_vl_embedder, write_vl_reranker
from picture_files import photo, saved
from visitors import WAIT_MS, Visitor, Visitors
from web_installation import Installation, begin

RANKS, EMBEDS = "pictures-rank", "pictures"
_MODELS = """
[[model]]
slug = {slug}
id = {id}
title = {slug}
task = {task}
modalities = ["text", "image", "text_image"]
[[model.version]]
name = "v1"
source = {source}
memory_gb = 0.2
"""
_GIVE = """(form, [files, how]) => {
  const data = new DataTransfer();
  const content = ({ text, zeros }) => [Uint8Array.from(atob(text), (one) => one.charCodeAt(0)), new Uint8Array(zeros)];
  for (const one of files) data.items.add(new File(content(one), one.name, { type: one.mimeType }));
  const rest = { bubbles: true, cancelable: true };
  if (how === "paste") form.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, ...rest }));
  else form.dispatchEvent(new DragEvent("drop", { dataTransfer: data, ...rest }));
}"""


class File(TypedDict):
    """As Playwright has it."""

    name: str
    mimeType: str
    buffer: bytes


def image(name: str, width: int = 64, height: int = 32, *, form: str = "PNG", seed: int = 1) -> File:
    return {"name": name, "mimeType": f"image/{form.lower()}", "buffer": saved(photo(width, height, seed), form)}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a reranker and an embedder of images, tiny and random."""
    folder = tmp_path_factory.mktemp("gallery")
    made: list[tuple[str, str, Path]] = [(RANKS, "rank", write_vl_reranker(folder / "rank")), (EMBEDS, "embed", write_vl_embedder(folder / "embed"))]
    (folder / "data").mkdir(mode=0o700)
    entries = [{"slug": slug, "id": f"acme/{slug}", "task": task, "source": f"file:{where}"} for slug, task, where in made]
    (folder / "data" / "models.toml").write_text("".join(_MODELS.format(**{name: json.dumps(text) for name, text in one.items()}) for one in entries), "utf-8")
    one = begin(folder)
    try:
        yield one
    finally:
        one.up.end()


def opened(visitors: Visitors, gallery: Installation, slug: str) -> tuple[Visitor, Locator]:
    """An empty form."""
    visitor: Visitor = visitors(gallery, signed_in=True)
    visitor.open(f"/playground/{slug}")
    play = visitor.page.locator("#playground[data-ready]")
    play.get_by_role("button", name="Clear").click()
    expect(play.locator("#play-said")).to_contain_text("Cleared.")
    return visitor, play


def give(play: Locator, how: str, *files: File, zeros: int = 0) -> None:
    """`zeros` are so many more bytes at the end of each."""
    sent = [{"name": one["name"], "mimeType": one["mimeType"], "text": base64.b64encode(one["buffer"]).decode(), "zeros": zeros} for one in files]
    play.locator("#play-form").evaluate(_GIVE, [sent, how])


def test_images_that_are_chosen_dropped_and_pasted_are_ranked_and_shown_beside_their_scores(visitors: Visitors, gallery: Installation) -> None:
    visitor, play = opened(visitors, gallery, RANKS)
    play.locator("#play-query").fill("which way?")
    with visitor.page.expect_file_chooser() as chooser:
        play.get_by_role("button", name="Add images").click()
    chooser.value.set_files([image("wide.png"), image("square.jpg", 40, 40, form="JPEG", seed=2)])
    expect(play.locator("#play-count")).to_have_text(re.compile("^2 of"))
    give(play, "drop", image("third.webp", form="WEBP", seed=3))
    expect(play.locator("#play-count")).to_have_text(re.compile("^3 of"))
    give(play, "paste", image("fourth.gif", form="GIF", seed=4))
    expect(play.locator("#play-count")).to_have_text(re.compile("^4 of"))
    expect(play.locator("[data-play-item]").nth(1)).to_contain_text("JPEG · 40 × 40 pixels")
    play.locator("#play-item-1").fill("words beside it")
    play.get_by_role("button", name="Run", exact=True).click()
    rows = play.locator(".answer-list > li")
    expect(rows).to_have_count(4, timeout=WAIT_MS)
    expect(play.locator(".answer-list img")).to_have_count(4)
    expect(rows.filter(has_text="passage 1 of 4")).to_contain_text("words beside it")
    assert visitor.page.evaluate("[...document.querySelectorAll('.answer-list img')].every((one) => one.naturalWidth > 0)")
    barriers = visitor.barriers("#playground")
    assert not barriers, "\n".join(barriers)
    visitor.page.reload()
    expect(play.locator("[data-play-unimage]")).to_have_count(4)


def test_what_is_no_image_or_too_much_of_one_is_named_and_the_good_ones_are_taken(visitors: Visitors, gallery: Installation) -> None:
    _, play = opened(visitors, gallery, RANKS)
    whole = image("cut.png", 640, 320)
    files: list[File] = [
        image("good.png"),
        {**whole, "buffer": whole["buffer"][:300]},
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"not an image"},
        {"name": "empty.png", "mimeType": "image/png", "buffer": b""},
    ]
    give(play, "drop", *files)
    said = play.locator("#play-said")
    expect(said).to_contain_text("1 image added.")
    for words in (
        "“cut.png” begins as a PNG image and cannot be read",
        "“notes.png” is no PNG, JPEG, WebP, GIF, BMP or TIFF image",
        "“empty.png” is empty",
    ):
        expect(said).to_contain_text(words)
    give(play, "drop", image("large.png"), zeros=26 << 20)
    expect(said).to_contain_text("“large.png” has 27 MB; an image may have 26 MB")
    expect(play.locator("#play-count")).to_have_text(re.compile("^1 of"))


def test_a_photo_of_forty_million_pixels_is_taken_and_its_removal_taken_back(visitors: Visitors, gallery: Installation) -> None:
    visitor, play = opened(visitors, gallery, RANKS)
    plain = photo(8, 5, 6).resize((8000, 5000))
    give(play, "drop", {"name": "camera.jpg", "mimeType": "image/jpeg", "buffer": saved(plain, "JPEG", quality=30)})
    expect(play.locator("[data-play-item]")).to_contain_text("8000 × 5000 pixels")
    play.get_by_role("button", name="Remove image").click()
    expect(play.locator("#play-count")).to_have_text(re.compile("^0 of"))
    play.locator("#play-undo").click()
    expect(play.locator("[data-play-item]")).to_contain_text("8000 × 5000 pixels")
    play.locator("#play-query").fill("which way?")
    play.get_by_role("button", name="Run", exact=True).click()
    expect(play.locator(".answer-list img")).to_have_count(1, timeout=WAIT_MS)
    assert visitor.overflow() == []


def test_images_and_texts_are_embedded_together_and_a_query_of_images_is_refused_before_it_is_sent(visitors: Visitors, gallery: Installation) -> None:
    _, play = opened(visitors, gallery, EMBEDS)
    play.locator("#play-item-1").fill("a text")
    give(play, "drop", image("one.png"), image("two.png", seed=2))
    expect(play.locator("#play-count")).to_have_text(re.compile("^3 of"))
    play.get_by_label("Inputs are").select_option("query")
    play.get_by_role("button", name="Run", exact=True).click()
    expect(play.locator("#play-input-type-wrong")).to_contain_text("A query is text")
    play.get_by_label("Inputs are").select_option("passage")
    play.get_by_role("button", name="Run", exact=True).click()
    expect(play.locator("#play-answer")).to_contain_text("3 vectors of 64 dimensions", timeout=WAIT_MS)
    expect(play.locator(".answer-preview img")).to_have_count(2)
