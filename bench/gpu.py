"""The GPU engine beside what else could run on the same device: one table, every figure ours, the peer's and the ratio, from one run.

    python bench/gpu.py --results bench/results     # on a GPU machine; `make gpu-check` does it, after the tests
    python bench/gpu.py --smoke                     # tiny networks on the CPU: that the script works, and nothing else

Checkpoints are random ones of the published shapes, made where they are missing. Passages are random token ids: speed does not depend on what
they say. The peer is transformers on the same device in the same run: SDPA, one padded batch, the same number type, random weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import http.client
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

import gpu_peers
import large
import peers
import report
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines.base import Batch, Engine, EngineOptions, Features
from emberank.runtime.engines.registry import builder
from emberank.runtime.engines.torch_fp8 import multiply, quantise
from emberank.runtime.engines.torch_setup import DTYPES
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.siglip import SiglipProjector
from emberank.runtime.recognise import recognise

RERANKER, SEEING = "llama-3.2-nv-rerankqa-1b-v2", "llama-nemotron-embed-vl-1b-v2"
QUERY = "what is retrieval augmented generation?"
PASSAGES = (
    "Retrieval augmented generation combines search over external documents with language model generation.",
    "A graphics processing unit accelerates parallel numerical workloads.",
    "Embeddings map text into vectors for semantic search.",
)
PAGE_FASTEST_MS = 35.0  # of this request, as a public catalogue page shows it for NVIDIA's container on an L40S; a B200 has 186 there


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large everything is: real, or for a smoke test."""

    passages: int
    length: int
    product: int  # rows and columns of the matrix product that is called the peak
    requests: int
    pages: int


