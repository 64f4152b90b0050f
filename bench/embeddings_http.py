"""Emberank and Infinity over HTTP, side by side: the same 256 texts, 8 connections of 32 texts, 256 of one, and one short text at a time.

    python bench/embeddings_http.py --model-folder FOLDER --infinity-python ENV/bin/python --st-python ENV/bin/python

Both servers are up all the time and take turns round by round, so that a machine that drifts drifts for both; only one is under load at a time.
`bench/peers/requirements-*.txt` say how to make the two environments. Does not know what happens inside a server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import corpus
import load
import peers
import report

SWEEP = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Reference = Mapping[str, Sequence[float]]  # text → its vector from a calm server
# The library's default, and the fastest it does without other packages on a CPU with bf16 matrix products (elsewhere bf16 is emulated and slower).
ST_DTYPES = ("float32", "bfloat16") if {"amx_bf16", "avx512_bf16"} & set(report.machine()["instructions"]) else ("float32",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How many connections send how many texts each."""

    name: str
    connections: int
    batch: int
    short: bool = False


SCENARIOS = (
    Scenario(name="8 x 32", connections=8, batch=32),
    Scenario(name="256 x 1", connections=256, batch=1),
    Scenario(name="1 x 1 short", connections=1, batch=1, short=True),
)


