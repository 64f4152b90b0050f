"""The views of answers in a real browser under the pages' own policy: whatever an answer or a request holds is shown as text, in bounds, and readable by everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from playwright.sync_api import Browser, Download, Page, Request, Route, expect

from emberank.dialects import nim
from emberank.dialects.scores import sigmoid
from emberank.dialects.vectors import coded, unit
from emberank.forge.web.assets import assets
from emberank.forge.web.page import POLICY
from visitors import Visitor

HOME = "http://127.0.0.1:9"  # nobody is asked there: every request is answered by the test
HOSTILE = "<img src=x onerror=window.ran=1><script>window.ran=2</script>\u202eabc " + "W" * 300
PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HEADERS = {
    "x-emberank-target": "CPU/local",
    "x-emberank-model": "reranker@v1",
    "x-emberank-cold-start-ms": "987",
    "x-emberank-queue-ms": "0.18",
    "x-emberank-model-ms": "109.82",
    "x-emberank-cost-usd": "0.000000123456",
    "emberank-prompt-tokens": "471",
    "server-timing": "tokenize;dur=2.90, queue;dur=0.18, engine;dur=109.82",
    "x-request-id": "68e2624a9a395a1daebe4b0500000001",
}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>answers</title><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/assets/app.css"><link rel="icon" href="/assets/icon.svg"><script type="module" src="/show.js"></script></head>
<body><main class="frame"><h1>Model</h1><section class="panel"><h2>Answer</h2><div id="out"></div></section></main></body></html>"""
SHOW = """import { showAnswer, showComparison } from "/assets/playground_answer.js";
window.showRuns = (runs) => (runs.length > 1 ? showComparison(document.getElementById("out"), runs) : showAnswer(document.getElementById("out"), runs[0]));
document.body.dataset.ready = "1";"""


class Shown(Visitor):
    """A page with nothing but the views, and what it is given to show."""

    away: bool = False  # the server that has the modules

    def begin(self) -> None:
        self.page.route("**/*", self._answer)
        self.open("/")
        self.page.wait_for_selector("body[data-ready]")

    def show(self, *runs: dict[str, Any]) -> Page:
        self.page.evaluate("(runs) => window.showRuns(runs)", list(runs))
        return self.page

    def _answer(self, route: Route, request: Request) -> None:
        name = request.url.removeprefix(HOME).partition("?")[0]
        found = assets().get(name.removeprefix("/assets/"))
        if name == "/":
            route.fulfill(body=PAGE, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})
        elif name == "/show.js":
            route.fulfill(body=SHOW, content_type="text/javascript")
        elif found is not None and not self.away:
            route.fulfill(body=found.content, content_type=found.kind)
        else:
            route.abort()


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", color_scheme="light", accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=HOME)
    one = Shown(context, HOME)
    one.begin()
    yield one
    ran = one.page.evaluate("window.ran ?? null")
    left = one.leave()
    assert ran is None
    assert left == []


def run(task: str, body: dict[str, Any], answer: bytes | None, **headers: str) -> dict[str, Any]:
    said = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    model = {"slug": "model", "title": "Model", "task": task}
    value = None if answer is None else orjson.loads(answer)
    return {
        "id": "1",
        "model": model,
        "target": None,
        "body": body,
        "status": 200,
        "headers": said,
        "answer": value,
        "error": None,
        "elapsedMs": 1118.0,
        "phases": [],
    }


def ranked(
    passages: list[Any], logits: list[float], *, chunks: dict[int, dict[str, int]] | None = None, score: str = "logit", **headers: str
) -> dict[str, Any]:
    """A run whose answer is written as the server writes it."""
    body = {"query": {"text": "q"}, "passages": [{"text": one} if isinstance(one, str) else one for one in passages]}
    entries: list[dict[str, object]] = []
    for index in sorted(range(len(logits)), key=lambda i: (-logits[i], i)):
        entry: dict[str, object] = {"index": index, "logit": np.float32(logits[index])}
        if chunks and index in chunks:
            entry["chunk"] = chunks[index]
        if score != "logit":
            entry["score"] = sigmoid(logits[index])
        entries.append(entry)
    return run("rank", body, nim.rankings_body(entries, 471), emberank_score=score, **headers)


