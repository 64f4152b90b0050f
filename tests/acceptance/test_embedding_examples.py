"""The examples of the embedding NIM's reference, run as they stand: bash and curl against a real process with a tiny vision checkpoint.

The page's variables are set as it says, and then SERVICE_PORT to the port that was free.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from acceptance_environment import environment
from families import write_vl_embedder
from wire import Client, nim_error

PAGE = (Path(__file__).parents[1] / "compat/embedding_nim_examples.md").read_text("utf-8")
MODEL = "nvidia/llama-nemotron-embed-vl-1b-v2"
PATH = "/v1/embeddings"
LENGTHS = [128, 256, 384, 512, 768, 1024, 1536, 2048]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the page's commands are for a POSIX shell")


def section(title: str) -> tuple[str, Any]:
    """A section's command and its printed answer."""
    text = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    blocks = dict(re.findall(r"```(\w+)\n(.*?)\n```", text, re.S))
    return blocks["sh"], json.loads(blocks["json"]) if "json" in blocks else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand and forty-eight dimensions and tiles of 512 pixels in patches of 16, as the published model has; the rest is small."""
    target = tmp_path_factory.mktemp("checkpoint") / "vl"
    return write_vl_embedder(target, hidden=2048, vision_config={"image_size": 512, "patch_size": 16}, force_image_size=512)


@pytest.fixture(scope="module")
def server(folder: Path, launch: Callable[..., Any]) -> Client:
    return launch("--models", f"{MODEL}=file:{folder}").ready()


@pytest.fixture
def run(server: Client, tmp_path: Path) -> Callable[[str], Any]:
    """Run a section's command in a folder of its own; what came back, and what the page prints."""

    def run(title: str) -> tuple[Any, Any]:
        command, printed = section(title)
        variables, _ = section("Set the host and service port")
        script = f"set -euo pipefail\n{variables}\nexport SERVICE_PORT={server.port}\n{command}\n"
        quiet = environment(http_proxy="", HTTP_PROXY="")
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=quiet, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), printed

    return run


def tokens(folder: Path, text: str) -> int:
    """Ids of a text, BOS included, by the tokenizers library alone."""
    return len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids)


def same_but_for_numbers(answer: Any, printed: Any, length: int) -> list[float]:
    """Check the answer's fields against the page's; return its vector."""
    assert list(answer) == list(printed)
    assert (answer["object"], answer["model"]) == (printed["object"], printed["model"])
    assert [list(item) for item in answer["data"]] == [list(item) for item in printed["data"]]
    assert [(item["object"], item["index"]) for item in answer["data"]] == [("embedding", 0)]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"]
    vector: list[float] = answer["data"][0]["embedding"]
    assert len(vector) == length
    assert {type(number) for number in vector} == {type(number) for number in printed["data"][0]["embedding"]}
    return vector


@pytest.mark.claim("nim:embeddings:reference-examples")
def test_the_list_of_models(run: Any) -> None:
    answer, printed = run("List Models")
    assert answer["object"] == printed["object"]
    (model,), (theirs,) = answer["data"], printed["data"]
    assert {name: model[name] for name in ("id", "object", "owned_by")} == {name: theirs[name] for name in ("id", "object", "owned_by")}
    assert isinstance(model["created"], int)


@pytest.mark.claim("nim:embeddings:reference-examples")
def test_the_text_query(run: Any, folder: Path) -> None:
    answer, printed = run("Generate a Text Query Embedding")
    vector = same_but_for_numbers(answer, printed, 2048)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert answer["usage"]["prompt_tokens"] == tokens(folder, "query: What is NVIDIA?")


@pytest.mark.claim("nim:embeddings:reference-examples")
def test_the_image_document(run: Any, folder: Path) -> None:
    answer, printed = run("Generate an Image Document Embedding")
    vector = same_but_for_numbers(answer, printed, 2048)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    # One tile of 256 tokens, as on the page; what stands around them is counted by the checkpoint's own tokenizer.
    assert answer["usage"]["prompt_tokens"] == tokens(folder, "passage: <img>" + "<IMG_CONTEXT>" * 256 + "</img> ")


@pytest.mark.claim("nim:embeddings:reference-examples")
def test_the_compressed_embedding(run: Any) -> None:
    whole, _ = run("Generate a Text Query Embedding")
    answer, printed = run("Generate a Compressed Embedding")
    vector = same_but_for_numbers(answer, printed, 2048)
    assert all(-128 <= number <= 127 for number in vector)
    assert vector == pytest.approx(np.array(whole["data"][0]["embedding"]) * 127, abs=0.51)
    assert answer["usage"] == whole["usage"]


