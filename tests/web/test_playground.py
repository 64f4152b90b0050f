"""The playground: a request typed, pasted, run from cold, cancelled, compared, shared and taken up again; what goes wrong is said, and nothing typed is lost."""

from __future__ import annotations

import re
from itertools import pairwise

from playwright.sync_api import Locator, expect

from up_process import KEY
from visitors import WAIT_MS, WIDTHS, Visitor, Visitors
from web_installation import BROKEN, EMBEDDER, RERANKER, Installation
from web_installation import HOSTILE as HOSTILE_MODEL

BEST = "Retrieval augmented generation combines search over external documents"
HOSTILE = "<img src=x onerror=window.ran=1><script>window.ran=2</script>"
# Writes down every phase of a run that the page marks, so that one that lasts for a moment is seen as well.
_WATCH_STEPS = """() => {
  const seen = (window.__steps = []);
  new MutationObserver(() => {
    const now = document.querySelector('[data-play-step][data-state="now"]')?.dataset.playStep;
    if (now && seen.at(-1) !== now) seen.push(now);
  }).observe(document.getElementById("play-phases"), { subtree: true, attributes: true });
}"""


def opened(visitor: Visitor, slug: str = RERANKER, query: str = "") -> Locator:
    visitor.open(f"/playground/{slug}{query}")
    expect(visitor.page.locator("#playground[data-ready]")).to_be_attached()
    return visitor.page.locator("#playground")


def passage(play: Locator, number: int) -> Locator:
    return play.locator(f"#play-item-{number}")


def run(play: Locator) -> None:
    play.get_by_role("button", name="Run", exact=True).click()


def answer(play: Locator) -> Locator:
    """The answer, once it is there."""
    found = play.locator("#play-answer")
    expect(found.locator("[data-answer]").first).to_be_visible(timeout=WAIT_MS)
    return found


def test_a_cold_model_answers_with_its_phases_scores_times_and_cost(admin: Visitor, installation: Installation) -> None:
    installation.cool(RERANKER)
    play = opened(admin)
    expect(play.locator("#play-phase")).to_have_text("cold")
    expect(play.locator("#play-target")).to_have_value("")
    admin.page.evaluate(_WATCH_STEPS)
    run(play)
    found = answer(play)
    steps = admin.page.evaluate("window.__steps")
    assert steps == sorted(steps, key=["held", "starting", "running"].index)
    assert {"held", "starting"} & set(steps)
    expect(play.locator("#play-phase")).to_have_text("warm")
    rows = found.locator(".answer-list > li")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text(BEST)
    scores = [float(one.get_attribute("data-score") or "") for one in rows.locator("[data-score]").all()]
    assert scores == sorted(scores, reverse=True)
    expect(found.locator('[data-fact="held"]')).to_contain_text(re.compile(r"\d"))
    expect(found.locator('[data-fact="cost"]')).to_contain_text("USD")
    expect(found.locator('[data-fact="target"]')).to_contain_text("CPU in local")
    found.get_by_text("Raw JSON of request and answer").click()
    expect(found.locator('[data-raw="answer"] pre')).to_contain_text('"rankings"')
    assert admin.moved() <= 0.1
    for theme in ("light", "dark"):
        admin.page.emulate_media(color_scheme=theme)
        barriers = admin.barriers()
        assert not barriers, "\n".join([theme, *barriers])
    for width in WIDTHS:
        admin.page.set_viewport_size({"width": width, "height": 900})
        assert admin.overflow() == [], width


def test_a_cold_start_is_told_to_who_cannot_see_it_and_not_told_twice(admin: Visitor, installation: Installation) -> None:
    installation.cool(RERANKER)
    play = opened(admin)
    admin.listen()
    run(play)
    answer(play)
    expect(play.locator("#play-now")).to_contain_text(re.compile(r"^Answered"))
    said = admin.heard()
    assert any("tarting" in one or one.startswith("Held") for one in said), said
    assert any(one.startswith("Answered") for one in said), said
    assert [one for one, following in pairwise(said) if one == following] == []
    # The clock runs ten times a second beside it, and is not read out.
    assert len(said) < 25, said


def test_passages_are_added_moved_removed_and_brought_back(admin: Visitor) -> None:
    play = opened(admin)
    first, second = passage(play, 1).input_value(), passage(play, 2).input_value()
    play.get_by_role("button", name="Add passage").click()
    expect(passage(play, 4)).to_be_focused()
    admin.page.keyboard.type("one more")
    play.get_by_role("button", name="Move passage 1 down").click()
    expect(passage(play, 1)).to_have_value(second)
    passage(play, 2).focus()
    admin.page.keyboard.press("Alt+ArrowUp")
    expect(passage(play, 1)).to_have_value(first)
    play.get_by_role("button", name="Remove passage 4").click()
    expect(play.locator("[data-play-item]")).to_have_count(3)
    play.locator("#play-undo").click()
    expect(passage(play, 4)).to_have_value("one more")