def embedded(texts: list[str], vectors: Any, kind: Any = "float", in_text: bool = False) -> dict[str, Any]:
    body = {"input": texts, "embedding_type": kind}
    answer = nim.embeddings_body(coded(np.asarray(vectors, dtype=np.float32), kind), "base64" if in_text else "float", "m", 9)
    return run("embed", body, answer)


def some(n: int, dimensions: int = 16) -> Any:
    return unit(np.random.default_rng(n).normal(size=(n, dimensions)).astype(np.float32))


def failed(status: int, message: str) -> dict[str, Any]:
    return run("rank", {"passages": []}, None) | {"status": status, "headers": {}, "error": {"status": status, "message": message, "retryAfterS": 3}}


def test_a_ranking_tells_places_scores_moves_and_ties_and_shows_hostile_text_as_text(shown: Shown) -> None:
    page = shown.show(ranked(["apples", HOSTILE, "apples", "seeds"], [-4.0, -6.5, -4.0, 1.25]))
    rows = page.locator(".answer-row")
    assert [row.get_attribute("data-index") for row in rows.all()] == ["3", "0", "2", "1"]
    assert [row.locator(".answer-number").inner_text() for row in rows.all()] == ["1.250", "−4.000", "−4.000", "−6.500"]
    assert [row.locator(".answer-moved").get_attribute("data-moved") for row in rows.all()] == ["3", "-1", "0", "-2"]
    assert rows.locator(".chip").all_inner_texts() == ["tie", "tie"]
    expect(page.locator(".answer-ties")).to_be_visible()
    expect(rows.nth(3).locator(".answer-text")).to_have_text(HOSTILE)
    assert page.locator("#out img, #out script").count() == 0


def test_bars_of_raw_scores_begin_at_the_line_of_zero(shown: Shown) -> None:
    page = shown.show(ranked(["a", "b"], [3.0, -1.0]))
    bars = [[each.bounding_box() for each in bar.locator("span").all()] for bar in page.locator(".answer-bar").all()]
    width = page.locator(".answer-bar").first.bounding_box()
    for (fill, zero), share, sign in zip(bars, (0.75, 0.25), (1, -1), strict=True):
        assert fill
        assert zero
        assert width
        assert fill["width"] == pytest.approx(share * width["width"], abs=1)
        end = fill["x"] if sign > 0 else fill["x"] + fill["width"]
        assert end == pytest.approx(zero["x"] + 1, abs=1)


def test_the_best_piece_of_a_long_passage_is_marked_whatever_characters_stand_before_it(shown: Shown) -> None:
    text = "🦇 Bats fly at night. " * 60 + "Seeds get far. 🌳" + " Owls sleep." * 60
    start = text.index("Seeds")
    page = shown.show(ranked([text, "short"], [1.0, 0.0], chunks={0: {"start": start, "end": start + 16, "number": 4, "of": 9}}, score="sigmoid"))
    row = page.locator('.answer-row[data-index="0"]')
    expect(row.locator("mark")).to_have_text("Seeds get far. 🌳")
    expect(row.locator(".answer-piece")).to_have_text("best piece: 5 of 9")
    toggle = row.locator(".answer-toggle")
    assert (toggle.get_attribute("aria-expanded"), len(row.locator(".answer-text").inner_text()) < len(text)) == ("false", True)
    toggle.click()
    expect(row.locator(".answer-text")).to_have_text(text)
    expect(row.locator("mark")).to_have_text("Seeds get far. 🌳")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    toggle.click()
    expect(toggle).to_have_text(f"Show all ({len(text.encode('utf-16-le')) // 2:,} characters)")


