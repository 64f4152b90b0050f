"""What a dialect costs: reading and writing a large Cohere request beside NIM's, and the gateway's CPU for one.

    python bench/dialects.py [--litellm ENV/bin/litellm] [--rounds 7]

First in this process: a request of 512 passages read, and its answer written, in NIM's dialect and in Cohere's (with and without documents in the answer), TEI's and
vLLM's: what the wire costs besides the model. Then over HTTP: 1,000 documents of 2 kB through the gateway before a fake endpoint, CPU seconds of the gateway's process;
LiteLLM's proxy is given the same body.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import corpus
import gateway as proxies
import report
from emberank.contract.inference import Ranked
from emberank.dialects import nim
from emberank.dialects.answers import Ranking
from emberank.dialects.asked import AskedRank, Told
from emberank.dialects.reading import body_object
from emberank.dialects.routes import ROUTES

PASSAGES, DOCUMENTS, BYTES = 512, 1000, 2000
TOLD = Told(model=proxies.MODEL, request_id="0123456789abcdef")


def texts(count: int, size: int) -> list[str]:
    """Natural text, cut to `size` characters."""
    whole = " ".join(corpus.words("auto")[1][:40_000])
    return [whole[i * 37 % (len(whole) - size) :][:size] for i in range(count)]


def work(path: str, body: bytes, ranking: Ranking) -> Callable[[], bytes]:
    """Read and write, as a server does it."""
    (route,) = [route for route in ROUTES if route.path == path]
    rules = nim.Rules()

    def both() -> bytes:
        asked = route.read(body_object(body), rules)
        assert isinstance(asked, AskedRank)
        return asked.render([ranking], TOLD)

    return both


def ms_of(run: Callable[[], bytes], rounds: int) -> list[float]:
    figures = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(20):
            run()
        figures.append((time.process_time() - began) * 1e3 / 20)
    return figures


def in_process(rounds: int) -> list[report.Row]:
    found = texts(PASSAGES, 600)
    ranking = Ranking(ranked=tuple(Ranked(i, 8.0 - i / 40) for i in range(PASSAGES)), prompt_tokens=90_000)
    nims = json.dumps({"model": "m", "query": {"text": proxies.QUERY}, "passages": [{"text": text} for text in found]}).encode()
    coheres: dict[str, Any] = {"model": "m", "query": proxies.QUERY, "documents": found}
    theirs = work("/v1/ranking", nims, ranking)
    cases = {
        "Cohere": ("/v1/rerank", coheres),
        "Cohere, top 10 with documents": ("/v1/rerank", coheres | {"top_n": 10, "return_documents": True}),
        "Cohere, all documents returned": ("/v1/rerank", coheres | {"return_documents": True}),
        "TEI": ("/rerank", {"query": proxies.QUERY, "texts": found}),
        "vLLM /score": ("/score", {"model": "m", "text_1": proxies.QUERY, "text_2": found}),
    }
    rows = []
    for what, (path, body) in cases.items():
        ours = work(path, json.dumps(body).encode(), ranking)
        mine, nim_ms = [], []
        for _ in range(rounds):  # in turns
            mine += ms_of(ours, 1)
            nim_ms += ms_of(theirs, 1)
        goal = ">= 0.67" if what == "Cohere" else ""
        rows.append(report.Row(what=f"{what}, {PASSAGES} passages read and written", unit="ms", ours=mine, peer="NIM dialect", theirs=nim_ms, goal=goal))
    return rows


@contextlib.contextmanager
def counting_upstream(folder: Path) -> Iterator[int]:
    command = [sys.executable, str(proxies.HERE / "fake_upstream.py"), "--count"]
    with proxies.child(command, {}, folder / "upstream.log") as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def cpu_ms(side: proxies.Side, body: bytes, key: str, rounds: int) -> list[float]:
    """Of the server's process, for one request; each figure is over ten of them, for the kernel counts in hundredths of a second."""
    figures = []
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=120)
    for _ in range(rounds):
        before = proxies.cpu_s_of(side.pid)
        for _ in range(10):
            connection.request("POST", "/rerank", body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{side.name}: {answer.status} {data[:300]!r}")
            if len(json.loads(data)["results"]) != DOCUMENTS:
                raise SystemExit(f"{side.name}: not every document came back")
        figures.append((proxies.cpu_s_of(side.pid) - before) * 100)
    return figures


def over_http(litellm: str | None, rounds: int) -> list[report.Row]:
    documents = texts(DOCUMENTS, BYTES)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(counting_upstream(folder))
        forge = stack.enter_context(proxies.forge_for(upstream))
        _, ours = stack.enter_context(proxies.gateway(folder, forge, None))
        body = json.dumps({"model": proxies.MODEL, "query": proxies.QUERY, "documents": documents}).encode()
        cpu_ms(ours, body, proxies.KEY, 1)
        mine = cpu_ms(ours, body, proxies.KEY, rounds)
        what = f"gateway CPU, {DOCUMENTS} documents of {BYTES} bytes on /rerank"
        print(f"{what}: {statistics.median(mine):.1f} ms (goal 20)", file=sys.stderr)
        if litellm is None:
            return [report.Row(what=what, unit="ms", ours=mine, peer="goal", theirs=[20.0], goal=">= 1")]
        theirs = stack.enter_context(proxies.litellm(folder, litellm, upstream))
        other = json.dumps({"model": "r", "query": proxies.QUERY, "documents": documents}).encode()
        cpu_ms(theirs, other, proxies.LITELLM_KEY, 1)
        return [report.Row(what=what, unit="ms", ours=mine, peer="litellm", theirs=cpu_ms(theirs, other, proxies.LITELLM_KEY, rounds), goal="ours <= 20 ms")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", help="the `litellm` program of an environment with litellm[proxy]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-` prints them instead of the table")
    options = parser.parse_args()
    rows = in_process(options.rounds) + over_http(options.litellm, options.rounds)
    if options.json:
        report.dump(options.json, {"machine": report.machine()}, rows)
    if options.json != "-":
        print(f"{report.machine()}\n\n{report.table(rows)}")


if __name__ == "__main__":
    main()
