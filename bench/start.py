"""From process start to the first correct answer, Emberank and (where asked for) Infinity in turn.

    python bench/start.py --rounds 7

The weights are on disk and, after a first start that is not counted, in the page cache. Does not know why a start takes as long as it does.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import corpus
import load
import peers
import report

POLL_S = 0.005
PREFIX_TOLERANCE = 0.003  # absolute, per value: bf16 moves a value of a unit vector of 384 by less


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start: seconds from before the process was made, and MB once it answered."""

    listening_s: float
    answered_s: float
    rss_mb: float


def main() -> None:
    peers.end_children_on_sigterm()
    options = _options()
    machine = report.machine()
    starts: dict[str, list[Start]] = {}
    for number in range(-1, options.rounds):
        for server in peers.servers(options):
            start = measure(server, options.deadline, options.prefix)
            print(f"{server.name:9} listening {start.listening_s:.3f} s  answered {start.answered_s:.3f} s  {start.rss_mb:.0f} MB", file=sys.stderr)
            if number >= 0:
                starts.setdefault(server.name, []).append(start)
    if options.json:
        facts = {"machine": machine, "starts": {name: [asdict(start) for start in many] for name, many in starts.items()}}
        report.dump(options.json, facts, _rows(starts))
    if options.json != "-":
        print(f"{machine}\n{_table(starts)}")


def measure(server: peers.Server, deadline_s: float, prefix: Sequence[float]) -> Start:
    """Start, ask every 5 ms until the answer is right, stop."""
    body = json.dumps({"input": list(corpus.KNOWN_SENTENCES), **server.fields}).encode()
    began = time.perf_counter()
    with peers.started(server) as child:
        listening = _until(lambda: _listens(server.port), child, began, deadline_s)
        answer: list[list[float]] = []

        def answers() -> bool:
            answer[:] = _ask(server, body, deadline_s)
            return bool(answer)

        answered = _until(answers, child, began, deadline_s)
        check(answer, prefix)
        return Start(listening_s=listening, answered_s=answered, rss_mb=child.rss_mb())


def check(vectors: Sequence[Sequence[float]], prefix: Sequence[float]) -> None:
    """Two sentences that say the same are closer than two that do not; with a prefix, the first one's first values are those."""
    first, alike, other = vectors
    near, far = load.cosine(first, alike), load.cosine(first, other)
    if near < far + 0.3:
        raise peers.PeerFailed(f"a wrong answer: cosine {near:.3f} for sentences that say the same, {far:.3f} for others")
    if any(abs(value - expected) > PREFIX_TOLERANCE for value, expected in zip(first, prefix, strict=False)):
        raise peers.PeerFailed(f"a wrong answer: {[round(value, 5) for value in first[: len(prefix)]]} where {list(prefix)} was expected")


def _until(holds: Callable[[], bool], child: peers.Child, began: float, deadline_s: float) -> float:
    """Try every 5 ms; the seconds since `began` when it held."""
    while (passed := time.perf_counter() - began) < deadline_s:
        child.check()
        if holds():
            return time.perf_counter() - began
        time.sleep(POLL_S)
    raise peers.PeerFailed(f"{child.server.name} gave no answer in {passed:.0f} s\n{peers.tail(child.log)}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection((peers.HOST, port), 1.0).close()
    except OSError:
        return False
    return True


def _ask(server: peers.Server, body: bytes, timeout_s: float) -> list[list[float]]:
    """The vectors, or none from a server that listens before its model is loaded, and says so or hangs up."""
    try:
        status, answer = peers.call(server.port, "POST", server.embed_path, body, timeout_s)
    except OSError:
        return []
    if status not in (200, 503):
        raise peers.PeerFailed(f"{server.name} answered {status}: {answer[:300]!r}")
    return load.vectors_of(answer, len(corpus.KNOWN_SENTENCES)) if status == 200 else []


def _rows(starts: dict[str, list[Start]]) -> list[report.Row]:
    if "infinity" not in starts:
        return []
    ours, theirs = starts["emberank"], starts["infinity"]
    times = ([start.answered_s for start in ours], [start.answered_s for start in theirs])
    return [report.Row(what="first answer", unit="s", ours=times[0], peer="infinity", theirs=times[1], goal="ours <= 1.5 s")]


def _table(starts: dict[str, list[Start]]) -> str:
    cells: list[Sequence[str]] = [("server", "listening s", "first answer s", "resident MB")]
    cells += [(name, *(report.spread([getattr(s, key) for s in many]) for key in ("listening_s", "answered_s", "rss_mb"))) for name, many in starts.items()]
    return "\n".join((report.aligned(cells), "", report.table(_rows(starts)) if "infinity" in starts else "goal: first answer <= 1.5 s"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers.add_server_options(parser)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds a start may take")
    about = f"the first values of the vector of {corpus.KNOWN_SENTENCES[0]!r}, none for a model whose values are not known (default: all-MiniLM-L6-v2's)"
    parser.add_argument("--prefix", type=float, nargs="*", default=corpus.KNOWN_PREFIX, help=about)
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-` prints them instead of the table")
    return peers.checked(parser)


if __name__ == "__main__":
    try:
        main()
    except peers.PeerFailed as problem:
        sys.exit(f"start: {problem}")
