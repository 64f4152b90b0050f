"""A running embedder and a judged collection in, what each compressed type and each shorter length loses out.

    python bench/compressed.py --data ../shared/data/cranfield --model all-MiniLM-L6-v2 --dimensions 256,192,128,64

Every text is embedded once, as floats of full length, by whatever answers /v1/embeddings at --url; the other forms are made of these
by the code that the server itself uses. Recall is against the float ranking of the same model: how many of its best k are among the
best k of the form. nDCG@10 and R@100 are against the judgements. Does not know what a token or an engine is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import report
from emberank.contract.inference import EmbeddingType
from emberank.evaluate import http_embedder
from emberank.evaluate.collection import Collection, load_collection
from emberank.evaluate.measure import gains, means, measure
from emberank.evaluate.runfile import Hit
from emberank.runtime.outputs import STEPS, finish

Floats = NDArray[np.float32]
Scores = NDArray[Any]  # (documents,), higher is nearer
Score = Callable[[int], Scores]  # query → its scores
Search = Callable[[int, int], Sequence[int]]  # query, k → the best k documents
DEPTHS = (10, 100)
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.int32)  # set bits of each byte
WIDER = 4  # candidates per result wanted, where a cheap ranking is rescored with a dearer one


@dataclass(frozen=True, slots=True)
class Form:
    """One way to keep and compare vectors. Bytes a document: `stored` in all, `searched` for every query."""

    name: str
    stored: int
    searched: int
    search: Search


def main() -> None:
    options = _options()
    collection = load_collection(Path(options.data))
    # Servers refuse an empty text; a document without words is found by nothing.
    documents = {id_: text for id_, text in collection.documents.items() if text}
    with http_embedder(options.url, options.model) as embedder:
        vectors = _unit(embedder(list(documents.values()), "passage"))
        queries = _unit(embedder(list(collection.queries.values()), "query"))
    forms = _types(queries, vectors) + [_cut(queries, vectors, length) for length in options.dimensions if length < vectors.shape[1]]
    print(report.machine(), {"collection": collection.name, "documents": len(documents), "queries": len(queries), "model": options.model}, sep="\n", end="\n\n")
    print(report.aligned(_table(collection, list(documents), forms)))
    if options.turned > vectors.shape[1]:
        turn = _turn(vectors.shape[1], options.turned)
        print(f"\nThe same vectors turned at random into {options.turned} dimensions: every cosine as before, every component smaller.\n")
        print(report.aligned(_table(collection, list(documents), _types(queries @ turn, vectors @ turn)[:3])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a BEIR-style folder: corpus.jsonl, queries.jsonl, qrels.tsv")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a runtime, or a NIM (default: %(default)s)")
    parser.add_argument("--model", help="the embedder's served name")
    parser.add_argument("--dimensions", type=lambda text: [int(part) for part in text.split(",")], default=[], help="shorter lengths, such as 256,128")
    parser.add_argument("--turned", type=int, default=0, help="also turn the vectors into so many dimensions: what a fixed scale loses there")
    return parser.parse_args()


def _unit(vectors: Floats) -> Floats:
    return np.asarray(finish(vectors, normalize=True, dimensions=None, embedding_type="float"), np.float32)


def _turn(width: int, wider: int) -> Floats:
    """(width, wider) with orthonormal rows, from a fixed seed."""
    columns, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(wider, width)))
    return np.asarray(columns.T, np.float32)


def _types(queries: Floats, vectors: Floats) -> list[Form]:
    """Full length in every type, by the comparisons a vector database has for it. The first is what the others are held against."""
    width = vectors.shape[1]
    packed = -(-width // 8)
    codes, asked = (_finish(some, "int8").astype(np.int32) for some in (vectors, queries))
    shifted, asked_shifted = codes + 128, asked + 128  # uint8
    toward_zero, asked_toward_zero = (np.trunc(some * STEPS).astype(np.int32) for some in (vectors, queries))
    bits, asked_bits = (_finish(some, "ubinary").astype(np.uint8) for some in (vectors, queries))
    signs = np.unpackbits(bits, axis=1, count=width).astype(np.float32) * 2 - 1
    exact, whole, hamming = _dot(vectors, queries), _dot(codes, asked), _hamming(bits, asked_bits)
    return [
        Form("float, dot product", 4 * width, 4 * width, _best(exact)),
        Form("int8, dot product", width, width, _best(whole)),
        Form("int8 cut toward zero, dot product", width, width, _best(_dot(toward_zero, asked_toward_zero))),
        Form("uint8, Euclidean distance", width, width, _best(lambda query: -((shifted - asked_shifted[query]) ** 2).sum(1))),
        Form("uint8, dot product of the codes as they are", width, width, _best(_dot(shifted, asked_shifted))),
        Form("binary, Hamming distance", packed, packed, _best(hamming)),
        Form(f"binary, best {WIDER}k by float query x signs", packed, packed, _rescored(hamming, _dot(signs, queries))),
        Form(f"binary, best {WIDER}k by int8", packed + width, packed, _rescored(hamming, whole)),
        Form(f"binary, best {WIDER}k by float", packed + 4 * width, packed, _rescored(hamming, exact)),
    ]


def _cut(queries: Floats, vectors: Floats, length: int) -> Form:
    shorter, asked = (finish(some, normalize=True, dimensions=length, embedding_type="float") for some in (vectors, queries))
    return Form(f"float, {length} dimensions", 4 * length, 4 * length, _best(_dot(shorter, asked)))


def _finish(vectors: Floats, kind: EmbeddingType) -> NDArray[np.generic]:
    return finish(vectors, normalize=True, dimensions=None, embedding_type=kind)


def _dot(vectors: NDArray[Any], queries: NDArray[Any]) -> Score:
    return lambda query: vectors @ queries[query]


def _hamming(bits: NDArray[np.uint8], queries: NDArray[np.uint8]) -> Score:
    return lambda query: -BITS[bits ^ queries[query]].sum(1)


def _best(score: Score) -> Search:
    """Equal scores, of which Hamming distances have many, keep the order of the collection."""
    return lambda query, k: np.argsort(-score(query), kind="stable")[:k].tolist()


def _rescored(cheap: Score, dear: Score) -> Search:
    def search(query: int, k: int) -> Sequence[int]:
        candidates = np.argsort(-cheap(query), kind="stable")[: WIDER * k]
        return candidates[np.argsort(-dear(query)[candidates], kind="stable")][:k].tolist()

    return search


def _table(collection: Collection, ids: Sequence[str], forms: Sequence[Form]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("", "bytes kept", "scanned", "recall@10", "recall@100", "nDCG@10", "difference to float, 95 %", "R@100")]
    count = len(collection.queries)
    truth = [{k: set(forms[0].search(query, k)) for k in DEPTHS} for query in range(count)]
    first: Mapping[str, Mapping[str, float]] = {}
    for form in forms:
        found = [{k: form.search(query, k) for k in DEPTHS} for query in range(count)]
        recall = {k: np.mean([len(truth[query][k] & set(found[query][k])) / k for query in range(count)]) for k in DEPTHS}
        at = {k: measure(_run(collection, ids, [row[k] for row in found]), collection.judgements) for k in DEPTHS}
        first = first or at[10]
        gain = gains(at[10], first, seed=0)["nDCG@10"]
        difference = "" if form is forms[0] else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        figures = (f"{recall[10]:.3f}", f"{recall[100]:.3f}", f"{means(at[10])['nDCG@10']:.4f}", difference, f"{means(at[100])['R@100']:.4f}")
        rows.append((form.name, str(form.stored), str(form.searched), *figures))
    return rows


def _run(collection: Collection, ids: Sequence[str], found: Sequence[Sequence[int]]) -> dict[str, tuple[Hit, ...]]:
    return {query: tuple(Hit(ids[i], float(-rank)) for rank, i in enumerate(hits)) for query, hits in zip(collection.queries, found, strict=True)}


if __name__ == "__main__":
    main()