def test_a_list_is_pasted_and_what_does_not_fit_is_said(admin: Visitor) -> None:
    play = opened(admin)
    most = int(re.sub(r"\D", "", play.locator("#play-count").inner_text().rpartition(" ")[2]))
    play.get_by_role("button", name="Paste a list or choose a file").click()
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_label("Text", exact=True).fill("\n".join(f"passage number {i}" for i in range(most + 88)))
    expect(dialog.get_by_role("status")).to_contain_text(f"88 more than one request takes ({most:,})")
    dialog.get_by_role("button", name=f"Use {most:,} passages").click()
    expect(play.locator("[data-play-item]")).to_have_count(most)
    expect(play.locator("#play-said")).to_contain_text(f"{most:,} passages taken")


def test_ten_megabytes_in_one_field_are_refused_with_words_and_change_nothing(admin: Visitor) -> None:
    play = opened(admin)
    had = passage(play, 1).input_value()
    passage(play, 1).focus()
    passage(play, 1).evaluate("""(field) => {
      const data = new DataTransfer();
      data.setData("text/plain", "word ".repeat(2_000_000));
      field.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    }""")
    expect(play.locator("#play-said")).to_contain_text("What you pasted has 10,000,000 characters")
    expect(passage(play, 1)).to_have_value(had)


def test_what_was_typed_is_still_there_after_a_reload_and_comes_from_a_link(visitors: Visitors, installation: Installation, admin: Visitor) -> None:
    play = opened(admin)
    passage(play, 1).fill(f"mine {HOSTILE}")
    play.locator("#play-query").fill("which one?")
    play.get_by_role("button", name="Share").click()
    expect(play.locator("#play-link")).to_have_value(re.compile(r"#try="))
    link = play.locator("#play-link").input_value()
    admin.page.reload()
    expect(passage(play, 1)).to_have_value(f"mine {HOSTILE}")
    other: Visitor = visitors(installation, signed_in=True)
    other.open(link)
    expect(other.page.locator("#play-query")).to_have_value("which one?")
    expect(other.page.locator("#play-item-1")).to_have_value(f"mine {HOSTILE}")
    expect(other.page.locator("#play-answer")).to_be_empty()
    run(other.page.locator("#playground"))
    expect(answer(other.page.locator("#playground"))).to_contain_text(f"mine {HOSTILE}")
    assert other.page.evaluate("window.ran ?? 'nothing ran'") == "nothing ran"
    other.page.locator("#play-history summary").click()
    expect(other.page.locator("#play-runs li")).to_have_count(1)
    other.page.locator("#play-query").fill("something else")
    other.page.get_by_role("button", name=re.compile("^Take up again")).click()
    expect(other.page.locator("#play-query")).to_have_value("which one?")


def test_a_run_that_waits_for_a_cold_model_can_be_cancelled(admin: Visitor, installation: Installation) -> None:
    installation.cool(RERANKER)
    play = opened(admin)
    passage(play, 1).fill("kept")
    run(play)
    play.get_by_role("button", name="Cancel", exact=True).click()
    expect(play.locator("#play-fault")).to_contain_text(re.compile("cancel", re.IGNORECASE))
    expect(passage(play, 1)).to_have_value("kept")
    play.locator("[data-play-again]").click()
    expect(answer(play)).to_contain_text("kept")


def test_vectors_have_a_matrix_and_a_map(admin: Visitor) -> None:
    play = opened(admin, EMBEDDER)
    run(play)
    found = answer(play)
    expect(found).to_contain_text("vectors of 384 dimensions")
    expect(found.locator(".answer-matrix tbody tr").first).to_be_visible()
    expect(found.locator(".answer-map-frame svg")).to_be_visible()
    barriers = admin.barriers()
    assert not barriers, "\n".join(barriers)
    for width in WIDTHS:
        admin.page.set_viewport_size({"width": width, "height": 900})
        assert admin.overflow() == [], width


