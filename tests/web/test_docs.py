"""The documentation in the app: found by search while one types, read page by page, copied from; and the API tried out in its viewer."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from up_process import KEY
from visitors import Visitor, Visitors
from web_installation import Installation


def test_the_docs_are_searched_while_one_types_and_read_on(visitor: Visitor) -> None:
    visitor.open("/")
    visitor.press("Docs", role="link")
    visitor.at("/docs")
    visitor.page.keyboard.press("/")
    expect(visitor.page.locator("#docs-q")).to_be_focused()
    visitor.page.keyboard.type("sign-in link")
    found = visitor.page.locator(".docs-results a")
    expect(found.first).to_be_visible()
    visitor.page.locator(".docs-results a[href^='/docs/howto/web']").first.click()
    visitor.at(re.compile(r"/docs/howto/web(#.*)?$"))
    expect(visitor.page.locator("h1")).to_have_text("The pages in the browser")
    visitor.page.locator(".docs-contents.docs-side").get_by_role("link", name="Sessions").click()
    visitor.at("/docs/howto/web#sessions")
    visitor.press(re.compile("^Next"), role="link")
    expect(visitor.page.locator("article h1")).to_be_visible()


def test_enter_leads_to_a_page_of_results_that_has_an_address_and_goes_on_with_what_is_typed(visitor: Visitor) -> None:
    visitor.open("/docs")
    field, keys = visitor.page.locator("#docs-q"), visitor.page.keyboard
    field.focus()
    keys.type("budget")
    keys.press("Enter")
    visitor.at("/docs/search?q=budget")
    expect(field).to_have_value("budget")
    found = visitor.page.locator(".docs-results a")
    expect(found.first).to_be_visible()
    field.press("End")
    keys.type("zzz")
    visitor.at("/docs/search?q=budgetzzz")
    expect(found).to_have_count(0)
    expect(visitor.page.locator("#docs-found [role=status]")).to_contain_text("budgetzzz")
    field.fill("EMBERANK_OIDC_ISSUER")
    visitor.at("/docs/search?q=EMBERANK_OIDC_ISSUER")
    expect(found.first).to_contain_text(re.compile("setting|OpenID", re.IGNORECASE))
    visitor.page.reload()
    expect(found.first).to_be_visible()
    barriers = visitor.barriers()
    assert not barriers, "\n".join(barriers)
    # On another page Escape puts away what was found.
    visitor.open("/docs/howto/web")
    field.fill("budget")
    expect(found.first).to_be_visible()
    field.press("Escape")
    expect(visitor.page.locator("#docs-found")).to_be_hidden()
    expect(field).to_have_value("")


def test_a_block_of_the_docs_is_copied_as_it_stands(visitor: Visitor) -> None:
    visitor.open("/docs/howto/web")
    button = visitor.page.locator("article button[data-copy]").first
    block = visitor.page.locator(f"#{button.get_attribute('data-copy')}")
    assert visitor.copied(button) == block.text_content()


def test_every_link_between_the_pages_of_the_docs_leads_somewhere(visitor: Visitor, installation: Installation) -> None:
    visitor.open("/docs")
    pages = {link.get_attribute("href") or "" for link in visitor.page.locator("main a[href^='/docs/']").all()}
    assert len(pages) > 10
    wrong = []
    for page in sorted(pages):
        html = visitor.page.evaluate("(page) => fetch(page).then((answer) => answer.text())", page.partition("#")[0])
        for other in set(re.findall(r'href="(/[^"#]*)', html)):
            status = visitor.page.evaluate("(page) => fetch(page, { method: 'HEAD' }).then((answer) => answer.status)", other) if other not in pages else 200
            if status >= 400:
                wrong.append(f"{page} leads to {other}: {status}")
    assert not wrong, "\n".join(wrong)


def test_the_api_is_tried_out_in_its_viewer_with_a_key(visitor: Visitor, installation: Installation) -> None:
    visitor.open("/docs/api")
    page = visitor.page
    expect(page.locator("#docs-api .opblock").first).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").first.fill(KEY)
    page.locator(".modal-ux").get_by_role("button", name=re.compile("^Apply|^Authorize")).first.click()
    page.locator(".modal-ux").get_by_role("button", name="Close").first.click()
    block = page.locator(".opblock", has=page.locator('[data-path="/v1/models"]')).first
    block.locator(".opblock-summary-control").first.click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    # The key was for this page, and is nowhere else.
    assert KEY not in str(visitor.context.storage_state())


def test_the_docs_and_the_routes_can_be_read_without_javascript(visitors: Visitors, installation: Installation) -> None:
    plain: Visitor = visitors(installation, java_script_enabled=False)
    plain.open("/docs")
    plain.page.locator("#docs-q").fill("budget")
    plain.press("Search")
    expect(plain.page.locator(".docs-results a").first).to_be_visible()
    plain.open("/docs/api")
    plain.page.locator("main").get_by_role("link", name="All routes").first.click()
    plain.at("/docs/routes")
    plain.sees("/v1/ranking")
