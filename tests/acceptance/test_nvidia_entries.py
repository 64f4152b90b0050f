"""The catalogue's NVIDIA entries start from a folder of one's own, through the forge, and answer the catalogue page's request; random weights are called so.

The folders are `make-checkpoint`'s: published files with few and small layers. With EMBERANK_TEST_FULL_SIZE=1 they are the published shapes as they are,
gigabytes each, made by the command itself; what that took is printed.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from acceptance_environment import environment
from page_scripts import SLUG, run_script
from random_checkpoints import shape_of, tiny, write_random
from up_process import KEY, Authorized, Up
from wire import until

RERANK_VL, EMBED, EMBED_VL = "nvidia-llama-nemotron-rerank-vl-1b-v2", "nvidia-llama-3-2-nv-embedqa-1b-v2", "nvidia-llama-nemotron-embed-vl-1b-v2"
SHAPES = {SLUG: "nv-rerankqa-1b-v2", RERANK_VL: "rerank-vl-1b-v2", EMBED: "nv-embedqa-1b-v2", EMBED_VL: "embed-vl-1b-v2"}
QUERY = "what is retrieval augmented generation?"
PASSAGES = [
    "Retrieval augmented generation combines search over external documents with language model generation.",
    "A graphics processing unit accelerates parallel numerical workloads.",
    "Embeddings map text into vectors for semantic search.",
]
RANK = {"query": {"text": QUERY}, "passages": [{"text": text} for text in PASSAGES], "truncate": "END"}
ENTRY = '[[model]]\nextends = "{slug}"\n[[model.version]]\nname = "v1"\nsource = "file:{folder}"\n{more}\n'
# The page's scripts are pinned to a target, whose name this machine borrows.
POOLS = "".join(
    f'[[pool]]\ngpu_type = "{gpu_type}"\nregion = "{region}"\nmemory_gb = {{memory_gb}}\nslots = 2\nusd_per_hour = 1.0\n'
    for gpu_type, region in (("CPU", "local"), ("B200", "us-central1"))
)
NEEDS_GB = 16  # of the largest shape in float32, with the checkpoint's pages and the installation itself
FULL_SIZE = os.environ.get("EMBERANK_TEST_FULL_SIZE") == "1"
Command = Callable[..., Any]


def installation(folder: Path, entries: str, memory_gb: float = 4) -> Up:
    data = folder / "data"
    data.mkdir(mode=0o700)
    (data / "models.toml").write_text(entries)
    (data / "pools.toml").write_text(POOLS.format(memory_gb=memory_gb))
    # A cache of its own: what an engine keeps of weights that nobody will serve again need not stay.
    return Up(folder, environment(EMBERANK_API_KEY=KEY, EMBERANK_PROBE_AFTER_START="no", EMBERANK_CACHE_DIR=str(folder / "cache")))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One installation whose NVIDIA entries point at small random checkpoints."""
    folder = tmp_path_factory.mktemp("nvidia")
    for slug, name in SHAPES.items():
        write_random(tiny(shape_of(name)), folder / slug)
    started = installation(folder, "".join(ENTRY.format(slug=slug, folder=folder / slug, more="memory_gb = 0.4") for slug in SHAPES))
    yield started
    started.end()


