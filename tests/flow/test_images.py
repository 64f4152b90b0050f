"""Images over a socket, through the whole server with the exact engine: the numbers are those of a computation step by step beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from emberank.runtime.checkpoint import Checkpoint
from emberank.runtime.engines.base import Batch, Features
from emberank.runtime.engines.reference import ReferenceEngine
from emberank.runtime.named_weights import NamedWeights
from emberank.runtime.networks.llama import Llama
from emberank.runtime.networks.siglip import SiglipProjector
from emberank.settings import RuntimeSettings
from families import write_vl_embedder, write_vl_reranker
from picture_files import chunk, data_url, photo, png, saved
from wire import Client, Reply, nim_error

EMBEDDER, RERANKER = "acme/tiny-vl", "acme/tiny-vl-rank"
WIDE, SQUARE = photo(64, 32, 1), photo(30, 30, 2)  # pixels; a tile has 32
URLS = {"wide": data_url(saved(WIDE, "PNG")), "square": data_url(saved(SQUARE, "WEBP", lossless=True), "webp")}
PICTURES = {"wide": WIDE, "square": SQUARE}
QUERY = "which way?"

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("vision")
    return {EMBEDDER: write_vl_embedder(base / "embed"), RERANKER: write_vl_reranker(base / "rank")}


@pytest.fixture(scope="module")
def vision(folders: dict[str, Path], launch: Callable[[RuntimeSettings], Client]) -> Client:
    models = tuple(f"{name}=file:{folder}" for name, folder in folders.items())
    return launch(RuntimeSettings(port=0, models=models, engine="reference", tokenizer_threads=2))


def embed(server: Client, value: object, **fields: Any) -> Reply:
    return server.post("/v1/embeddings", {"model": EMBEDDER, "input": value, "input_type": "passage"} | fields)


def vectors(reply: Reply) -> Array:
    assert reply.status == 200, reply.body
    return np.array([item["embedding"] for item in reply.json["data"]])


class Steps:
    """The same computation with none of the server's own code between the two networks: prompts, tiles, places and pooling written out."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        checkpoint = Checkpoint.open(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.image_token = config["img_context_token_id"]
        self.weights = NamedWeights(checkpoint)
        llama = Llama.from_config(config["llm_config"])
        self.text = ReferenceEngine(replace(llama, features=llama.hidden), self.weights)
        self.vision = ReferenceEngine(SiglipProjector.from_config(config), NamedWeights(checkpoint, "vision"))

    def tiles(self, image: Image.Image) -> Array:
        """(tiles, 16, 192): of 64 × 32 pixels two squares and the whole, of 30 × 30 the whole alone."""
        crops = [image.crop((0, 0, 32, 32)), image.crop((32, 0, 64, 32)), image.resize((32, 32))] if image.width == 64 else [image.resize((32, 32))]
        pixels = [np.asarray(crop, np.float32) / 127.5 - 1 for crop in crops]
        return np.array([[tile[r : r + 8, c : c + 8].transpose(2, 0, 1).ravel() for r in range(0, 32, 8) for c in range(0, 32, 8)] for tile in pixels])

    def ids(self, text: str, images: int = 0) -> list[int]:
        """Of a text in which <image> is an image of so many tiles."""
        return list(self.tokenizer.encode(text.replace("<image>", "<img>" + "<IMG_CONTEXT>" * (4 * images) + "</img>", 1)).ids)

    def pooled(self, text: str, image: Image.Image | None = None) -> tuple[Array, int]:
        """The mean of all states, and the number of tokens."""
        if image is None:
            ids = np.array(self.ids(text), np.int32)
            return self.text.run(Batch.of([ids])).mean(0, dtype=np.float64), len(ids)
        tiles = self.tiles(image)
        patches = Features(np.arange(16 * len(tiles), dtype=np.int32), tiles.reshape(-1, 192).astype(np.float32))
        states = self.vision.run(Batch(np.zeros(16 * len(tiles), np.int32), np.zeros(16 * len(tiles), np.int32), np.full(len(tiles), 16, np.int32), patches))
        ids = np.array(self.ids(text, len(tiles)), np.int32)
        places = np.flatnonzero(ids == self.image_token).astype(np.int32)
        batch = Batch(ids, np.zeros_like(ids), np.array([len(ids)], np.int32), Features(places, states.copy()))
        return self.text.run(batch).mean(0, dtype=np.float64), len(ids)


@pytest.fixture(scope="module")
def steps(folders: dict[str, Path]) -> dict[str, Steps]:
    return {name: Steps(folder) for name, folder in folders.items()}


