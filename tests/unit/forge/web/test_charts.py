"""Pictures: round marks around any values, well-formed whatever is in a name, and words for who does not see them."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.forge.web.model.charts import Moment, Spot, axis, bins_of, histogram, scatter, timeline

HOSTILE = "</svg><script>alert(1)</script>&\"'"
TIMES = st.floats(1e-6, 1e7)


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 10, (0, 2, 4, 6, 8, 10)),
        (181, 190, (180, 182, 184, 186, 188, 190)),
        (0, 0.93, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (35, 35, (33, 34, 35, 36, 37)),
        (0, 0, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_marks_are_round_and_enclose_the_values(low: float, high: float, marks: tuple[float, ...]) -> None:
    assert axis(low, high).marks == pytest.approx(marks)


@given(low=TIMES, high=TIMES)
def test_any_two_values_get_a_few_marks_that_enclose_them(low: float, high: float) -> None:
    low, high = sorted((low, high))
    marks = axis(low, high).marks
    assert 2 <= len(marks) <= 8
    assert marks[0] <= low * (1 + 1e-9)
    assert marks[-1] >= high * (1 - 1e-9)


@given(values=st.lists(TIMES, min_size=1, max_size=200))
def test_a_histogram_counts_every_value_once_and_stays_inside(values: list[float]) -> None:
    drawn = ElementTree.fromstring(histogram("h", "times", values, middle=(min(values), max(values)), lines=[("p50", values[0])]))
    bars = [each for each in drawn if each.get("class") == "bar"]
    assert bars
    for each in bars:
        assert 0 <= float(each.attrib["x"]) <= float(each.attrib["x"]) + float(each.attrib["width"]) <= 360
        assert 0 <= float(each.attrib["y"]) <= 210
        assert float(each.attrib["height"]) > 0


@pytest.mark.parametrize("values", [[5.0], [1.0, 1.0, 1.0], [186.0 + i / 7 for i in range(300)]])
def test_every_value_is_counted_in_one_bar_and_the_bars_lie_side_by_side(values: list[float]) -> None:
    bars = bins_of(values)
    assert sum(number for _, _, number in bars) == len(values)
    assert all(abs(first[1] - second[0]) < 1e-6 for first, second in itertools.pairwise(bars))
    assert bars[0][0] <= min(values) <= max(values) <= bars[-1][1] + 1e-6


def test_what_the_targets_have_in_common_is_told_in_the_picture_and_to_who_does_not_see_it() -> None:
    spots = [Spot(name="L40S", model_ms=35, usd_per_hour=1.82)]
    drawn = ElementTree.fromstring(scatter("s", "all", spots, said=" At nDCG@10 0.41.", note="nDCG@10 0.41"))
    assert str(drawn[1].text).endswith("At nDCG@10 0.41.")
    assert "nDCG@10 0.41" in [each.text for each in drawn]


def test_a_timeline_marks_each_start_by_what_became_of_it() -> None:
    moments = [Moment(at_s=1.0, took_s=240.0, mark="first"), Moment(at_s=2.0, took_s=93.0, mark="cached"), Moment(at_s=3.0, took_s=None, mark="failed")]
    drawn = ElementTree.fromstring(timeline("t", "starts", moments, ("21 Nov 10:00", "21 Nov 11:00")))
    assert [each.get("class") for each in drawn if each.tag in ("circle", "path")] == ["dot first", "dot cached", "cross"]
    assert drawn[1].text == "3 starts from 21 Nov 10:00 to 21 Nov 11:00, between 93 and 240 seconds, 1 failed"


def test_starts_of_one_moment_and_starts_that_all_failed_are_drawn() -> None:
    moments = [Moment(at_s=1.0, took_s=None, mark="failed")] * 2
    assert "none became ready" in str(ElementTree.fromstring(timeline("t", "starts", moments, ("now", "now")))[1].text)


def test_further_left_is_faster_and_further_down_is_cheaper() -> None:
    spots = [Spot(name="L40S", model_ms=35, usd_per_hour=1.82), Spot(name="B200", model_ms=186, usd_per_hour=7.15, selected=True)]
    fast, slow = (each for each in ElementTree.fromstring(scatter("s", "all", spots)) if each.tag == "circle")
    assert float(fast.attrib["cx"]) < float(slow.attrib["cx"])
    assert float(fast.attrib["cy"]) > float(slow.attrib["cy"])
    assert "chosen" in slow.attrib["class"]
    assert "chosen" not in fast.attrib["class"]


def test_names_of_targets_that_lie_close_do_not_stand_on_each_other() -> None:
    spots = [Spot(name=f"{gpu} in us-central1", model_ms=ms, usd_per_hour=1.8) for gpu, ms in (("L40S", 400), ("RTX6000", 455), ("H100", 430))]
    names = [each for each in ElementTree.fromstring(scatter("s", "all", spots)) if each.get("class") == "name"]
    heights = sorted(float(each.attrib["y"]) for each in names)
    assert all(second - first >= 12 for first, second in itertools.pairwise(heights))


def test_hostile_text_stays_text() -> None:
    pictures = [
        histogram("h", HOSTILE, [1.0], middle=None, lines=[(HOSTILE, 1.0)]),
        timeline("t", HOSTILE, [Moment(at_s=1.0, took_s=1.0, mark="cached")], (HOSTILE, "now")),
        scatter("s", HOSTILE, [Spot(name=HOSTILE, model_ms=1.0, usd_per_hour=1.0)]),
    ]
    for picture in pictures:
        drawn = ElementTree.fromstring(picture)
        assert drawn[0].text == HOSTILE
        assert "script" not in {each.tag for each in drawn.iter()}
