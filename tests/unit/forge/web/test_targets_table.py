"""The target table on the page: what a script compares rows by, what stands behind a status, and when a row is called the fastest."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

from control_plane import B200, L40S, LOCAL, NVIDIA, POOLS, Plane, price, probed, started
from emberank.forge.samples import Sample
from emberank.forge.targets import Pool
from page_checks import check_page, text_of
from wire import Client

Launch = Callable[..., Plane]
PAGE = f"/models/{NVIDIA}"


def targets(plane: Plane, path: str = PAGE) -> str:
    """The section of the table."""
    html = check_page(Client(plane.port).get(path))
    return html.split('<section class="block" id="targets"')[1].split("</section>")[0]


def rows(html: str) -> dict[str, dict[str, str]]:
    """The data of every row by its target."""
    found = {}
    for row in re.findall(r"<tr([^>]*data-target=[^>]*)>", html):
        data = {name: unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', row)}
        found[data.pop("target")] = data
    return found


def traffic(ms: float, tokens: int, target: tuple[str, str]) -> list[Sample]:
    facts = {"slug": NVIDIA, "version": "v1", "gpu_type": target[0], "region": target[1], "kind": "traffic", "ok": True, "tokens": tokens, "passages": 2}
    return [Sample(at_s=5.0 + i, model_ms=ms, request_ms=ms + 1, **facts) for i in range(8)]  # type: ignore[arg-type]


def test_a_row_carries_what_it_is_compared_by_and_of_which_payload(shared: Plane) -> None:
    found = rows(targets(shared))
    assert found["B200/us-central1"] == {"basis": "probe: 3 passages, 53 tokens", "ms": "186.0", "rate": ""}
    assert found["CPU/local"]["ms"] == "400.0"
    assert found["CPU/local"]["basis"] == found["B200/us-central1"]["basis"]


def test_traffic_is_compared_by_its_rate_and_never_with_a_probe(launch: Launch) -> None:
    plane = launch(samples=[*probed([186.0] * 8), *traffic(50.0, 100, LOCAL)])
    found = rows(targets(plane))
    assert found["CPU/local"] == {"basis": "traffic", "ms": "", "rate": "2000.0"}
    assert found["CPU/local"]["basis"] != found["B200/us-central1"]["basis"]


def test_what_was_not_measured_carries_nothing_to_compare(plane: Plane) -> None:
    assert {value for data in rows(targets(plane)).values() for value in data.values()} == {""}


def test_behind_a_status_stand_n_intervals_payload_and_when(launch: Launch) -> None:
    html = targets(launch(samples=[*probed([180.0, 182.0, 184.0, 186.0, 188.0, 190.0, 192.0, 194.0]), *started([93_000.0])]))
    details = re.findall(r'<button class="more" type="button" popovertarget="([^"]+)">', html)
    assert details
    assert all(f'id="{one}"' in html and " popover>" in html for one in details)
    text = text_of(html)
    assert "Measured by probes of 3 passages, 53 tokens" in text
    assert re.search(r"Model time p50 187 ms, 95 % in 18\d to 19\d ms, n = 8", text), text
    assert "Requests that succeeded 100%, n = 8" in text
    assert "Latest probe 1970-01-01 00:16:47 UTC" in text
    assert "Most memory seen 15.1 GB, n = 1" in text


def test_a_row_is_called_the_fastest_where_the_intervals_are_apart(shared: Plane) -> None:
    assert targets(shared).count('<span class="chip crowned">fastest</span>') == 1


def test_no_row_is_called_the_fastest_where_the_intervals_overlap(launch: Launch) -> None:
    near = [184.0, 185.0, 186.0, 187.0, 188.0, 189.0]
    plane = launch(samples=[*probed(near), *probed([ms + 0.5 for ms in near], LOCAL)])
    html = targets(plane)
    assert '<span class="chip crowned">fastest</span>' not in html
    assert "the order is not certain, and no row is called the fastest" in text_of(html)
    assert '<span class="chip crowned">most affordable</span>' in html


def test_too_few_runs_crown_nothing_and_the_page_says_why(launch: Launch) -> None:
    html = targets(launch(samples=probed([10.0] * 5)))
    assert "chip crowned" not in html
    assert "Fastest verified None: no target has 6 warm measurements" in text_of(html)


def test_the_baseline_is_named_below_the_table(launch: Launch) -> None:
    pools = (*POOLS, Pool(target=L40S, memory_bytes=48 * 10**9, slots=1, launcher="fake", devices=("0",), price=price(1.82)))
    plane = launch(samples=[*probed([186.0] * 8), *probed([35.0] * 8, L40S)], pools=pools)
    assert "Relative speed compares with L40S in eu-north1 ." in text_of(targets(plane))
    assert f"Relative speed compares with {B200} ." in text_of(targets(plane, f"{PAGE}?baseline=B200/us-central1"))


def test_where_no_two_rows_measured_the_same_thing_there_is_no_baseline(plane: Plane) -> None:
    assert "No two targets have comparable measurements yet" in text_of(targets(plane))


def test_every_picture_has_the_same_as_a_table_and_the_costs_name_the_quality(launch: Launch) -> None:
    plane = launch(samples=[*probed([186.0] * 8), *probed([400.0] * 8, LOCAL), *started([93_000.0, 91_000.0])])
    html = targets(plane)
    assert html.count("<summary>As a table</summary>") == 3
    text = text_of(html)
    assert "Began (UTC) Took Kind 1970-01-01 00:15:00 1m 31s weights were here" in text
    assert "B200 in us-central1 186 ms $7.15" in text
    assert "Its quality was not measured: emberank eval does." in text