INPUTS = [
    (URLS["wide"], "passage: <image> ", "wide"),
    (URLS["square"], "passage: <image> ", "square"),
    (f"the road {URLS['wide']}", "passage: <image> the road", "wide"),
    (f'<img alt="a page"\n src="{URLS["square"]}"\n/>the red ice', "passage: <image> the red ice", "square"),
    ("the snow", "passage: the snow", None),
]


def expected(steps: Steps, template: str, picture: str | None) -> tuple[Array, int]:
    pooled, tokens = steps.pooled(template, PICTURES[picture] if picture else None)
    return pooled / np.linalg.norm(pooled), tokens


@pytest.mark.claim("nim:embeddings:usage-of-images")
@pytest.mark.claim("nim:embeddings:images")
@pytest.mark.parametrize(("value", "template", "picture"), INPUTS)
def test_an_embedding_is_the_one_computed_step_by_step(vision: Client, steps: dict[str, Steps], value: str, template: str, picture: str | None) -> None:
    reply = embed(vision, value)
    vector, tokens = expected(steps[EMBEDDER], template, picture)
    assert vectors(reply)[0] == pytest.approx(vector, abs=1e-4)
    assert reply.json["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


@pytest.mark.claim("nim:embeddings:images")
@pytest.mark.claim("nim:embeddings:usage-of-images")
def test_a_mixed_request_has_every_vector_in_its_place_and_all_tokens_counted(vision: Client, steps: dict[str, Steps]) -> None:
    inputs = [INPUTS[i] for i in (4, 0, 3, 1, 4, 2, 0)]
    reply = embed(vision, [value for value, _, _ in inputs])
    known = [expected(steps[EMBEDDER], template, picture) for _, template, picture in inputs]
    assert vectors(reply) == pytest.approx(np.stack([vector for vector, _ in known]), abs=1e-4)
    assert reply.json["usage"]["prompt_tokens"] == sum(tokens for _, tokens in known)
    assert "decode;dur=" in reply.headers["server-timing"]


@pytest.mark.claim("nim:embeddings:modality-inferred")
@pytest.mark.claim("nim:embeddings:modality-explicit")
def test_modalities_are_inferred_as_they_are_given(vision: Client) -> None:
    values = [value for value, _, _ in INPUTS]
    given = embed(vision, values, modality=["image", "image", "text_image", "text_image", "text"])
    assert np.array_equal(vectors(given), vectors(embed(vision, values)))
    as_images = vectors(embed(vision, values[:4], modality="image"))
    assert as_images[2] == pytest.approx(as_images[0], abs=1e-6)  # the text beside it is left out


@pytest.mark.claim("nim:embeddings:image-is-a-passage")
def test_an_image_is_a_passage_also_where_nothing_is_said(vision: Client) -> None:
    body = {"model": EMBEDDER, "input": URLS["wide"]}
    assert np.array_equal(vectors(vision.post("/v1/embeddings", body)), vectors(embed(vision, URLS["wide"])))


@pytest.mark.claim("nim:embeddings:image-as-query")
@pytest.mark.parametrize("body", [{"input_type": "query"}, {"model": f"{EMBEDDER}-query", "input_type": None}])
def test_an_image_as_a_query_is_refused_in_nims_words_by_field_and_by_suffix(vision: Client, body: dict[str, Any]) -> None:
    reply = embed(vision, URLS["wide"], **body)
    said = 'input_type="query" is not supported with images; the VLM model processes images as passages only. Use input_type="passage" or omit input_type.'
    assert (reply.status, nim_error(reply)) == (400, said)


RANKED = [
    ({"image": URLS["wide"]}, " question:which way? \n \n passage:", "wide"),
    ({"text": "the road", "image": URLS["square"]}, " question:which way? \n \n passage:the road", "square"),
    ({"text": "", "image": URLS["square"]}, " question:which way? \n \n passage:", "square"),
    ({"text": "the snow"}, "question:which way? \n \n passage:the snow", None),
]


@pytest.mark.claim("nim:ranking:images")
def test_passages_with_images_have_the_logits_computed_step_by_step(vision: Client, steps: dict[str, Steps]) -> None:
    reply = vision.post("/v1/ranking", {"model": RERANKER, "query": {"text": QUERY}, "passages": [passage for passage, _, _ in RANKED]})
    assert reply.status == 200, reply.body
    score = steps[RERANKER].weights.get("score.weight")[0]
    logits, tokens = [], 0
    for _, template, picture in RANKED:
        pooled, count = steps[RERANKER].pooled(f"<image>{template}" if picture else template, PICTURES[picture] if picture else None)
        logits.append(float(pooled @ score))
        tokens += count
    assert {one["index"]: one["logit"] for one in reply.json["rankings"]} == pytest.approx(dict(enumerate(logits)), abs=1e-4)
    assert [one["index"] for one in reply.json["rankings"]] == sorted(range(4), key=lambda i: -logits[i])
    assert reply.json["usage"]["prompt_tokens"] == tokens


@pytest.mark.claim("nim:ranking:query-required")
def test_a_query_of_a_ranking_is_never_an_image(vision: Client) -> None:
    reply = vision.post("/v1/ranking", {"model": RERANKER, "query": {"image": URLS["wide"]}, "passages": [{"text": "a"}]})
    assert (reply.status, nim_error(reply)) == (400, "query.image: unknown field, expected one of text")


@pytest.mark.claim("nim:images:limits")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(8193, 16384, pixels=b""), "an image of 8193 x 16384 pixels; at most 8192 x 16384 or 16384 x 8192 are allowed"),
        (bytes((25 << 20) + 1), "an image of 26214401 bytes; at most 26214400 (25 MiB) are allowed"),
        (b"<svg/>", "an image that is no PNG, JPEG, WebP, GIF, BMP or TIFF"),
        (saved(WIDE, "PNG")[:200], "a PNG image that cannot be read: it is truncated"),
    ],
)
def test_an_image_that_cannot_be_read_is_a_400_with_its_place(vision: Client, data: bytes, said: str) -> None:
    inputs = embed(vision, ["a", data_url(data)])
    assert (inputs.status, nim_error(inputs)) == (400, f"input[1] holds {said}")
    passages = vision.post("/v1/ranking", {"model": RERANKER, "query": {"text": QUERY}, "passages": [{"image": data_url(data)}]})
    assert (passages.status, nim_error(passages)) == (400, f"passages[0] holds {said}")