def test_many_passages_come_in_steps_and_the_keyboard_goes_on_where_the_button_was(shown: Shown) -> None:
    page = shown.show(ranked([f"passage {i}" for i in range(600)], [float(-i) for i in range(600)]))
    rows, more = page.locator(".answer-row"), page.locator(".answer-ranking > .answer-button")
    counts = [rows.count()]
    while more.is_visible():
        more.press("Enter")
        counts.append(rows.count())
    assert counts == [50, 150, 250, 350, 450, 550, 600]
    assert page.evaluate("document.activeElement.dataset.place") == "551"


def test_a_passage_of_ten_million_characters_is_laid_out_in_parts(shown: Shown) -> None:
    page = shown.show(ranked(["y" * 10_000_000], [1.0]))
    text = page.locator(".answer-text")
    sizes = [text.evaluate("(one) => one.textContent.length")]
    for name in ("Show all (10,000,000 characters)", "Show more of it", "Show less"):
        page.get_by_role("button", name=name).click()
        sizes.append(text.evaluate("(one) => one.textContent.length"))
    assert sizes == [361, 20_001, 40_001, 361]


def test_images_of_the_request_are_shown_and_nothing_is_fetched_from_elsewhere(shown: Shown) -> None:
    passages = [{"image": PICTURE}, {"image": "data:image/png;base64,broken", "text": "b"}, {"image": "http://127.0.0.1:9/spy.png", "text": HOSTILE}]
    page = shown.show(ranked(passages, [3.0, 2.0, 1.0]))
    rows = page.locator(".answer-row")
    expect(rows.nth(0).get_by_role("img", name="Image of number 1")).to_be_visible()
    expect(rows.nth(1)).to_contain_text("This browser cannot show the image.")
    expect(rows.nth(2)).to_contain_text("nothing is fetched from elsewhere")
    assert page.locator("#out img").count() == 1


def test_what_the_headers_remark_is_said_and_what_they_do_not_say_is_not_known(shown: Shown) -> None:
    told = {"emberank-truncated": "0,1", "emberank-random-weights": "true", "emberank-fallback": "other@v2", "emberank-ignored-fields": HOSTILE}
    page = shown.show(ranked(["a", "b"], [1.0, 0.0]) | {"headers": HEADERS | told})
    for words in ("passages 1 and 2", "These weights are random", "other@v2 answered in this model’s place", HOSTILE):
        expect(page.locator("#out")).to_contain_text(words)
    facts = {one.get_attribute("data-fact"): one.locator("dd").inner_text() for one in page.locator("[data-fact]").all()}
    assert facts["held"] == "987 ms"
    assert (facts["queue"], facts["model"], facts["tokens"], facts["target"]) == ("0.18 ms", "110 ms", "471", "CPU in local")
    assert facts["cost"].splitlines()[0] == "0.000000123456 USD"
    page = shown.show(ranked(["a"], [1.0]) | {"headers": {}})
    facts = {one.get_attribute("data-fact"): one.locator("dd").inner_text() for one in page.locator("[data-fact]").all()}
    assert {facts[name] for name in ("held", "queue", "model", "cost", "target", "version", "id")} == {"not known"}


def test_the_raw_json_is_the_requests_and_the_answers_and_can_be_copied_and_kept(shown: Shown) -> None:
    one = ranked(["a", HOSTILE, "long " * 60_000], [0.5, 0.25, -1.0])
    page = shown.show(one)
    page.get_by_text("Raw JSON of request and answer").click()
    request, answer = (page.locator(f'[data-raw="{name}"]') for name in ("request", "answer"))
    assert json.loads(answer.locator("pre").inner_text()) == one["answer"]
    assert len(request.locator("pre").inner_text()) == 200_000
    expect(request.locator(".note")).to_contain_text("Only the first 200,000 characters are shown")
    assert json.loads(shown.copied(request.get_by_role("button").first)) == one["body"]
    with page.expect_download() as kept:
        request.get_by_role("button", name="Download").click()
    download: Download = kept.value
    assert download.suggested_filename == "model-request.json"
    assert json.loads(download.path().read_text("utf-8")) == one["body"]
    assert shown.copied(page.locator('[data-fact="id"] button')) == HEADERS["x-request-id"]