REAL = Sizes(passages=64, length=512, product=8192, requests=300, pages=16)
SMOKE = Sizes(passages=4, length=24, product=256, requests=5, pages=2)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured on what."""

    reranker: Path
    seeing: Path
    device: str
    precisions: tuple[str, ...]  # the first is what the peer has too
    sizes: Sizes
    rounds: int

    @property
    def dtype(self) -> torch.dtype:
        """Of the first precision."""
        return DTYPES[self.precisions[0]]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        bench = _smoke(Path(folder)) if options.smoke else _real(options)
        facts, rows = run(bench)
    text = f"{report.table(rows)}\n"
    print(json.dumps(facts, indent=1), text, sep="\n\n")
    if options.results:
        path = Path(options.results) / f"{datetime.now(UTC).date()}-{slug(bench.device)}.md"
        path.write_text(page(facts, text), "utf-8")
        print(path)


def run(bench: Bench) -> tuple[dict[str, object], list[report.Row]]:
    """Everything, one after the other: two large models at a time are more than some devices hold."""
    facts: dict[str, object] = {"machine": report.machine(), "python": platform.python_version(), "pytorch": torch.__version__}
    rows: list[report.Row] = []
    network = recognise(bench.reranker).network
    assert isinstance(network, Llama)
    found, peak = passages(bench, network, facts)
    rows += found
    rows += images(bench)
    rows.insert(0, seed_request(bench))
    facts["matrix product, TFLOP/s"] = {name: round(rate, 1) for name, rate in peak.items()}
    return facts, rows


# Passages of one length, and of many


def passages(bench: Bench, network: Llama, facts: dict[str, object]) -> tuple[list[report.Row], dict[str, float]]:
    """TFLOP/s beside the device's matrix product and beside transformers; a lower precision beside the first."""
    sizes, first = bench.sizes, bench.precisions[0]
    equal = [sizes.length] * sizes.passages
    mixed = np.random.default_rng(1).integers(max(2, sizes.length // 16), sizes.length + 1, sizes.passages).tolist()
    ours: dict[str, dict[str, list[float]]] = {}
    peak: dict[str, float] = {}
    for precision in bench.precisions:
        peak[precision] = product_tflops(bench, precision)
        engine = built(bench, bench.reranker, precision)
        facts[precision] = {"device": engine.facts.device, "detail": engine.facts.detail, **(engine.facts.gpu or {})}
        ours[precision] = {name: timed(engine_run(engine, network, lengths), bench.rounds) for name, lengths in (("equal", equal), ("mixed", mixed))}
        engine.close()
        free()
    theirs = {
        name: timed(gpu_peers.passages(network, lengths, bench.device, bench.dtype), bench.rounds) for name, lengths in (("equal", equal), ("mixed", mixed))
    }
    case = f"{sizes.passages} × {sizes.length} tokens"
    work = {"equal": work_of(network, equal), "mixed": work_of(network, mixed)}
    rates = {precision: {name: [work[name] / s / 1e12 for s in seconds] for name, seconds in found.items()} for precision, found in ours.items()}
    peer = {name: [work[name] / s / 1e12 for s in seconds] for name, seconds in theirs.items()}
    rows = [
        report.Row(what=f"{case}, {first}", unit="TFLOP/s", ours=rates[first]["equal"], peer="matrix product", theirs=[peak[first]], goal="0.60"),
        report.Row(what=f"{case}, {first}", unit="TFLOP/s", ours=rates[first]["equal"], peer="transformers", theirs=peer["equal"], goal="2"),
        report.Row(
            what=f"{sizes.passages} of mixed lengths, {first}",
            unit="TFLOP/s",
            ours=rates[first]["mixed"],
            peer="transformers, padded",
            theirs=peer["mixed"],
            goal="2",
        ),
    ]
    for other in bench.precisions[1:]:
        rows.append(report.Row(what=f"{case}, {other}", unit="TFLOP/s", ours=rates[other]["equal"], peer=first, theirs=rates[first]["equal"], goal="1.5"))
        rows.append(report.Row(what=f"{case}, {other}", unit="TFLOP/s", ours=rates[other]["equal"], peer="matrix product", theirs=[peak[other]]))
    return rows, peak


def work_of(network: Llama, lengths: Sequence[int]) -> float:
    """Floating-point operations of passages of these lengths; padding is no work."""
    return sum(large.work(network, 1, length) for length in lengths)


def engine_run(engine: Engine, network: Llama, lengths: Sequence[int]) -> Callable[[], object]:
    """All passages, in batches of as many tokens as the engine asks for; one row each comes back to the host."""
    random = np.random.default_rng(0)
    batches: list[list[np.ndarray]] = [[]]
    for length in lengths:
        if sum(map(len, batches[-1])) + length > engine.facts.batch_tokens and batches[-1]:
            batches.append([])
        batches[-1].append(random.integers(0, network.vocabulary, length).astype(np.int32))
    packed = [Batch.of(batch) for batch in batches]
    return lambda: [engine.run(batch, "mean") for batch in packed]


def product_tflops(bench: Bench, precision: str) -> float:
    """One large square matrix product on random numbers, by PyTorch itself: what a network of matrix products could reach at most."""
    n = bench.sizes.product
    x, y = (torch.randn(n, n, device=bench.device).to(DTYPES[precision]) for _ in range(2))
    if precision == "fp8":
        a, b = quantise(x), quantise(y)
        seconds = timed(lambda: settled(lambda: multiply(a, b, None)), 20)
    else:
        seconds = timed(lambda: settled(lambda: x @ y), 20)
    return 2 * n**3 / statistics.median(seconds) / 1e12


# Pictures


def images(bench: Bench) -> list[report.Row]:
    """One page of one tile from pixels to a pooled vector, and many of them; transformers' modules on the same device."""
    recognised = recognise(bench.seeing)
    assert recognised.vision is not None
    seeing, reading = recognised.vision.network, recognised.network
    assert isinstance(seeing, SiglipProjector)
    assert isinstance(reading, Llama)
    engines = (built(bench, bench.seeing, bench.precisions[0], "vision"), built(bench, bench.seeing, bench.precisions[0]))
    ours = {
        count: timed(lambda count=count: own_pages(engines, seeing, reading, recognised.vision.image_token, count), bench.rounds)
        for count in (1, bench.sizes.pages)
    }
    for engine in engines:
        engine.close()
    free()
    theirs = {count: timed(gpu_peers.pages(seeing, reading, count, bench.device, bench.dtype), bench.rounds) for count in (1, bench.sizes.pages)}
    free()
    many = bench.sizes.pages
    rates = [[many / s for s in found[many]] for found in (ours, theirs)]
    return [
        report.Row(what=f"one page of {seeing.image} × {seeing.image}", unit="ms", ours=_ms(ours[1]), peer="transformers", theirs=_ms(theirs[1])),
        report.Row(what=f"pages, {many} at a time", unit="pages/s", ours=rates[0], peer="transformers", theirs=rates[1]),
        report.Row(what=f"pages, {many} at a time", unit="pages/s", ours=rates[0], peer="NVIDIA's container, one H100, as published", theirs=[9.65]),
    ]


def own_pages(engines: tuple[Engine, Engine], seeing: SiglipProjector, reading: Llama, image_token: int, count: int) -> np.ndarray:
    """Pixels in, pooled vectors (count, hidden) out."""
    patches, per_tile = seeing.max_positions, seeing.tokens_per_tile
    ids = np.zeros(count * patches, np.int32)
    pixels = np.random.default_rng(0).standard_normal((count * patches, seeing.feature_width), dtype=np.float32)
    lengths = np.full(count, patches, np.int32)
    states = engines[0].run(Batch(ids=ids, types=ids, lengths=lengths, features=Features(np.arange(count * patches, dtype=np.int32), pixels)))
    prompt = np.concatenate([np.arange(5, 5 + gpu_peers.OVERHEAD), np.full(per_tile, image_token)]).astype(np.int32)
    at = np.arange(gpu_peers.OVERHEAD, gpu_peers.OVERHEAD + per_tile, dtype=np.int32)
    features = [Features(at, states[tile * per_tile : (tile + 1) * per_tile]) for tile in range(count)]
    return engines[1].run(Batch.of([prompt] * count, None, list(features)), "mean")


# The whole stack


def seed_request(bench: Bench) -> report.Row:
    """A ranking of three short passages over HTTP: the runtime as it is served, one request after the other on one connection."""
    server = peers.emberank(None, "measured")
    settings = {
        "EMBERANK_MODELS": f"measured=file:{bench.reranker.absolute()}",
        "EMBERANK_ENGINE": "torch",
        "EMBERANK_DEVICE": bench.device,
        "EMBERANK_PRECISION": bench.precisions[0],
        "EMBERANK_LOG_LEVEL": "warning",
    }
    server = dataclasses.replace(server, env={**server.env, **settings})
    body = json.dumps({"model": "measured", "query": {"text": QUERY}, "passages": [{"text": text} for text in PASSAGES], "truncate": "END"}).encode()
    with peers.running(server, deadline_s=600):
        connection = http.client.HTTPConnection(peers.HOST, server.port, timeout=60)
        ms = []
        for _ in range(bench.sizes.requests):
            began = time.perf_counter()
            connection.request("POST", "/v1/ranking", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            ms.append(1000 * (time.perf_counter() - began))
            if answer.status != 200:
                raise peers.PeerFailed(f"emberank answered {answer.status}: {content[:300]!r}")
        connection.close()
    ms = ms[len(ms) // 5 :]  # graphs are captured and clocks rise in the first ones
    return report.Row(
        what="three short passages over HTTP, p50", unit="ms", ours=ms, peer="the catalogue page's fastest", theirs=[PAGE_FASTEST_MS], goal="4 ms on an H100"
    )


# Common


def built(bench: Bench, folder: Path, precision: str, part: str = "") -> Engine:
    recognised = recognise(folder)
    network = recognised.vision.network if part and recognised.vision else recognised.network
    weights = NamedWeights(Checkpoint.open(folder), "vision") if part else NamedWeights(Checkpoint.open(folder))
    return builder("torch")(network, weights, EngineOptions(precision=precision, device=bench.device))


def timed(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round, after three that are not counted: kernels are compiled and graphs captured in those."""
    for _ in range(3):
        run()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


def settled(run: Callable[[], object]) -> None:
    """Wait for the device: what was asked of it is done when this returns."""
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _ms(seconds: Sequence[float]) -> list[float]:
    return [1000 * one for one in seconds]


def slug(device: str) -> str:
    """The device's name as a file name has it."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def page(facts: dict[str, object], table: str) -> str:
    """What is published: the command, the device and the figures as they were printed."""
    command = " ".join(["python", *sys.argv])
    return f"# The GPU engine\n\n`{command}`, random weights of the published shapes.\n\n```\n{table}```\n\n```json\n{json.dumps(facts, indent=1)}\n```\n"


def _real(options: argparse.Namespace) -> Bench:
    folder = Path(options.checkpoints)
    made = {name: _made(folder / f"{name}-random", name) for name in (RERANKER, SEEING)}
    precisions = tuple(options.precisions.split(","))
    return Bench(reranker=made[RERANKER], seeing=made[SEEING], device=options.device, precisions=precisions, sizes=REAL, rounds=options.rounds)


def _made(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "emberank.cli", "make-checkpoint", name, "--random", "--out", str(folder)], check=True)
    return folder


def _smoke(folder: Path) -> Bench:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import families

    reranker, seeing = families.write_llama_reranker(folder / "reranker"), families.write_vl_embedder(folder / "seeing")
    return Bench(reranker=reranker, seeing=seeing, device="cpu", precisions=("fp32", "bf16"), sizes=SMOKE, rounds=2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny networks on the CPU; the figures mean nothing")
    parser.add_argument("--checkpoints", default="build/gpu", help="a folder for the random checkpoints, which are made there where they are missing")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precisions", default="bf16,fp8", help="the first is the peer's too; leave fp8 out on a GPU before Ada")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--results", metavar="FOLDER", help="write a page there, under the date and the device's name")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except peers.PeerFailed as problem:
        sys.exit(f"gpu: {problem}")