def test_the_page_s_own_request_is_answered_by_the_page_s_own_entry(up: Up) -> None:
    done = run_script("inference", up.ready().port, KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    check_ranking(json.loads(done.stdout))


@pytest.mark.parametrize("slug", [SLUG, RERANK_VL])
def test_a_reranker_answers_on_every_route_and_says_that_its_numbers_mean_nothing(up: Up, slug: str) -> None:
    client = up.ready()
    native = client.post(f"/v1/inference/{slug}", RANK)
    assert native.status == 200, native.body
    check_ranking(native.json)
    assert native.headers["emberank-random-weights"] == "true"
    assert client.post("/v1/ranking", RANK | {"model": slug}).json == native.json


@pytest.mark.parametrize("slug", [EMBED, EMBED_VL])
def test_an_embedder_answers_through_the_forge_with_unit_vectors(up: Up, slug: str) -> None:
    reply = up.ready().post(f"/v1/inference/{slug}", {"input": [QUERY, *PASSAGES], "input_type": "passage"})
    assert reply.status == 200, reply.body
    vectors = [row["embedding"] for row in reply.json["data"]]
    assert [sum(x * x for x in vector) for vector in vectors] == pytest.approx([1.0] * 4, abs=1e-3)
    assert len({tuple(vector) for vector in vectors}) == 4
    assert reply.headers["emberank-random-weights"] == "true"


def test_a_picture_goes_through_the_forge_as_a_text_does(up: Up) -> None:
    client = up.ready()
    reply = client.post(f"/v1/inference/{EMBED_VL}", {"input": [picture()], "input_type": "passage"})
    assert reply.status == 200, reply.body
    assert reply.json["usage"]["prompt_tokens"] > 256
    ranked = client.post(f"/v1/inference/{RERANK_VL}", RANK | {"passages": [{"image": picture()}, {"text": PASSAGES[0]}]})
    assert ranked.status == 200, ranked.body
    assert sorted(row["index"] for row in ranked.json["rankings"]) == [0, 1]


def test_catalogue_status_and_figures_call_random_weights_random(up: Up) -> None:
    client = up.ready()
    assert client.post(f"/v1/inference/{SLUG}", RANK).status == 200
    page = client.get(f"/v1/models/{SLUG}").json
    assert page["random_weights"] is True
    assert page["versions"][0]["random_weights"] is True
    assert "random numbers" in page["versions"][0]["note"]
    assert client.get(f"/v1/models/{SLUG}/reliability").json["random_weights"] is True
    (endpoint,) = client.get(f"/v1/model-families/{SLUG}/status?version=v1").json["endpoints"]
    assert (endpoint["phase"], endpoint["random_weights"]) == ("WARM", True)
    assert client.get("/v1/models/all-minilm-l6-v2").json["random_weights"] is False
    assert "(random weights)" in "".join(path.read_text() for path in (up.data / "logs").glob(f"{SLUG}-*.log"))


def test_a_random_folder_is_added_under_its_own_name_and_the_entry_says_what_it_is(up: Up, emberank: Command, tmp_path: Path) -> None:
    folder = tmp_path / "nv-rerankqa-random"
    write_random(tiny(shape_of("nv-rerankqa-1b-v2")), folder)
    added = emberank("add", str(folder), "--data-dir", str(up.data))
    assert added.returncode == 0, added.stderr
    client = up.ready()
    until(lambda: client.get("/v1/models/nv-rerankqa-random").status == 200, "the forge has read it")
    page = client.get("/v1/models/nv-rerankqa-random").json
    assert (page["title"], page["task"], page["random_weights"]) == ("nv-rerankqa-random (random weights)", "text→ranking", True)
    assert "random-weights" in page["tags"]


def test_the_command_makes_what_a_runtime_serves_and_says_that_it_is_random(emberank: Command, runtime: Command, tmp_path: Path) -> None:
    folder = tmp_path / "ms-marco-random"
    made = emberank("make-checkpoint", "cross-encoder/ms-marco-MiniLM-L-6-v2", "--random", "--out", str(folder), "--layers", "1", "--data-dir", str(tmp_path))
    assert made.returncode == 0, made.stderr
    assert "mean nothing" in made.stdout
    served = runtime("--models", f"file:{folder}")
    client = served.ready()
    assert "ms-marco-random (random weights)" in served.stdout
    assert client.get("/v1/metadata").json["models"][0]["random_weights"] is True
    check_ranking(client.post("/v1/ranking", RANK).json)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nvidia/llama-nemotron-rerank-500m-v2", "--random"), "is not known"),
        (("bge-small-en-v1.5", "--random"), "is not written down here; there are those of: nvidia/"),
        (("no-such-model", "--random"), "'no-such-model' not found"),
        (("all-MiniLM-L6-v2", "--random", "--seed", "-1"), "--seed has to be 0 or more"),
        (("all-MiniLM-L6-v2", "--random", "--out", "."), "is there already"),
        (("all-MiniLM-L6-v2",), "--random"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(emberank: Command, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = emberank("make-checkpoint", *arguments, "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("slug", SHAPES)
@pytest.mark.skipif(not FULL_SIZE, reason="gigabytes and minutes: set EMBERANK_TEST_FULL_SIZE=1")
def test_the_published_shape_as_it_is_starts_through_the_forge_and_answers(slug: str, emberank: Command, tmp_path: Path) -> None:
    free_gb = psutil.virtual_memory().available / 1e9
    if free_gb < NEEDS_GB:
        pytest.skip(f"{free_gb:.1f} GB of memory are free, and {NEEDS_GB} are needed")
    folder = tmp_path / "weights"
    began = time.monotonic()
    made = emberank("make-checkpoint", slug, "--random", "--out", str(folder), "--data-dir", str(tmp_path))
    assert made.returncode == 0, made.stderr
    print(f"{made.stdout.splitlines()[0]}; {time.monotonic() - began:.1f} s")
    up = installation(tmp_path, ENTRY.format(slug=slug, folder=folder, more=""), memory_gb=free_gb)
    try:
        client = Patient(up.ready().port)
        for start in ("first", "second"):
            started = client.post(f"/v1/model-families/{slug}/start", {"run_until_stopped": False, "gpu_type": "B200"})
            assert started.status == 200, started.body
            times = [answered_ms(client, slug) for _ in range(10)]
            (process,) = up.runtimes()
            print(f"{start} start {started.json['startup_ms'] / 1e3:.1f} s; request p50 {sorted(times)[5]:.0f} ms, {process.memory_info().rss / 1e9:.2f} GB")
            client.post(f"/v1/model-families/{slug}/stop", {})
            until(lambda: up.runtimes() == [], "its memory is free again", 60)
        if slug == SLUG:
            done = run_script("inference", client.port, KEY)
            assert done.returncode == 0, done.stdout + done.stderr
            check_ranking(json.loads(done.stdout))
        page = client.get(f"/v1/models/{slug}").json
        print(f"expected {page['versions'][0]['memory']['expected_gb']} GB, peak {page['versions'][0]['memory']['observed_bytes'] / 1e9:.2f} GB")
        assert page["random_weights"] is True
    finally:
        up.end()
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)


class Patient(Authorized):
    """A client that waits for gigabytes to be read."""

    def connect(self, timeout_s: float = 600.0) -> http.client.HTTPConnection:
        return super().connect(timeout_s)


def answered_ms(client: Authorized, slug: str) -> float:
    """The page's request, checked, and what the model took for it."""
    body = RANK if "rerank" in slug else {"input": [QUERY, *PASSAGES], "input_type": "passage"}
    reply = client.post(f"/v1/inference/{slug}", body)
    assert reply.status == 200, reply.body
    assert reply.headers["emberank-random-weights"] == "true"
    if "rerank" in slug:
        check_ranking(reply.json)
    return float(reply.headers["x-emberank-model-ms"])


def check_ranking(answer: Any) -> None:
    """NIM's form, every passage once, best first; and the scores differ, as they would with real weights."""
    ranked = answer["rankings"]
    logits = [row["logit"] for row in ranked]
    assert sorted(row["index"] for row in ranked) == [0, 1, 2]
    assert logits == sorted(logits, reverse=True)
    assert logits[0] - logits[-1] > 0.01
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 20


def picture() -> str:
    """A data URL of a small PNG, half red, half blue."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + (b"\xff\0\0" if row < 16 else b"\0\0\xff") * 32 for row in range(32))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()