@pytest.mark.parametrize(("kind", "in_text"), [("float", False), ("float", True), ("int8", False), ("ubinary", True)])
def test_vectors_have_a_table_of_cosines_whatever_their_type(shown: Shown, kind: str, in_text: bool) -> None:
    vectors = some(4, 64)
    page = shown.show(embedded(["a", HOSTILE, "c", "d"], vectors, kind, in_text))
    directions = np.where(vectors > 0, 1, -1) / 8 if kind == "ubinary" else vectors
    said = [[float(cell.inner_text().replace("−", "-")) for cell in row.locator("td").all()] for row in page.locator(".answer-matrix tbody tr").all()]
    np.testing.assert_allclose(said, directions @ directions.T, atol=0.016)
    expect(page.locator(".answer-matrix tbody th").nth(1)).to_contain_text("<img src=x")
    expect(page.locator(".answer-vectors h3")).to_have_text("4 vectors of 64 dimensions")


def test_the_map_is_walked_by_keyboard_and_says_what_each_point_is(shown: Shown) -> None:
    page = shown.show(embedded(["apples", "pears", "plums", "stocks"], np.eye(4, 16)))
    assert page.locator('.answer-point[tabindex="0"]').count() == 1
    page.locator(".answer-point").first.focus()
    said = []
    for key in ("ArrowRight", "End", "ArrowRight", "Home", "ArrowLeft"):
        page.keyboard.press(key)
        said.append((page.evaluate("document.activeElement.getAttribute('aria-label')"), page.locator(".answer-detail").inner_text()))
    words = ["2: pears", "4: stocks", "4: stocks", "1: apples", "1: apples"]
    assert said == [(each, each) for each in words]
    expect(page.locator(".answer-shares")).to_contain_text("together 66.7 %")


@pytest.mark.parametrize(("many", "words"), [(1, "One input alone"), (2, "Two inputs always lie on one line"), (5, "All vectors are the same")])
def test_inputs_that_make_no_map_are_told_so(shown: Shown, many: int, words: str) -> None:
    page = shown.show(embedded(["same"] * many, np.repeat(some(1), many, axis=0)))
    expect(page.locator("#out")).to_contain_text(words)
    assert page.locator(".answer-point").count() == 0


def test_two_thousand_vectors_are_a_bounded_page(shown: Shown) -> None:
    page = shown.show(embedded([f"text {i}" for i in range(2000)], some(2000, 32)))
    assert page.locator(".answer-matrix tbody tr").count() == 40
    assert page.locator(".answer-preview tbody tr").count() == 20
    assert page.locator("#out *").count() < 3000
    expect(page.locator(".answer-likeness")).to_contain_text("the first 40 of 2,000 inputs")


def test_two_rankings_are_compared_by_places(shown: Shown) -> None:
    texts = ["a", "b", "c", HOSTILE]
    page = shown.show(ranked(texts, [4.0, 3.0, 2.0, 1.0]), ranked(texts, [3.0, 4.0, 2.0, 1.0], x_emberank_model="other@v1"))
    facts = dict(zip(page.locator(".answer-agreement dt").all_inner_texts(), page.locator(".answer-agreement dd").all_inner_texts(), strict=True))
    assert facts["Kendall’s τ"].splitlines()[0] == "0.67"  # one of six pairs turned round
    assert facts["Best 3 in common"].splitlines()[0] == "3 of 3"
    assert facts["A’s best"].splitlines()[0] == "B has it at 2"
    assert page.locator(".answer-places tbody .answer-moved").all_inner_texts() == ["▼ down 1", "▲ up 1", "= same place", "= same place"]
    expect(page.locator(".answer-orders")).to_contain_text("numbers cannot")
    assert page.locator(".answer-side .answer-ranking").count() == 2