def test_two_models_are_compared_and_the_address_says_which(admin: Visitor, installation: Installation) -> None:
    installation.warm(HOSTILE_MODEL)
    play = opened(admin, query=f"?with={HOSTILE_MODEL}")
    expect(play.locator("#play-with")).to_have_value(HOSTILE_MODEL)
    passage(play, 1).fill(f"mine {HOSTILE}")
    run(play)
    found = answer(play)
    expect(found.locator(".answer-side")).to_have_count(2)
    for side in found.locator(".answer-side").all():
        expect(side).to_contain_text(f"mine {HOSTILE}")
    expect(found).to_contain_text("Kendall’s τ")
    assert admin.page.evaluate("window.ran ?? 'nothing ran'") == "nothing ran"
    barriers = admin.barriers("#play-answer-panel")
    assert not barriers, "\n".join(barriers)
    for width in WIDTHS:
        admin.page.set_viewport_size({"width": width, "height": 900})
        assert admin.overflow() == [], width
    admin.page.reload()
    expect(play.locator("#play-with")).to_have_value(HOSTILE_MODEL)
    expect(passage(play, 1)).to_have_value(f"mine {HOSTILE}")


def test_two_targets_are_compared_side_by_side(admin: Visitor) -> None:
    play = opened(admin)
    play.get_by_text("Compare with another model or target").click()
    play.get_by_label("Compare with", exact=True).select_option("The same model, elsewhere")
    play.get_by_label("Its target").select_option("CPU/local")
    run(play)
    found = answer(play)
    expect(found).to_contain_text("A and B compared")
    expect(found.locator(".answer-side")).to_have_count(2)
    expect(found).to_contain_text("Kendall’s τ")
    assert admin.overflow() == []


def test_whoever_is_not_signed_in_comes_back_with_all_that_was_typed(visitor: Visitor) -> None:
    visitor.open(f"/models/{RERANKER}")
    visitor.page.locator("#play-query").fill("my own question")
    visitor.press("Sign in and run")
    visitor.sign_in_by_key(KEY)
    visitor.at(re.compile(rf"/models/{RERANKER}"))
    expect(visitor.page.locator("#play-query")).to_have_value("my own question")
    run(visitor.page.locator("#playground"))
    answer(visitor.page.locator("#playground"))


def test_a_session_that_ended_meanwhile_costs_nothing_that_was_typed(visitors: Visitors, installation: Installation) -> None:
    made = installation.key("inference", "read")
    visitor = visitors(installation)
    visitor.open(f"/signin?next=/playground/{RERANKER}")
    visitor.sign_in_by_key(made["key"])
    play = visitor.page.locator("#playground")
    passage(play, 1).fill("kept for later")
    installation.revoke(made["key_id"])
    visitor.faults.bear("^answered: 40[13] ")
    run(play)
    expect(play.locator("#play-fault")).to_contain_text(re.compile("sign", re.IGNORECASE))
    expect(passage(play, 1)).to_have_value("kept for later")
    with visitor.context.expect_page() as tab:
        play.get_by_role("link", name="Sign in in a new tab").click()
    tab.value.get_by_label("API key").fill(KEY)
    tab.value.get_by_role("button", name="Sign in").click()
    expect(tab.value.locator("#play-item-1")).to_have_value("kept for later")
    play.locator("[data-play-again]").click()
    expect(answer(play)).to_contain_text("kept for later")


def test_a_cold_start_that_fails_says_why_and_what_to_do(admin: Visitor) -> None:
    play = opened(admin, BROKEN)
    passage(play, 1).fill("kept")
    admin.faults.bear("^answered: 50[0-9] POST /web/api/v1/inference/gone-away")
    run(play)
    fault = play.locator("#play-fault")
    expect(fault.locator("strong")).to_be_visible(timeout=WAIT_MS)
    expect(fault).to_contain_text(re.compile("config.json|gone|folder|no such", re.IGNORECASE))
    expect(passage(play, 1)).to_have_value("kept")
    admin.open(f"/models/{BROKEN}")
    expect(admin.page.locator("#status .phase")).to_have_text(re.compile("failed|cold"))


def test_a_picture_for_a_model_of_texts_is_refused_with_words(admin: Visitor) -> None:
    play = opened(admin)
    play.locator("#play-form").evaluate("""(form) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array([1, 2, 3])], "broken.png", { type: "image/png" }));
      form.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    expect(play.locator("#play-said")).to_contain_text("“broken.png” was not added")


def test_without_javascript_it_says_so_and_leads_to_the_snippets(visitors: Visitors, installation: Installation) -> None:
    plain: Visitor = visitors(installation, java_script_enabled=False, signed_in=True)
    plain.open(f"/playground/{RERANKER}")
    expect(plain.page.locator("noscript .warning")).to_be_visible()
    plain.page.get_by_role("link", name="the snippets of this model").click()
    plain.at(re.compile(rf"/models/{RERANKER}#use$"))
