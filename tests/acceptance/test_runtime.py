"""The runtime as a person meets it: started, asked, signalled, killed, and given what cannot work."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emberank.runtime.sources.base import parse_source
from emberank.runtime.weights import cached
from tinybert import HIDDEN, weights_of, write_safetensors
from wire import Client, nim_error, receive, request, until

RANK = "/v1/ranking"
# The catalogue page's own example.
PAGE = {
    "query": {"text": "what is retrieval augmented generation?"},
    "passages": [
        {"text": "Retrieval augmented generation combines search over external documents with language model generation."},
        {"text": "A graphics processing unit accelerates parallel numerical workloads."},
        {"text": "Embeddings map text into vectors for semantic search."},
    ],
    "truncate": "END",
}
SMALL = json.dumps({"query": {"text": "the road"}, "passages": [{"text": "snow"}]}).encode()


@pytest.fixture(scope="module")
def default(weights: Path, launch: Any) -> Any:
    """One runtime with both default models, as `emberank runtime` starts it."""
    running = launch("--port", "0")
    running.ready()
    return running


@pytest.mark.claim("nim:ranking:sorted")
def test_the_page_s_three_passages_come_out_in_the_right_order(default: Any) -> None:
    reply = default.ready().post(RANK, PAGE)
    assert reply.status == 200
    assert [ranked["index"] for ranked in reply.json["rankings"]] == [0, 2, 1]
    assert reply.json["rankings"][0]["logit"] > 0 > reply.json["rankings"][1]["logit"]


def test_an_embedding_of_a_question_is_nearest_to_its_answer(default: Any) -> None:
    client = default.ready()
    texts = [PAGE["query"]["text"], *(passage["text"] for passage in PAGE["passages"])]  # type: ignore[index]
    vectors = np.array([item["embedding"] for item in client.post("/v1/embeddings", {"input": texts}).json["data"]])
    cosines = vectors[1:] @ vectors[0]
    assert vectors.shape == (4, 384)
    assert cosines == pytest.approx([0.6646, 0.1751, 0.2662], abs=0.03)


@pytest.mark.claim("nim:embeddings:dimensions-zero-is-absent")
@pytest.mark.parametrize(("value", "status"), [(0, 200), (None, 200), (384, 200), (128, 400), (2048, 400)])
def test_the_dimensions_of_the_default_embedder_are_384(default: Any, value: int | None, status: int) -> None:
    assert default.ready().post("/v1/embeddings", {"input": "snow", "dimensions": value}).status == status


@pytest.mark.claim("nim:metadata:golden")
@pytest.mark.claim("nim:manifest:files-and-hashes")
def test_the_default_models_are_the_verified_ones_and_their_golden_examples_were_checked(default: Any) -> None:
    client = default.ready()
    models = client.get("/v1/metadata").json["models"]
    assert [model["golden"] for model in models] == ["checked", "checked"]
    assert models[0]["content_hash"] == models[1]["content_hash"]
    files = {file["name"]: file["sha256"] for file in client.get("/v1/manifest").json["models"][0]["files"]}
    assert files["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.mark.claim("nim:shutdown:drains")
def test_sigterm_lets_requests_in_flight_finish_and_ends_with_status_0(runtime: Any, tiny: Path) -> None:
    running = runtime(EMBERANK_MODEL_PATH=str(tiny), EMBERANK_ENGINE="reference")
    client = running.ready()
    with client.raw() as half:
        half_sent(half)
        running.signal(signal.SIGTERM)
        until(lambda: not taken(client.port), "it takes no new connection")
        assert running.process.poll() is None
        half.sendall(SMALL[-9:])
        assert receive(half).status == 200
    assert running.status() == 0
    assert "Traceback" not in running.stderr


@pytest.mark.claim("nim:shutdown:second-signal")
def test_a_second_sigterm_does_not_wait_for_requests_in_flight(runtime: Any, tiny: Path) -> None:
    running = runtime(EMBERANK_MODEL_PATH=str(tiny), EMBERANK_ENGINE="reference")
    client = running.ready()
    with client.raw() as half:
        half_sent(half)
        running.signal()
        until(lambda: not taken(client.port), "it drains")
        assert running.process.poll() is None
        running.signal()
        assert running.status(10) == 0


def test_a_signal_while_a_model_loads_ends_it_at_once(runtime: Any, tmp_path: Path) -> None:
    port, cache, source = free_port(), tmp_path / "cache", "pypi:nothing==1.0#model"
    folder = cached(parse_source(source), cache)
    folder.parent.mkdir(parents=True)
    held = folder.with_name(f"{folder.name}.lock").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)  # as if another process were fetching it: the load does not end
    running = runtime(EMBERANK_MODELS=source, EMBERANK_CACHE_DIR=str(cache), EMBERANK_PORT=str(port))
    until(lambda: taken(port), "it answers")
    client = Client(port)
    assert client.get("/v1/health/live").status == 200
    assert client.get("/v1/health/ready").status == 503
    assert nim_error(client.post(RANK, SMALL)) == "the server is loading"
    running.signal()
    assert running.status(10) == 0
    held.close()


def test_a_pipe_in_a_checkpoints_folder_is_refused_and_never_read(runtime: Any, tiny: Path) -> None:
    os.mkfifo(tiny / "never-written")  # whoever reads it waits
    running = runtime(EMBERANK_MODEL_PATH=str(tiny))
    assert running.status() == 2
    assert "never-written" in running.line


def test_sigkill_leaves_nothing_behind_and_a_new_start_works(runtime: Any, tiny: Path) -> None:
    settings = {"EMBERANK_MODEL_PATH": str(tiny), "EMBERANK_ENGINE": "reference"}
    running = runtime(**settings)
    port = running.ready().port
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    assert not children.exists() or children.read_text() == ""
    running.signal(signal.SIGKILL)
    assert running.status() == -signal.SIGKILL
    assert not taken(port)
    again = runtime(**settings, EMBERANK_PORT=str(port))
    assert again.ready().post(RANK, SMALL).status == 200


@pytest.mark.claim("nim:requests:body-limit")
def test_a_body_far_over_the_limit_is_a_413_that_its_sender_reads(runtime: Any, tiny: Path) -> None:
    running = runtime(EMBERANK_MODEL_PATH=str(tiny), EMBERANK_ENGINE="reference", EMBERANK_MAX_BODY_BYTES=str(1 << 20))
    client = running.ready()
    reply = client.post(RANK, b"x" * (20 << 20))
    assert (reply.status, nim_error(reply)) == (413, f"the body is {20 << 20} bytes; at most {1 << 20} are allowed")
    assert client.post(RANK, SMALL).status == 200


# --- what cannot work: exit status 2, one clear line, no traceback


def test_a_port_in_use_is_said_at_once(runtime: Any, tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        running = runtime(EMBERANK_MODEL_PATH=str(tiny), EMBERANK_PORT=str(port))
        assert running.status() == 2
    assert running.line.startswith(f"emberank: cannot listen on 127.0.0.1:{port}: ")
    assert "--port takes another port" in running.line


def _truncated(folder: Path) -> str:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return "it was cut short"


def _no_weights(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "there is neither model.safetensors nor"


def _no_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").unlink()
    return "tokenizer.json is missing"


def _no_config(folder: Path) -> str:
    (folder / "config.json").unlink()
    return "there is no config.json"


def _other_architecture(folder: Path) -> str:
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaModel"], "auto_map": {"AutoModel": "evil.Model"}}')
    (folder / "evil.py").write_text("raise SystemExit(99)")
    return "'LlamaModel' of model_type 'llama' is not known here; known architectures: BertModel,"


def _broken_config(folder: Path) -> str:
    (folder / "config.json").write_text("{")
    return "config.json cannot be read"


def _broken_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").write_text("{}")
    return "tokenizer.json cannot be read"


def _broken_modules(folder: Path) -> str:
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("BertForSequenceClassification", "BertModel"))
    (folder / "modules.json").write_text("{")
    return "modules.json cannot be read"


def _not_numbers(folder: Path) -> str:
    _rewrite(folder, np.nan)
    return "'classifier.weight' holds a NaN or an infinity"


def _rewrite(folder: Path, value: float) -> None:
    weights = weights_of(np.random.default_rng(7), ranks=True)
    weights["classifier.weight"] = np.full((1, HIDDEN), value, np.float32)
    write_safetensors(folder / "model.safetensors", weights)


BROKEN = [_truncated, _no_weights, _no_tokenizer, _no_config, _other_architecture, _broken_config, _broken_tokenizer, _broken_modules, _not_numbers]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda function: function.__name__.strip("_"))
def test_a_checkpoint_that_cannot_be_served_is_one_clear_line(runtime: Any, tiny: Path, broken: Any) -> None:
    said = broken(tiny)
    running = runtime(EMBERANK_MODEL_PATH=str(tiny), EMBERANK_ENGINE="reference")
    assert running.status() == 2
    assert said in running.line
    assert running.stdout == ""


def test_one_flipped_byte_in_the_default_weights_is_found(runtime: Any, weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cache" / weights.parent.name / weights.name
    shutil.copytree(weights, copy)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    running = runtime(EMBERANK_CACHE_DIR=str(tmp_path / "cache"))
    assert running.status() == 2
    assert "model.safetensors: sha256 is " in running.line
    assert "run `emberank pull` again" in running.line


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"EMBERANK_PORT": "many"}, "EMBERANK_PORT='many' must be a whole number"),
        ({"EMBERANK_ENGINE": "magic"}, "EMBERANK_ENGINE='magic' must be one of"),
        ({"NIM_MAX_WAIT_MS": "-3"}, "NIM_MAX_WAIT_MS='-3' must be between"),
        ({"EMBERANK_MODELS": "no-such-model"}, "'no-such-model' is neither a preset"),
        ({"EMBERANK_HOST": "no.such.host.invalid"}, "cannot listen on no.such.host.invalid:"),
        ({"EMBERANK_TLS_CERT_PATH": "/nonexistent.pem"}, "go together"),
        ({"EMBERANK_TLS_CERT_PATH": "/nonexistent.pem", "EMBERANK_TLS_KEY_PATH": "/nonexistent.key"}, "cannot be used: No such file"),
        ({"EMBERANK_CONFIG": "/nonexistent.toml"}, "EMBERANK_CONFIG: cannot read"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(runtime: Any, variables: dict[str, str], said: str) -> None:
    running = runtime(**variables)
    assert running.status() == 2
    assert said in running.line


# --- settings


@pytest.mark.claim("nim:settings:show-config")
def test_show_config_prints_the_settings_in_force_and_starts_nothing(runtime: Any) -> None:
    running = runtime(SHOW_CONFIG="1", NIM_HTTP_API_PORT="8123", EMBERANK_PORT="8124", NIM_SERVER_MAX_QUEUE_SIZE="77")
    assert running.status() == 0
    lines = running.stdout.splitlines()
    assert "EMBERANK_PORT=8124" in lines  # our own variable goes before NVIDIA's
    assert "EMBERANK_MAX_QUEUE_SIZE=77" in lines


@pytest.mark.claim("nim:settings:both-families")
@pytest.mark.parametrize("family", ["1.x", "2.x"])
def test_nvidias_variables_of_both_generations_work(runtime: Any, tiny: Path, family: str) -> None:
    port = free_port()
    old = {"NIM_HTTP_API_PORT": str(port), "NIM_CUSTOM_MODEL": str(tiny), "NIM_JSONL_LOGGING": "1", "NIM_LOG_LEVEL": "INFO"}
    new = {"NIM_SERVER_BIND_ADDR": f"127.0.0.1:{port}", "NIM_ENGINE_MODEL_PATH": str(tiny), "LOG_FORMAT": "json", "RUST_LOG": "info"}
    variables = (old if family == "1.x" else new) | {"NIM_SERVED_MODEL_NAME": "nvidia/my-rerank,other", "EMBERANK_ENGINE": "reference"}
    running = runtime(**variables, EMBERANK_PORT=str(port))
    client = running.ready()
    assert client.port == port
    assert [model["id"] for model in client.get("/v1/models").json["data"]] == ["nvidia/my-rerank"]
    assert client.post("/v1/retrieval/nvidia/my_rerank/reranking", SMALL, {"X-Request-Id": "id-1"}).status == 200
    running.signal()
    assert running.status() == 0
    lines = [json.loads(line) for line in running.stderr.splitlines()]
    assert {"model_loaded", "golden", "ready", "request", "drain"} <= {line["action"] for line in lines}
    assert [line["request_id"] for line in lines if line["action"] == "request" and line["status"] == 200][-1] == "id-1"
    assert "the road" not in running.stderr


@pytest.mark.claim("nim:settings:tls")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate of this test")
def test_it_speaks_https_with_a_certificate_and_its_key(runtime: Any, tiny: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    running = runtime(NIM_TLS_CERT_PATH=str(certificate), NIM_TLS_KEY_PATH=str(key), EMBERANK_MODEL_PATH=str(tiny), EMBERANK_ENGINE="reference")
    client = running.ready(ssl.create_default_context(cafile=str(certificate)))
    assert client.post(RANK, SMALL).status == 200
    assert "https://127.0.0.1" in running.stdout
    with client.raw() as plain:
        plain.sendall(request(RANK, SMALL))
        assert not plain.recv(1000).startswith(b"HTTP/1.1 200")


def half_sent(sock: socket.socket) -> None:
    """Send a request but for its last bytes, and know that the server reads it."""
    sock.sendall(request(RANK, b"", "Expect: 100-continue", length=len(SMALL)))
    assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    sock.sendall(SMALL[:-9])


def taken(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that was free a moment ago, for the tests that must know it before the process says it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


# --- started by a launcher that does not stay to listen


def test_a_launcher_learns_from_the_status_file_where_the_model_answers_and_from_a_header_what_it_read(runtime: Any, tiny: Path, tmp_path: Path) -> None:
    models, status = tmp_path / "models.json", tmp_path / "status.json"
    models.write_text(json.dumps({"model": [{"name": "me/mine", "aliases": ["mine"], "source": f"file:{tiny}"}]}))
    runtime("--model-file", str(models), "--status-file", str(status))
    until(lambda: status.exists() and json.loads(status.read_text())["phase"] == "ready", "ready, said in the status file")
    said = json.loads(status.read_text())
    reply = Client(int(said["url"].rpartition(":")[2])).post(RANK, SMALL)
    assert int(reply.headers["emberank-prompt-tokens"]) == reply.json["usage"]["prompt_tokens"]


def test_a_launcher_learns_from_the_status_file_why_a_start_failed(runtime: Any, tmp_path: Path) -> None:
    models, status = tmp_path / "models.json", tmp_path / "status.json"
    models.write_text(json.dumps({"model": [{"name": "me/mine", "source": f"file:{tmp_path / 'nothing'}"}]}))
    failing = runtime("--model-file", str(models), "--status-file", str(status))
    assert failing.status() == 2
    assert json.loads(status.read_text())["reason"] == "weights_unavailable"