@pytest.mark.claim("nim:embeddings:reference-examples")
@pytest.mark.parametrize("title", ["Readiness", "Liveness"])
def test_the_health_checks(run: Any, title: str) -> None:
    answer, printed = run(title)
    assert {name: answer[name] for name in printed} == printed


def body(**fields: Any) -> dict[str, Any]:
    return {"input": ["What is NVIDIA?"], "model": MODEL, "input_type": "query"} | fields


@pytest.mark.claim("nim:embeddings:reference-examples")
@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_that_the_page_lists(server: Client, length: int) -> None:
    whole = np.array(server.post(PATH, body()).json["data"][0]["embedding"])
    cut = np.array(server.post(PATH, body(dimensions=length)).json["data"][0]["embedding"])
    assert cut == pytest.approx(whole[:length] / np.linalg.norm(whole[:length]), abs=1e-3)


@pytest.mark.parametrize("length", [1, 100, 2049])
def test_a_length_that_the_page_does_not_list(server: Client, length: int) -> None:
    listed = ", ".join(map(str, LENGTHS))
    assert nim_error(server.post(PATH, body(dimensions=length))) == f"dimensions {length} is not supported by model '{MODEL}'; supported: {listed}"


def test_a_length_and_a_type_together(server: Client) -> None:
    assert server.post(PATH, body(dimensions=128, embedding_type="binary")).status == 400


@pytest.mark.claim("nim:embeddings:reference-examples")
@pytest.mark.parametrize(
    ("kind", "length", "least", "most"), [("int8", 2048, -128, 127), ("uint8", 2048, 0, 255), ("binary", 256, -128, 127), ("ubinary", 256, 0, 255)]
)
def test_every_type_that_the_page_lists_with_its_length(server: Client, kind: str, length: int, least: int, most: int) -> None:
    vector = server.post(PATH, body(embedding_type=kind)).json["data"][0]["embedding"]
    assert len(vector) == length
    assert all(isinstance(number, int) and least <= number <= most for number in vector)


@pytest.mark.claim("nim:embeddings:reference-examples")
@pytest.mark.parametrize("wrapped", [False, True])
def test_text_and_image_in_one_input_bare_or_in_an_image_tag(run: Any, server: Client, tmp_path: Path, wrapped: bool) -> None:
    run("Generate an Image Document Embedding")  # writes the page's own image
    url = json.loads((tmp_path / "payload-image.json").read_text("utf-8"))["input"][0]
    both = f'a colour ramp <img src="{url}"/>' if wrapped else f"a colour ramp {url}"
    inputs = ["a colour ramp", url, both]
    given = server.post(PATH, body(input=inputs, input_type="passage", modality=["text", "image", "text_image"]))
    inferred = server.post(PATH, body(input=inputs, input_type=None))
    assert given.status == inferred.status == 200
    vectors = np.array([item["embedding"] for item in given.json["data"]])
    assert vectors[1:] == pytest.approx(np.array([item["embedding"] for item in inferred.json["data"]])[1:], abs=1e-2)
    assert not np.allclose(vectors[1], vectors[2], atol=1e-2)
    coded = server.post(PATH, body(input=url, input_type="passage", encoding_format="base64")).json["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), "<f4") == pytest.approx(vectors[1], abs=1e-2)


# What the page's table calls each case, as a request.
CASES: dict[str, dict[str, Any]] = {
    "Empty input array": {"input": []},
    "Blank input string": {"input": [" "]},
    "Unknown model": {"model": "wrong-model"},
    "Invalid modality": {"modality": "bogus"},
    'Image with input_type: "query"': {"input": ["data:image/png;base64,iVBORw0KGgo="], "input_type": "query"},
    "Invalid encoding_format": {"encoding_format": "bad"},
    "Invalid embedding_type": {"embedding_type": "bad"},
}
TABLE = re.findall(r"^\| (.+?) \| (\d+) \| (.+) \|$", PAGE, re.M)


def test_the_table_is_read_whole() -> None:
    assert {case for case, _, _ in TABLE} == set(CASES)


@pytest.mark.claim("nim:errors:table-of-the-embedding-reference")
@pytest.mark.parametrize(("case", "status", "message"), TABLE)
def test_every_row_of_the_table_of_errors(server: Client, case: str, status: str, message: str) -> None:
    reply = server.post(PATH, body(**CASES[case]))
    assert (reply.status, nim_error(reply)) == (int(status), message)
    assert reply.json["object"] == "error"
