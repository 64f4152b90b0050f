"""What a precision does to a reranker's orders, beside fp32 of the same engine: the figures of docs/behaviour/precision.md.

    python bench/agreement.py --model file:/tmp/nv-1b --precisions fp32,int8

Every request is one query and `--passages` passages of 20 to 40 words, run by a runtime's own pipeline in this process, one precision after the
other. The first precision is what the others are held against.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import dataclass

import numpy as np

import corpus
import report
from emberank import settings
from emberank.contract.inference import Content, RankCall
from emberank.runtime.process import RuntimeProcess

CLEAR = 0.1  # of the standard deviation of a request's logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two precisions order the same requests; each figure as docs/behaviour/precision.md says."""

    flipped: float
    clear_flipped: float
    first_changed: float
    median_error: float
    largest_error: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="what EMBERANK_MODELS takes: a reranker")
    parser.add_argument("--precisions", default="fp32,int8")
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--passages", type=int, default=16)
    options = parser.parse_args()
    source, texts = corpus.texts(options.requests * (options.passages + 1), least=20, most=40)
    step = options.passages + 1
    requests = [(" ".join(texts[i].split()[:12]), texts[i + 1 : i + step]) for i in range(0, len(texts), step)]
    print(
        report.machine(), {"corpus": source, "texts": corpus.fingerprint(texts), "requests": len(requests), "passages": options.passages}, sep="\n", flush=True
    )
    first, *others = options.precisions.split(",")
    true = asyncio.run(logits(options.model, first, requests))
    rows = [("precision", "pairs flipped", "clear pairs flipped", "first changed", "logit error, median", "largest")]
    for precision in others:
        found = compare(true, asyncio.run(logits(options.model, precision, requests)))
        share = (f"{value:.2%}" for value in (found.flipped, found.clear_flipped, found.first_changed))
        rows.append((f"{precision} beside {first}", *share, f"{found.median_error:.4f}", f"{found.largest_error:.4f}"))
    print(report.aligned(rows))


async def logits(model: str, precision: str, requests: list[tuple[str, list[str]]]) -> np.ndarray:
    """(requests, passages)."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    process = RuntimeProcess(settings.load({**os.environ, "EMBERANK_MODELS": model, "EMBERANK_PRECISION": precision}, {}))
    await process.load()
    served = next(one for one in process.models if one.task == "rank")
    answers = []
    began = time.perf_counter()
    for query, passages in requests:
        call = RankCall(model=None, query=Content(query), passages=tuple(Content(text) for text in passages), truncate="END")
        result = await process.pipeline.rank(served, call, time.monotonic() + 3600)
        answers.append([ranked.logit for ranked in sorted(result.ranked, key=lambda one: one.index)])
    print(f"{precision}: {time.perf_counter() - began:.1f} s", flush=True)
    process.close()
    return np.array(answers)


def compare(true: np.ndarray, found: np.ndarray) -> Agreement:
    """Both (requests, passages)."""
    flips = [0, 0]
    pairs = [0, 0]
    for a, b in zip(true, found, strict=True):
        i, j = np.triu_indices(len(a), 1)
        apart, also = a[i] - a[j], b[i] - b[j]
        for place, counted in enumerate((apart != 0, np.abs(apart) > CLEAR * a.std())):
            pairs[place] += int(counted.sum())
            flips[place] += int((counted & (apart * also <= 0)).sum())
    errors = np.abs(true - found) / true.std(axis=1, keepdims=True)
    return Agreement(
        flipped=flips[0] / pairs[0],
        clear_flipped=flips[1] / pairs[1],
        first_changed=float((true.argmax(1) != found.argmax(1)).mean()),
        median_error=statistics.median(errors.ravel().tolist()),
        largest_error=float(errors.max()),
    )


if __name__ == "__main__":
    main()
