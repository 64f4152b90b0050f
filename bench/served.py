"""A large model through HTTP: start, memory, the catalogue page's request, connections, lengths, pages. Beside the page's own figures and transformers.

    emberank make-checkpoint llama-3.2-nv-rerankqa-1b-v2 --random --out nv-1b
    emberank make-checkpoint llama-nemotron-embed-vl-1b-v2 --random --out nv-vl
    python bench/served.py --reranker nv-1b --vision nv-vl --precisions int8,fp32 --peer

`--short` leaves out connections and lengths, which take minutes in fp32 on two cores.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from struct import pack

import corpus
import peers
import report

# The request of the catalogue page, and what the page shows for NVIDIA's container.
QUERY = "what is retrieval augmented generation?"
PASSAGES = (
    "Retrieval augmented generation combines search over external documents with language model generation.",
    "A graphics processing unit accelerates parallel numerical workloads.",
    "Embeddings map text into vectors for semantic search.",
)
PAGE_MS = {"B200": 186.0, "L40S": 35.0}
# Of one token of the 1B shape: its linear layers, and each key it attends to.
LINEARS, KEY = 1.946e9, 0.131e6


def main() -> None:
    peers.end_children_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reranker", type=Path, help="a folder with the 1B reranker's shape")
    parser.add_argument("--vision", type=Path, help="a folder with the vision embedder's shape")
    parser.add_argument("--precisions", default="int8")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--peer", action="store_true", help="transformers' SigLIP and Llama on a page, fp32, SDPA, without HTTP")
    options = parser.parse_args()
    print(report.machine(), flush=True)
    for precision in options.precisions.split(","):
        if options.reranker:
            with served(options.reranker, precision) as server:
                page(server, options.rounds)
                if not options.short:
                    connections(server)
                    lengths(server)
        if options.vision:
            with served(options.vision, precision) as server:
                pages(server, max(3, options.rounds // 5))
    if options.vision and options.peer:
        their_pages(options.vision)


@contextmanager
def served(folder: Path, precision: str) -> Iterator[peers.Child]:
    """A runtime with that checkpoint; says how long it took to be ready, and its memory then."""
    server = peers.emberank(None)
    settings = {"EMBERANK_MODELS": f"it=file:{folder.resolve()}", "EMBERANK_PRECISION": precision, "EMBERANK_ENGINE": "openvino"}
    began = time.perf_counter()
    with peers.started(replace(server, env={**server.env, **settings})) as child:
        peers.wait_ready(child, 300.0)
        print(f"\n{folder.name} in {precision}: ready after {time.perf_counter() - began:.1f} s, {child.rss_mb():.0f} MB", flush=True)
        yield child


def ask(server: peers.Child, path: str, body: dict[str, object]) -> tuple[float, dict]:
    """Seconds, and the answer."""
    began = time.perf_counter()
    status, answer = peers.call(server.server.port, "POST", path, json.dumps({"model": "it", **body}).encode(), 600.0)
    if status != 200:
        raise peers.PeerFailed(f"{status}: {answer[:300]!r}")
    return time.perf_counter() - began, json.loads(answer)


def rank(server: peers.Child, passages: list[str]) -> tuple[float, int]:
    """Seconds, and tokens."""
    seconds, answer = ask(server, "/v1/ranking", {"query": {"text": QUERY}, "passages": [{"text": text} for text in passages], "truncate": "END"})
    return seconds, answer["usage"]["prompt_tokens"]


def page(server: peers.Child, rounds: int) -> None:
    """The catalogue page's request, one after the other."""
    rank(server, list(PASSAGES))
    found = [rank(server, list(PASSAGES)) for _ in range(rounds)]
    p50 = 1000 * statistics.median(seconds for seconds, _ in found)
    ratios = ", ".join(f"{name} {ms:.0f} ms (ratio {ms / p50:.2f})" for name, ms in PAGE_MS.items())
    print(f"the page's request, {found[0][1]} tokens: p50 {p50:.0f} ms; the page: {ratios}; {server.rss_mb():.0f} MB", flush=True)