@dataclass(slots=True)
class Log:
    """All that was measured, by (server, scenario) and by peer without HTTP."""

    runs: dict[tuple[str, str], list[load.Report]] = field(default_factory=dict)
    direct: dict[str, list[peers.Direct]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    rss_mb: dict[str, list[float]] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)  # of all texts once, as each server counts them

    def add(self, server: str, scenario: str, run: load.Report) -> None:
        """File a run and its errors."""
        self.runs.setdefault((server, scenario), []).append(run)
        self.wrong.update({f"{server}, {scenario}: {kind}": count for kind, count in run.errors.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured, how often, and on what."""

    texts: Sequence[str]
    passes: int
    short_requests: int
    max_seconds: float

    def requests(self, server: peers.Server, scenario: Scenario) -> list[load.Request]:
        """Encoded beforehand; a repeated request is the same bytes."""
        if scenario.short:
            return [_request(server, [corpus.SHORT_TEXT])] * self.short_requests
        starts = range(0, len(self.texts), scenario.batch)
        return [_request(server, self.texts[start : start + scenario.batch]) for start in starts] * self.passes


def main() -> None:
    peers.end_children_on_sigterm()
    options = _options()
    source, texts = corpus.texts(options.texts, source=options.corpus)
    bench = Bench(texts=texts, passes=options.passes, short_requests=options.short_requests, max_seconds=options.max_seconds)
    facts: dict[str, Any] = {"machine": report.machine(), "corpus": {"source": source, "texts": len(texts), "sha256": corpus.fingerprint(texts)}}
    print(facts, file=sys.stderr)
    log = Log()
    with ExitStack() as stack:
        children = [stack.enter_context(peers.running(server)) for server in peers.servers(options)]
        references = {child.server.name: _prepare(child, bench, log) for child in children}
        for number in range(-options.warmup_rounds, options.rounds):
            _round(children, references, bench, log if number >= 0 else Log(wrong=log.wrong), options)
        sweep = _sweep(children[0], references["emberank"], bench, log, options.sweep_rounds)
        for child in children:
            log.rss_mb[child.server.name].append(child.rss_mb())
        facts["padding"] = _padding(children[0])
    facts["agreement"] = _agreement(references, bench, log)
    facts["corpus"]["tokens"] = log.tokens["emberank"]
    _show(facts, log, sweep, options.json)
    sys.exit(1 if log.wrong else 0)


def _prepare(child: peers.Child, bench: Bench, log: Log) -> dict[str, list[float]]:
    """Every text's vector from a calm server: what later answers are held against. Warms up, too."""
    log.rss_mb[child.server.name] = [child.rss_mb()]
    reference: dict[str, list[float]] = {}
    for start in range(0, len(bench.texts), 16):
        some = bench.texts[start : start + 16]
        answer = _embed(child.server, some)
        log.tokens[child.server.name] += json.loads(answer).get("usage", {}).get("total_tokens", 0)
        reference |= zip(some, load.vectors_of(answer, len(some)), strict=True)
    return reference | {corpus.SHORT_TEXT: load.vectors_of(_embed(child.server, [corpus.SHORT_TEXT]), 1)[0]}


def _embed(server: peers.Server, texts: Sequence[str]) -> bytes:
    _, _, body = _request(server, texts).wire.partition(b"\r\n\r\n")
    status, answer = peers.call(server.port, "POST", server.embed_path, body)
    if status != 200:
        raise peers.PeerFailed(f"{server.name} answered {status}: {answer[:300]!r}")
    return answer


def _round(children: Sequence[peers.Child], references: Mapping[str, Reference], bench: Bench, log: Log, options: argparse.Namespace) -> None:
    for scenario in SCENARIOS:
        for child in children:
            _run(child, scenario, references[child.server.name], bench, log)
    for dtype in ST_DTYPES if options.st_python else ():
        made = peers.sentence_transformers(options.st_python, options.model_folder, bench.texts, corpus.SHORT_TEXT, bench.passes, dtype)
        log.direct.setdefault(f"sentence-transformers {dtype}", []).append(made)
    if options.bare:
        log.direct.setdefault("bare engine", []).append(peers.bare(sys.executable, bench.texts, corpus.SHORT_TEXT, bench.passes))


def _run(child: peers.Child, scenario: Scenario, reference: Reference, bench: Bench, log: Log) -> load.Report:
    server = child.server
    requests = bench.requests(server, scenario)
    run = asyncio.run(load.drive(peers.HOST, server.port, requests, scenario.connections, max_seconds=bench.max_seconds))
    child.check()
    log.add(server.name, scenario.name, run)
    log.wrong.update({f"{server.name}, {scenario.name}: {kind}": count for kind, count in load.verify(run.samples, reference).items()})
    run.samples.clear()
    latencies = f"p50 {run.p50_ms:8.1f} ms  p99 {run.p99_ms:8.1f} ms"
    print(f"{server.name:9} {scenario.name:12} {run.texts_per_s:8.1f} texts/s  {latencies}  errors {sum(run.errors.values())}  {_load()}", file=sys.stderr)
    return run


def _sweep(child: peers.Child, reference: Reference, bench: Bench, log: Log, rounds: int) -> dict[int, list[load.Report]]:
    """Single texts over more and more connections; each level answers the same texts."""
    levels: dict[int, list[load.Report]] = {level: [] for level in SWEEP}
    for _ in range(rounds):
        for level, runs in levels.items():
            runs.append(_run(child, Scenario(name=f"sweep {level}", connections=level, batch=1), reference, bench, log))
    return levels


def _agreement(references: Mapping[str, Reference], bench: Bench, log: Log) -> dict[str, dict[str, float]]:
    """How near our vectors are to each peer's: speed with other numbers is no speed."""
    peer_vectors = {peer: dict(zip(bench.texts, made[0].vectors, strict=False)) for peer, made in log.direct.items()}
    if "infinity" in references:
        peer_vectors["infinity"] = dict(references["infinity"])
    agreement = {}
    for peer, vectors in peer_vectors.items():
        cosines = [load.cosine(references["emberank"][text], vector) for text, vector in vectors.items()]
        agreement[peer] = {"texts": len(cosines), "least": min(cosines), "median": statistics.median(cosines), "below_0.999": sum(c < 0.999 for c in cosines)}
        if agreement[peer]["median"] < 0.999:  # not the least: a text over the peers' 256 tokens may rightly differ
            log.wrong[f"other vectors than {peer}"] += 1
    return agreement


def _padding(child: peers.Child) -> dict[str, str]:
    """Share of the engine's rows that were padding, by kind of layer, over all that the server has done."""
    status, body = peers.call(child.server.port, "GET", "/v1/metrics")
    samples = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#")) if status == 200 else {}
    shares = {}
    for part in ("linear", "attention"):
        rows = float(samples.get(f'emberank_engine_rows_total{{part="{part}"}}', 0))
        padding = float(samples.get(f'emberank_padding_rows_total{{part="{part}"}}', 0))
        shares[part] = f"{padding / rows:.1%}" if rows else "not said"
    return shares


def _rows(log: Log) -> list[report.Row]:
    rows: list[report.Row] = []
    for scenario in SCENARIOS:
        ours = log.runs["emberank", scenario.name]
        if theirs := log.runs.get(("infinity", scenario.name)):
            rows += _http_rows(scenario, ours, theirs)
        for peer, made in log.direct.items():
            rows.append(_direct_row(scenario, ours, peer, made))
    return rows


def _http_rows(scenario: Scenario, ours: Sequence[load.Report], theirs: Sequence[load.Report]) -> Iterable[report.Row]:
    if not scenario.short:
        speeds = ([run.texts_per_s for run in ours], [run.texts_per_s for run in theirs])
        yield report.Row(what=scenario.name, unit="texts/s", ours=speeds[0], peer="infinity", theirs=speeds[1], goal=">= 6")
    yield report.Row(what=f"{scenario.name}, p50", unit="ms", ours=[run.p50_ms for run in ours], peer="infinity", theirs=[run.p50_ms for run in theirs])
    yield report.Row(what=f"{scenario.name}, p99", unit="ms", ours=[run.p99_ms for run in ours], peer="infinity", theirs=[run.p99_ms for run in theirs])


def _direct_row(scenario: Scenario, ours: Sequence[load.Report], peer: str, made: Sequence[peers.Direct]) -> report.Row:
    if scenario.short:
        goal = "<= 1.3 x + 0.5 ms" if peer == "bare engine" else ""
        latencies = [one.short_p50_ms for one in made]
        return report.Row(what=f"{scenario.name}, p50", unit="ms", ours=[run.p50_ms for run in ours], peer=peer, theirs=latencies, goal=goal)
    goal = {"bare engine": ">= 0.95", "sentence-transformers float32": ">= 4"}.get(peer, "")
    speeds = [one.texts_per_s for one in made]
    return report.Row(what=scenario.name, unit="texts/s", ours=[run.texts_per_s for run in ours], peer=peer, theirs=speeds, goal=goal)


def _show(facts: dict[str, Any], log: Log, sweep: Mapping[int, Sequence[load.Report]], path: str | None) -> None:
    rows = _rows(log)
    facts["runs"] = [{"server": server, "scenario": scenario, **_figures(runs)} for (server, scenario), runs in log.runs.items() if "sweep" not in scenario]
    facts["sweep"] = [{"connections": level, **_figures(runs)} for level, runs in sweep.items() if runs]
    facts["direct"] = {peer: [{"texts_per_s": one.texts_per_s, "short_p50_ms": one.short_p50_ms} for one in made] for peer, made in log.direct.items()}
    facts |= {"rss_mb": log.rss_mb, "errors": dict(log.wrong)}
    if path != "-":
        tables = [_runs_table(facts["runs"]), report.table(rows), _sweep_table(facts["sweep"])]
        print("\n\n".join([f"{facts['machine']}\n{facts['corpus']}", *tables, ""]))
        agreement = [f"cosine to {peer}: {figures}" for peer, figures in facts["agreement"].items()]
        print("\n".join([*agreement, f"resident MB, ready and at the end: {facts['rss_mb']}"]))
        print(f"padding of all rows: {facts['padding']}\nerrors: {facts['errors'] or 'none'}")
    if path:
        report.dump(path, facts, rows)


def _figures(runs: Sequence[load.Report]) -> dict[str, Any]:
    """One figure per round, and the errors of all."""
    keys = ("texts_per_s", "p50_ms", "p95_ms", "p99_ms")
    return {**{key: [getattr(run, key) for run in runs] for key in keys}, "errors": sum(sum(run.errors.values()) for run in runs)}


def _runs_table(runs: Sequence[Mapping[str, Any]]) -> str:
    cells: list[Sequence[str]] = [("server", "scenario", "texts/s", "p50 ms", "p95 ms", "p99 ms", "errors")]
    for run in runs:
        latencies = [f"{statistics.median(run[key]):.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")]
        cells.append((run["server"], run["scenario"], report.spread(run["texts_per_s"]), *latencies, str(run["errors"])))
    return report.aligned(cells)


def _sweep_table(levels: Sequence[Mapping[str, Any]]) -> str:
    """`of best` is the throughput against the best of the levels above it: below 1 it fell."""
    cells: list[Sequence[str]] = [("connections", "texts/s", "of best", "p50 ms", "p99 ms", "errors")]
    best = 0.0
    for level in levels:
        speed = statistics.median(level["texts_per_s"])
        best = max(best, speed)
        latencies = [f"{statistics.median(level[key]):.1f}" for key in ("p50_ms", "p99_ms")]
        cells.append((str(level["connections"]), report.spread(level["texts_per_s"]), f"{speed / best:.2f}" if best else "-", *latencies, str(level["errors"])))
    return report.aligned(cells)


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def _request(server: peers.Server, texts: Sequence[str]) -> load.Request:
    return load.encode(peers.HOST, server.port, server.embed_path, texts, server.fields)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers.add_server_options(parser)
    parser.add_argument("--st-python", help="Python of an environment with sentence-transformers; left out, it is not compared")
    parser.add_argument("--bare", action="store_true", help="compare with our engine without HTTP")
    parser.add_argument("--corpus", choices=("auto", "cranfield", "words"), default="auto")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup-rounds", type=int, default=1, help="rounds before those, not counted")
    parser.add_argument("--passes", type=int, default=2, help="how often a round sends all texts in each scenario")
    parser.add_argument("--short-requests", type=int, default=200)
    parser.add_argument("--sweep-rounds", type=int, default=3, help="rounds of 1, 2, 4, ... 256 connections for ours; 0 leaves them out")
    parser.add_argument("--max-seconds", type=float, default=120.0, help="after so long a run sends nothing more")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-` prints them instead of the table")
    return peers.checked(parser)


if __name__ == "__main__":
    try:
        main()
    except peers.PeerFailed as problem:
        sys.exit(f"embeddings_http: {problem}")
