"""live.js in a browser: one stream for all who ask for the same, none for a page that nobody looks at, and questions now and then where there are no streams."""

from __future__ import annotations

from typing import Any

import pytest

from visitors import Visitor
from web_installation import RERANKER, Installation

COUNT = """
window.streams = [];
const Real = window.EventSource;
window.EventSource = class extends Real { constructor(address) { super(address); window.streams.push(this); } };
window.open_streams = () => window.streams.filter((one) => one.readyState !== Real.CLOSED).length;
window.listen = async (options = {}) => {
  const { live } = await import("/assets/live.js");
  const heard = { phases: [], model: [] };
  heard.end = live({ ...options, onPhases: (said) => heard.phases.push(said), onModel: (said) => heard.model.push(said) });
  return heard;
};
window.look = (state) => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


@pytest.fixture
def page(visitor: Visitor) -> Any:
    """A page that asks for nothing by itself."""
    visitor.context.add_init_script(COUNT)
    visitor.open("/signin")
    return visitor.page


def listen(page: Any, name: str, **options: str) -> None:
    page.evaluate("async ([name, options]) => { window[name] = await window.listen(options); }", [name, options])


def test_who_asks_for_the_same_shares_a_stream_and_hears_what_was_said_before(page: Any, installation: Installation) -> None:
    installation.cool(RERANKER)
    listen(page, "first", model=RERANKER)
    page.wait_for_function("() => first.model.length && first.phases.length")
    listen(page, "second", model=RERANKER)
    page.wait_for_function("() => second.model.length && second.phases.length")
    assert page.evaluate("open_streams()") == 1
    installation.warm(RERANKER)
    for name in ("first", "second"):
        page.wait_for_function(f"() => {name}.phases.at(-1)['{RERANKER}'] === 'WARM' && {name}.model.at(-1).phase === 'WARM'")
    page.evaluate("first.end.stop()")
    assert page.evaluate("open_streams()") == 1
    said = page.evaluate("first.phases.length")
    installation.cool(RERANKER)
    page.wait_for_function("() => second.model.at(-1).phase === 'COLD'")
    assert page.evaluate("first.phases.length") == said
    page.evaluate("second.end.stop()")
    assert page.evaluate("open_streams()") == 0
    listen(page, "third", model=RERANKER)
    page.wait_for_function("() => third.model.length && open_streams() === 1")


def test_a_page_that_nobody_looks_at_has_no_stream(page: Any) -> None:
    listen(page, "heard")
    page.wait_for_function("() => heard.phases.length")
    page.evaluate("look('hidden')")
    assert page.evaluate("open_streams()") == 0
    page.evaluate("look('visible'); look('visible')")
    page.wait_for_function("() => heard.phases.length === 2")
    assert page.evaluate("open_streams()") == 1


def test_where_streams_are_refused_it_asks_now_and_then(page: Any, visitor: Visitor, installation: Installation) -> None:
    installation.warm(RERANKER)
    visitor.faults.bear("^answered: (429 GET /web/events|401 GET /web/api/v1/model-families/)")  # nobody is signed in
    page.route("**/web/events*", lambda route: route.fulfill(status=429, body="{}", content_type="application/json"))
    page.clock.install()
    listen(page, "heard", model=RERANKER)
    page.wait_for_function(f"() => heard.phases.at(-1)?.['{RERANKER}'] === 'WARM'")
    assert page.evaluate("open_streams()") == 0
    page.clock.run_for(5_000)
    page.wait_for_function("() => heard.phases.length === 2")
    page.evaluate("heard.end.stop()")