def connections(server: peers.Child) -> None:
    """One passage a request from ever more connections: the rate must not fall, nor memory grow."""
    texts = corpus.texts(512, least=12, most=24)[1]
    rows = [("connections", "requests/s", "tokens/s", "MB")]
    for many in (1, 8, 64, 256):
        left, tokens, lock = iter(texts[: max(24, many)]), [], threading.Lock()

        def work(left: Iterator[str] = left, tokens: list[int] = tokens, lock: threading.Lock = lock) -> None:
            while True:
                with lock:
                    text = next(left, None)
                if text is None:
                    return
                tokens.append(rank(server, [text])[1])

        began = time.perf_counter()
        workers = [threading.Thread(target=work) for _ in range(many)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took = time.perf_counter() - began
        rows.append((str(many), f"{len(tokens) / took:.1f}", f"{sum(tokens) / took:.0f}", f"{server.rss_mb():.0f}"))
    print(report.aligned(rows), flush=True)


def lengths(server: peers.Child) -> None:
    """About 2,048 tokens a request, in passages of one length each."""
    stream = corpus.words("words")[1]
    rows = [("tokens a passage", "tokens/s", "TFLOP/s, attention included", "MB")]
    for length in (16, 64, 128, 512, 2048, 8192):
        words = int(0.7 * length)
        passages = [" ".join(stream[i * words : (i + 1) * words]) for i in range(max(1, 2048 // length))]
        rank(server, passages)
        seconds, tokens = rank(server, passages)
        each = tokens / len(passages)
        rate = tokens * (LINEARS + KEY * each) / seconds / 1e12
        rows.append((f"{each:.0f}", f"{tokens / seconds:.0f}", f"{rate:.3f}", f"{server.rss_mb():.0f}"))
    print(report.aligned(rows), flush=True)


def pages(server: peers.Child, rounds: int) -> None:
    """One 512 × 512 page, and a query."""
    image = f"data:image/png;base64,{base64.b64encode(png(512)).decode()}"
    tokens = ask(server, "/v1/embeddings", {"input": [image], "input_type": "passage"})[1]["usage"]["prompt_tokens"]
    found = statistics.median(ask(server, "/v1/embeddings", {"input": [image], "input_type": "passage"})[0] for _ in range(rounds))
    query = statistics.median(ask(server, "/v1/embeddings", {"input": [QUERY], "input_type": "query"})[0] for _ in range(rounds))
    print(
        f"a page of 512 × 512, {tokens} tokens: p50 {found:.2f} s, {1 / found:.2f} pages/s; a query: p50 {1000 * query:.0f} ms; {server.rss_mb():.0f} MB",
        flush=True,
    )


def their_pages(folder: Path) -> None:
    """The same arithmetic by transformers' modules: vision, projector, language model."""
    import torch

    import gpu_peers
    from emberank.runtime.networks.llama import Llama
    from emberank.runtime.networks.siglip import SiglipProjector
    from emberank.runtime.recognise import recognise

    found = recognise(folder)
    assert found.vision is not None, f"{folder} holds no vision model"
    assert isinstance(found.network, Llama), f"{folder} holds no Llama"
    assert isinstance(found.vision.network, SiglipProjector), f"{folder} holds no SigLIP"
    run = gpu_peers.pages(found.vision.network, found.network, 1, "cpu", torch.float32)
    run()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    p50 = statistics.median(seconds)
    print(f"transformers on that page, fp32, SDPA: p50 {p50:.2f} s, {1 / p50:.2f} pages/s", flush=True)


def png(side: int) -> bytes:
    """A picture without a library: grey noise, RGB."""
    rows = b"".join(b"\0" + bytes((x * y * 37 + x * 11) % 256 for x in range(side) for _ in range(3)) for y in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    try:
        main()
    except peers.PeerFailed as problem:
        sys.exit(str(problem))