@pytest.mark.claim("nim:images:limits")
def test_an_image_of_25_mib_fits_into_a_request(vision: Client) -> None:
    small = png(8, 8)
    padded = png(8, 8, chunk(b"tEXt", bytes((25 << 20) - len(small) - 12)))
    assert np.array_equal(vectors(embed(vision, data_url(padded))), vectors(embed(vision, data_url(small))))


@pytest.mark.claim("nim:images:formats")
@pytest.mark.parametrize(("name", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("GIF", {}), ("JPEG", {"quality": 100})])
def test_six_formats_are_read_whatever_they_are_called(vision: Client, name: str, options: dict[str, Any]) -> None:
    grey = Image.new("RGB", (32, 32), (80, 80, 80))  # what every format keeps
    assert vectors(embed(vision, data_url(saved(grey, name, **options), "jpeg"))) == pytest.approx(
        vectors(embed(vision, data_url(saved(grey, "PNG")))), abs=1e-5
    )


def test_images_are_counted(vision: Client) -> None:
    def counted() -> dict[str, float]:
        lines = vision.get("/v1/metrics").body.decode().splitlines()
        names = ("emberank_images_total", "emberank_tiles_total", "emberank_image_decode_seconds_count")
        return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(names)}

    before = counted()
    vectors(embed(vision, [URLS["wide"], "a text"]))
    after = counted()
    assert {name: after[name] - before[name] for name in after} == {
        "emberank_images_total": 1,
        "emberank_tiles_total": 3,
        "emberank_image_decode_seconds_count": 1,
    }


@pytest.mark.claim("nim:embeddings:limit-by-modality")
def test_each_modality_has_a_limit_of_its_own(vision: Client) -> None:
    long = "snow " * 11_000
    assert nim_error(embed(vision, long)).endswith("exceeds maximum allowed token size 8192")
    assert nim_error(embed(vision, ["a", f"{long}{URLS['wide']}"])).endswith("exceeds maximum allowed token size 10240")


def test_the_settings_of_images_reach_the_decoders(folders: dict[str, Path], launch: Callable[[RuntimeSettings], Client]) -> None:
    models = (f"{EMBEDDER}=file:{folders[EMBEDDER]}",)
    running: Any = launch(RuntimeSettings(port=0, models=models, engine="reference", image_threads=1, max_images_at_once=1))
    pictures = running.process.pipeline._pictures
    assert (pictures.at_once, pictures._threads._max_workers) == (1, 1)
    inputs = [data_url(saved(photo(30, 30, seed), "PNG")) for seed in range(5)]
    assert vectors(embed(running, inputs)).shape == (5, 64)
