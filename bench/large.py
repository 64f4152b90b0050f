"""The bare engine on a large checkpoint, beside the machine's own matrix product and eager transformers: TFLOP/s from one run.

    emberank make-checkpoint llama-3.2-nv-rerankqa-1b-v2 --random --out /tmp/nv-1b
    python bench/large.py /tmp/nv-1b --precisions fp32,int8 --peer fp32

`bf16` among the precisions is for CPUs with AMX. Passages are random token ids of one length each: speed does not depend on what they say. `--peer` runs transformers' LlamaModel of the same
shape with random weights, as its users do: eager, one padded batch at a time (nothing is padded here: lengths are equal), fp32 and bf16.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import matrix_product
import report
from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines.base import Batch, EngineOptions
from emberank.runtime.engines.cores import cores
from emberank.runtime.engines.registry import builder
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.llama import Llama
from emberank.runtime.recognise import recognise

BATCH_TOKENS = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a checkpoint of a Llama family; `emberank make-checkpoint` writes one")
    parser.add_argument("--precisions", default="fp32,int8")
    parser.add_argument("--cases", default="64x128,16x512", help="passages x tokens each")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--prepared", type=Path, default=None, help="a folder in which the engine keeps what it makes of the weights")
    parser.add_argument(
        "--peer", default="", help="transformers too, in these precisions: as much memory again; bf16 on a CPU without AMX takes a quarter of an hour a case"
    )
    options = parser.parse_args()
    threads = options.threads or cores()
    network = recognise(options.folder).network
    assert isinstance(network, Llama), "this benchmark counts the products of a Llama"
    cases = [tuple(map(int, case.split("x"))) for case in options.cases.split(",")]
    print(report.machine(), f"{options.folder.name}: {network.layers} layers of {network.hidden}, {threads} threads", sep="\n", end="\n\n", flush=True)
    rows: list[tuple[str, ...]] = [("what", "case", "seconds", "TFLOP/s", "of its peak")]
    for precision in options.precisions.split(","):
        rows += ours(options, network, precision, threads, cases)
        gc.collect()
        print(report.aligned(rows), flush=True)
    if options.peer:
        for precision in options.peer.split(","):
            rows += theirs(network, precision, threads, cases, options.rounds)
            gc.collect()
            print(report.aligned(rows), flush=True)
    print(report.aligned(rows))


def ours(options: argparse.Namespace, network: Llama, precision: str, threads: int, cases: list[tuple[int, ...]]) -> list[tuple[str, ...]]:
    """One precision: its matrix product, then every case."""
    began = time.perf_counter()
    weights = NamedWeights(Checkpoint.open(options.folder))
    engine = builder("openvino")(network, weights, EngineOptions(precision=precision, threads=threads, prepared=options.prepared))
    random = np.random.default_rng(0)

    def run(passages: int, length: int) -> None:
        each = max(1, BATCH_TOKENS // length)
        for start in range(0, passages, each):
            many = min(each, passages - start)
            engine.run(Batch.of([random.integers(0, network.vocabulary, length).astype(np.int32) for _ in range(many)]), "mean")

    run(1, 128)
    print(f"{precision}: built and run once in {time.perf_counter() - began:.1f} s", flush=True)
    rows = []
    for passages, length in cases:
        run(max(1, BATCH_TOKENS // length), length)  # prepares the shape
        peaks = [product(network, precision, threads)]
        seconds = timed(lambda passages=passages, length=length: run(passages, length), options.rounds)
        peaks.append(product(network, precision, threads))
        rate = work(network, passages, length) / seconds / 1e12
        rows.append(
            (
                f"emberank {precision}",
                f"{passages} x {length}",
                f"{seconds:.1f}",
                f"{rate:.3f}",
                f"{rate / statistics.median(peaks):.0%} of {statistics.median(peaks):.3f}",
            )
        )
    engine.close()
    return rows


def theirs(network: Llama, precision: str, threads: int, cases: list[tuple[int, ...]], rounds: int) -> list[tuple[str, ...]]:
    """transformers on the same shape, random weights, eager attention."""
    import torch

    import gpu_peers

    torch.set_num_threads(threads)
    model = gpu_peers.llama(network, "eager").to(torch.float32 if precision == "fp32" else torch.bfloat16)

    def run(passages: int, length: int) -> None:
        each = max(1, BATCH_TOKENS // length)
        for start in range(0, passages, each):
            with torch.inference_mode():
                model(input_ids=torch.randint(0, 1000, (min(each, passages - start), length)))

    rows = []
    for passages, length in cases:
        run(1, length)
        seconds = timed(lambda passages=passages, length=length: run(passages, length), rounds)
        rows.append(
            (f"transformers eager {precision}", f"{passages} x {length}", f"{seconds:.1f}", f"{work(network, passages, length) / seconds / 1e12:.3f}", "")
        )
    return rows


def work(network: Llama, passages: int, length: int) -> float:
    """Floating-point operations of that many passages: 2 per weight of a linear layer and token, 4 · length · heads · head_dim per token and layer for attention."""
    linears = sum(shape[0] * shape[1] for name, shape in network.shapes().items() if len(shape) == 2 and not name.startswith("embed"))
    return passages * length * (2.0 * linears + 4.0 * length * network.heads * network.head_dim * network.layers)


def product(network: Llama, precision: str, threads: int) -> float:
    """TFLOP/s of one matrix product of this network's largest layer in the same precision, by the same library: the most that can be had."""
    return matrix_product.tflops(BATCH_TOKENS, network.hidden, network.intermediate, precision, threads)


def timed(run: Callable[[], None], rounds: int) -> float:
    """The median of the rounds, in seconds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


if __name__ == "__main__":
    main()