def test_two_embedders_are_compared_by_their_similarities_whatever_their_dimensions(shown: Shown) -> None:
    left, right = some(5, 16), some(5, 24)
    page = shown.show(embedded(list("abcde"), left), embedded(list("abcde"), right))
    gaps = np.abs(left @ left.T - right @ right.T)[np.triu_indices(5, 1)]
    facts = dict(zip(page.locator(".answer-agreement dt").all_inner_texts(), page.locator(".answer-agreement dd").all_inner_texts(), strict=True))
    assert float(facts["Mean difference of cosines"].splitlines()[0]) == pytest.approx(gaps.mean(), abs=0.001)
    assert abs(float(facts["Largest difference"].splitlines()[0].replace("−", "-"))) == pytest.approx(gaps.max(), abs=0.001)
    assert facts["Dimensions"].splitlines()[0] == "A 16, B 24"


def test_where_one_of_two_failed_the_other_one_is_shown_beside_the_error(shown: Shown) -> None:
    page = shown.show(ranked(["a"], [1.0]), failed(503, HOSTILE))
    expect(page.locator('[data-side="A"] .answer-row')).to_have_count(1)
    expect(page.locator('[data-side="B"] .answer-failure')).to_contain_text(HOSTILE)
    expect(page.locator('[data-side="B"]')).to_contain_text("No answer: status 503")
    expect(page.locator(".answer-comparison")).to_contain_text("Only one of the two answered")


@pytest.mark.parametrize(
    "answer",
    [{}, {"rankings": []}, {"rankings": [None, 7, {"index": 4, "logit": 1}]}, {"data": []}, {"data": [None, {"index": 0, "embedding": "%"}]}, [], "text", 7],
)
def test_an_answer_that_is_none_is_no_end_of_the_page(shown: Shown, answer: Any) -> None:
    page = shown.show(run("rank", {}, orjson.dumps(answer)))
    expect(page.locator("[data-answer]")).to_have_count(1)
    page.get_by_text("Raw JSON of request and answer").click()
    assert json.loads(page.locator('[data-raw="answer"] pre').inner_text()) == answer
    shown.show(run("rank", {}, orjson.dumps(answer)), run("rank", {}, orjson.dumps(answer)))
    expect(page.locator(".answer-side")).to_have_count(2)


def test_an_answer_whose_view_cannot_be_loaded_is_shown_as_it_came(shown: Shown) -> None:
    shown.faults.bear(r"/assets/answer_\w+\.js")  # the view, and what it needs
    shown.away = True
    page = shown.show(ranked(["a"], [1.0]))
    expect(page.locator("#out")).to_contain_text("could not be loaded: the server is away")
    expect(page.locator('[data-fact="target"]')).to_contain_text("CPU in local")
    shown.away = False
    shown.show(ranked(["a"], [1.0]))
    expect(page.locator(".answer-row")).to_have_count(1)


def test_an_answer_that_comes_late_does_not_replace_a_later_one(shown: Shown) -> None:
    shown.page.evaluate("(runs) => Promise.all(runs.map((run) => window.showRuns([run])))", [ranked(["first"], [1.0]), failed(500, "the later one")])
    expect(shown.page.locator("#out")).to_contain_text("the later one")
    assert shown.page.locator(".answer-row").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_kept_from_reading_any_view(shown: Shown, theme: Any) -> None:
    texts = ["apples", HOSTILE, "🦇 " * 400, "seeds"]
    vectors = np.concatenate([some(3), -some(1)])
    one, other = ranked(texts, [2.0, -1.0, -3.0, 0.5], emberank_truncated="2"), embedded(texts, vectors)
    shown.page.emulate_media(color_scheme=theme)
    for runs in ([one], [other], [one, one], [other, other], [one, failed(429, "later")], [failed(400, "no")]):
        shown.show(*runs)
        barriers = shown.barriers()
        assert not barriers, "\n".join(barriers)
        for width in (390, 1280, 1920):
            shown.page.set_viewport_size({"width": width, "height": 900})
            assert shown.overflow() == [], width
