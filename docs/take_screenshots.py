"""A running installation of the default models in, docs/screenshots/*.png out: `python docs/take_screenshots.py`, where there is a Chromium.

Every page at two widths and in both themes, with nothing on it but what ships and what this script has asked. Figures differ from machine to machine.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the tests' own visitor and installation

from chromium import absence, chromium  # noqa: E402
from visitors import Visitor  # noqa: E402
from web_installation import EMBEDDER, RERANKER, Installation, launch  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = ROOT / "docs/screenshots"
SIZES = ((1280, 1300), (390, 1500))  # px; what is below is not in the picture
THEMES = ("light", "dark")
COLOURS = 32  # common ones, and as many others
MOST_BYTES = 100_000
PAGES = {
    "catalogue": "/",
    "model": f"/models/{RERANKER}?model_version=v1&gpu_type=CPU&region=local",
    "playground": f"/playground/{RERANKER}",
    "embeddings": f"/playground/{EMBEDDER}",
    "status": "/status",
    "account": "/account",
    "docs": "/docs/howto/web",
}
QUERY = "what is retrieval augmented generation?"


def main() -> int:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="8000", help="Where the installation listens while it is photographed: the address is in the pictures.")
    port = parser.parse_args().port
    if why := absence(os.environ):
        print(f"no pictures: {why}", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="emberank-pictures-") as folder, chromium(os.environ) as browser:
        installation = launch(Path(folder), "--port", port, own=False)
        try:
            use(installation)
            for theme in THEMES:
                for size in SIZES:
                    take(browser, installation, theme, size)
        finally:
            installation.up.end()
    return 0


def use(installation: Installation) -> None:
    """What a day leaves behind: figures of both models, two keys, some requests."""
    for slug in (RERANKER, EMBEDDER):
        installation.measure(slug)
        installation.warm(slug)
    for name in ("search service", "notebook"):
        installation.key("inference", "read", name=name)
    passages = [{"text": "Embeddings map text into vectors."}, {"text": "A reranker orders passages by their relevance to a query."}]
    for _ in range(3):
        reply = installation.client.post("/v1/ranking", {"model": RERANKER, "query": {"text": QUERY}, "passages": passages})
        assert reply.status == 200, reply.body


def take(browser: Browser, installation: Installation, theme: str, size: tuple[int, int]) -> None:
    """Every page in one theme at one width."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, locale="en-GB", reduced_motion="reduce")  # type: ignore[arg-type]
    context.add_cookies([{"name": "emberank_session", "value": installation.session, "url": installation.home}])
    visitor = Visitor(context, installation.home)
    for name, address in PAGES.items():
        assert visitor.open(address) == 200
        if address.startswith("/playground/"):
            visitor.page.get_by_role("button", name="Run", exact=True).click()
            visitor.page.locator("#play-answer [data-answer]").first.wait_for()
            visitor.page.evaluate("document.activeElement.blur()")
        # The window is as high as the picture: what sticks to a window's edge then stands where it belongs.
        whole = visitor.page.evaluate("document.body.scrollHeight")
        visitor.page.set_viewport_size({"width": width, "height": min(whole, height)})
        visitor.page.mouse.move(0, 0)
        visitor.page.evaluate("scrollTo(0, 0)")
        keep(visitor.page.screenshot(animations="disabled"), FOLDER / f"{name}-{width}-{theme}.png")
        visitor.page.set_viewport_size({"width": width, "height": 900})
    left = visitor.leave()
    assert not left, left


def keep(picture: bytes, path: Path) -> None:
    """As few bytes as it can be read with."""
    with Image.open(io.BytesIO(picture)) as image:
        page = image.convert("RGB")
    page.quantize(palette=palette(page), dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    assert size < MOST_BYTES, f"{path.name} has {size} bytes"
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")


def palette(page: Image.Image) -> Image.Image:
    """A page's commonest colours as they are, its flat ones, and others that cover the rest: a small green dot stays green."""
    counted = page.getcolors(page.width * page.height) or []
    common = [channel for _, colour in sorted(counted, reverse=True)[:COLOURS] for channel in colour]  # type: ignore[union-attr]
    rest = page.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette() or []
    made = Image.new("P", (1, 1))
    made.putpalette(common + rest[: COLOURS * 3])
    return made


if __name__ == "__main__":
    sys.exit(main())
