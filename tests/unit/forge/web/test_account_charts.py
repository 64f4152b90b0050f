"""The account page's axes, and its list where keys are many."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from browser import Browser
from control_plane import ADMIN, Plane
from emberank.forge.web.account.month_chart import Layer, month_chart
from page_checks import check_page


@pytest.mark.parametrize("most", [1, 2, 3, 5, 7, 8, 25, 74, 999, 1_234_567])
def test_the_axis_of_counts_has_whole_marks_at_even_distances(most: int) -> None:
    svg = month_chart("x", "t", [Layer(colour="a", values=(float(most),))], str, lambda mark: f"{mark:g}/{mark:.3f}", str, whole=True)
    marks = [float(each) for each in re.findall(r'text-anchor="end">[^/<]*/([\d.]+)<', svg)]
    steps = {after - before for before, after in pairwise(marks)}
    assert marks[0] == 0
    assert marks[-1] >= most
    assert len(steps) == 1
    assert all(mark.is_integer() for mark in marks)


def test_the_words_beside_the_axis_have_room_at_the_left() -> None:
    svg = month_chart("x", "t", [Layer(colour="a", values=(1.0,))], str, lambda mark: "$0.0000000050", str)
    right = float(re.findall(r'<text class="tick" x="([\d.]+)"[^>]*text-anchor="end"', svg)[0])
    assert right >= 7.3 * len("$0.0000000050")  # how wide a digit of 11.5 px is in DejaVu Sans, the widest of the fonts


def test_many_keys_are_folded_away_behind_the_newest(plane: Plane, browser: Browser) -> None:
    for number in range(25):
        plane.post("/v1/keys", {"name": f"number {number}", "scopes": ["read"]})
    browser.sign_in(ADMIN)
    page = check_page(browser.get("/account"))
    shown, folded = page.split('<details class="account-ended"><summary>')[:2]
    assert (shown + folded).count("data-key=") == 26
    assert shown.count("data-key=") == 20
    assert folded.startswith("6 older active keys</summary>")
    assert "number 24" in shown
