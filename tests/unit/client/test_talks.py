"""What the clients say one after the other, without a client: requests that are several, and the start of a model from the first look to the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from emberank.client import talks
from emberank.client.calls import Call
from emberank.client.record import read
from emberank.client.records import Started, Status
from emberank.client.results import RankedPassage, Ranking
from emberank.client.talks import Pause, Progress, look_after_s
from emberank.contract.errors import BadRequest

TARGET = {"gpu_type": "B200", "region": "us-central1"}


def held(talk: Any, answer: Callable[[Call[Any]], Any]) -> tuple[list[Any], Any]:
    """What a talk says, and its result."""
    said: list[Any] = []
    reply = None
    while True:
        try:
            step = talk.send(reply)
        except StopIteration as end:
            return said, end.value
        said.append(step)
        reply = answer(step) if isinstance(step, Call) else None


def ranking(call: Call[Any], **more: Any) -> Ranking:
    """Of passages that are numbers: each is its own logit, best first, and its half is its score."""
    body = orjson.loads(call.body)
    logits = [float(passage["text"]) for passage in body["passages"]]
    order = sorted(range(len(logits)), key=lambda i: -logits[i])[: body.get("top_n")]
    known: dict[str, Any] = {
        "prompt_tokens": len(logits),
        "request_id": f"r{len(logits)}",
        "target": ("CPU", "local"),
        "cost_usd": 0.5,
        "timings": {"engine": 2.0},
    }
    return Ranking(rankings=tuple(RankedPassage(i, logits[i], logits[i] / 2) for i in order), **known | more)


def test_more_passages_than_a_request_takes_are_ranked_in_several_and_come_back_as_one() -> None:
    passages = ["1", "5", "3", "5", "0", "9", "2"]
    said, got = held(talks.rank("q", passages, 3, {"model": "m", "top_n": 4}), ranking)
    assert [len(orjson.loads(call.body)["passages"]) for call in said] == [3, 3, 1]
    assert list(got.rankings) == [(5, 9.0), (1, 5.0), (3, 5.0), (2, 3.0)]
    assert [place.score for place in got.rankings] == [4.5, 2.5, 2.5, 1.5]
    assert (got.prompt_tokens, got.cost_usd, got.timings, got.target, got.request_id) == (7, 1.5, {"engine": 6.0}, ("CPU", "local"), "r3")


def test_what_one_of_several_requests_does_not_say_is_not_known_of_the_whole() -> None:
    def answer(call: Call[Any]) -> Ranking:
        first = call.body.count(b'"text":"1"')
        return ranking(call, cost_usd=0.5 if first else None, target=("CPU", "local") if first else ("B200", "x"), timings={"engine": 1.0} if first else {})

    _, got = held(talks.rank("q", ["1", "2"], 1, {}), answer)
    assert (got.cost_usd, got.target, got.timings, got.prompt_tokens) == (None, None, {"engine": 1.0}, 2)


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (3, 1), (4, 2)])
def test_no_more_requests_are_made_than_are_needed(count: int, requests: int) -> None:
    said, _ = held(talks.rank("q", ["1"] * count, 3, {}), ranking)
    assert len(said) == requests


def test_texts_are_embedded_in_several_requests_too() -> None:
    def answer(call: Call[Any]) -> Any:
        return np.array([[float(text), 0] for text in orjson.loads(call.body)["input"]], np.float32)

    said, got = held(talks.embed(["1", "2", "3"], 2, {}), answer)
    assert len(said) == 2
    assert got.tolist() == [[1, 0], [2, 0], [3, 0]]


def test_one_text_is_not_a_list_of_letters() -> None:
    for talk in (talks.rank("q", "abc", 3, {}), talks.embed("abc", 3, {})):
        with pytest.raises(BadRequest, match="list of one"):
            next(talk)


# --- a start


def started(phase: str, *, cold: bool = True, startup_ms: float | None = None) -> Started:
    answer = {"slug": "m", "version": "v1", **TARGET, "phase": phase, "was_cold_start": cold, "keep_warm": False, "startup_ms": startup_ms}
    return read(Started, answer)


def status(phase: str, *, step: str | None = None, eta_s: float | None = None, **more: Any) -> Status:
    progress = None if step is None else {"step": step, "done_bytes": 5, "total_bytes": 10, "percent": 50.0, "took_s": 1.5}
    other = {"version": "v1", "gpu_type": "CPU", "region": "local", "phase": "WARM"}
    row = {"version": "v1", **TARGET, "phase": phase, "progress": progress, "eta_s": eta_s, "message": "", **more}
    return read(Status, {"slug": "m", "phase": phase, "endpoints": [other, row]})


class Forge:
    """Answers in turn, and a clock that each waiting start moves on by what it was asked to wait."""

    def __init__(self, *answers: Any, waits: bool = True) -> None:
        self.left = list(answers)
        self.now = 100.0
        self._waits = waits

    def answer(self, call: Call[Any]) -> Any:
        if self._waits and call.wait_s:
            self.now += call.wait_s
        return self.left.pop(0)

    def start(self, **more: Any) -> tuple[list[Any], Any]:
        return held(talks.start("m", {"version": "v1"}, clock=lambda: self.now, **more), self.answer)


def paths(said: list[Any]) -> list[tuple[str, int | None]]:
    return [(call.path.rpartition("/")[2].partition("?")[0], call.wait_s) for call in said if isinstance(call, Call)]


def test_a_cold_start_is_told_step_by_step_until_it_is_warm() -> None:
    forge = Forge(
        started("STARTING"),
        status("STARTING", step="fetching", eta_s=60.0),
        started("STARTING"),
        status("STARTING", step="loading", eta_s=200.0),
        started("WARM", startup_ms=812.0),
    )
    said, got = forge.start(run_until_stopped=True)
    assert paths(said) == [("start", 0), ("status", None), ("start", 3), ("status", None), ("start", 5)]
    assert [orjson.loads(call.body) for call in said if isinstance(call, Call) and call.body] == [
        {"run_until_stopped": True, "version": "v1"},
        {"version": "v1"},
        {"version": "v1"},
    ]
    told = [step for step in said if isinstance(step, Progress)]
    assert [(one.phase, one.step, one.done_bytes, one.total_bytes, one.percent, one.took_s, one.eta_s) for one in told] == [
        ("STARTING", "fetching", 5, 10, 50.0, 1.5, 60.0),
        ("STARTING", "loading", 5, 10, 50.0, 1.5, 200.0),
        ("WARM", None, None, None, None, None, None),
    ]
    assert (told[0].gpu_type, got.startup_ms, got.was_cold_start) == ("B200", 812.0, True)
    assert not any(isinstance(step, Pause) for step in said)


def test_a_warm_model_is_told_once() -> None:
    said, got = Forge(started("WARM", cold=False)).start()
    assert [type(step).__name__ for step in said] == ["Call", "Progress"]
    assert got.was_cold_start is False


def test_a_model_that_became_warm_between_two_looks_was_a_cold_start_all_the_same() -> None:
    forge = Forge(started("STARTING"), status("WARM"), started("WARM", cold=False), status("WARM", startup_ms=700.0))
    said, got = forge.start()
    assert (got.was_cold_start, got.startup_ms, got["was_cold_start"]) == (True, 700.0, True)
    assert [step.phase for step in said if isinstance(step, Progress)] == ["WARM"]


def test_a_server_that_does_not_wait_is_not_asked_without_a_pause() -> None:
    forge = Forge(started("STARTING"), status("STARTING"), started("STARTING"), status("STARTING", eta_s=80.0), started("WARM"), waits=False)
    said, _ = forge.start()
    assert [step for step in said if isinstance(step, Pause)] == [Pause(1.0)]


def test_an_endpoint_that_the_status_does_not_name_is_still_starting() -> None:
    empty = read(Status, {"slug": "m", "phase": "COLD", "endpoints": []})
    said, _ = Forge(started("STARTING"), empty, started("WARM")).start()
    assert [(step.phase, step.step) for step in said if isinstance(step, Progress)] == [("STARTING", None), ("WARM", None)]


@pytest.mark.parametrize(("eta_s", "wait_s"), [(None, 1), (0.0, 1), (10.0, 1), (60.0, 3), (1e6, 5)])
def test_looks_are_as_far_apart_as_the_start_is_long_within_bounds(eta_s: float | None, wait_s: int) -> None:
    assert look_after_s(eta_s) == wait_s
