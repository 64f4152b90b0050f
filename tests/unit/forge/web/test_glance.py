"""The figures at the head of a model's page: of the selected target, each with its unit and its n, and never a zero for what was not measured."""

from __future__ import annotations

from collections.abc import Callable

from control_plane import B200, L40S, LOCAL, NVIDIA, POOLS, Plane, price, probed, started
from emberank.forge.targets import Pool
from page_checks import check_page, text_of
from wire import Client

Launch = Callable[..., Plane]
PAGE = f"/models/{NVIDIA}"


def head(plane: Plane, query: str = "") -> str:
    """The words of the panel of the selected target."""
    html = check_page(Client(plane.port).get(PAGE + query))
    return text_of(html.split('aria-labelledby="selected-title"')[1].split("</section>")[0])


def test_it_says_how_fast_how_reliable_and_at_what_price_with_n_and_units(launch: Launch) -> None:
    words = head(launch(samples=[*probed([186.0] * 8), *started([93_000.0])]), "?gpu_type=B200&region=us-central1")
    assert "Model time, p50 186 ms n = 8 probe runs" in words
    assert "Success rate 100% n = 8 requests" in words
    assert "Cold start, p50 1m 33s n = 1 start" in words
    assert "Price $7.15 per hour about $0.00037 per request" in words
    assert "Verified targets 1/" in words


def test_what_was_not_measured_is_no_figure(plane: Plane) -> None:
    words = head(plane)
    assert "Model time, p50 not measured Success rate not measured Cold start not measured Price $7.15 per hour Verified targets 0/" in words
    assert "0 ms" not in words
    assert "100%" not in words


def test_without_a_selection_it_is_of_the_fastest_verified_target_and_says_so(launch: Launch) -> None:
    pools = (*POOLS, Pool(target=L40S, memory_bytes=48 * 10**9, slots=1, launcher="fake", devices=("0",), price=price(1.82)))
    plane = launch(samples=[*probed([186.0] * 8), *probed([35.0] * 8, L40S)], pools=pools)
    assert f"On {L40S} , the verified target with the lowest model time: Model time, p50 35 ms" in head(plane)
    pinned = head(plane, "?gpu_type=B200&region=us-central1")
    assert str(L40S) not in pinned
    assert "Model time, p50 186 ms" in pinned


def test_with_half_a_selection_it_is_of_a_target_that_fits_it(launch: Launch) -> None:
    plane = launch(samples=[*probed([186.0] * 8, B200), *probed([400.0] * 8, LOCAL)])
    assert f"On {LOCAL} : Model time, p50 400 ms" in head(plane, "?region=local")


def test_where_nothing_can_run_it_the_reason_stands_there(launch: Launch) -> None:
    words = head(launch(pools=()))
    assert "No target of this installation can run it:" in words
    assert "Price" not in words
