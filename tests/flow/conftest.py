"""A whole server in this process: real sockets on loopback, real threads, a tiny checkpoint. `start` gives one with settings of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from emberank.runtime.engines.fake import FakeEngine
from emberank.runtime.process import RuntimeProcess, bind
from emberank.settings import RuntimeSettings
from wire import WAIT_S, Client, until

EMBEDDER = "acme/Tiny_Embed-v1.5"
RERANKER = "acme/tiny-rank.v2"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "in", "which", "way", "should", "i", "go", "road", "wood", "snow", "ice", "red", "hot"]
HIDDEN, LAYERS, WIDE, POSITIONS = 16, 2, 32, 40


def write_checkpoint(folder: Path, *, ranks: bool, seed: int = 7) -> Path:
    """A BERT of 16 dimensions and 40 positions with random weights: an embedder, or a cross-encoder when it `ranks`."""
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification" if ranks else "BertModel"], "hidden_size": HIDDEN}
    config |= {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": WIDE, "vocab_size": len(WORDS), "num_labels": 1}
    config |= {"max_position_embeddings": POSITIONS, "type_vocab_size": 2, "id2label": {"0": "LABEL_0"}}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_safetensors(folder / "model.safetensors", _weights(np.random.default_rng(seed), ranks))
    return folder


def _weights(random: np.random.Generator, ranks: bool) -> dict[str, np.ndarray]:
    at = "bert." if ranks else ""
    shapes: dict[str, tuple[int, ...]] = {f"{at}embeddings.{kind}_embeddings.weight": (rows, HIDDEN) for kind, rows in _TABLES}
    layers = [f"{at}encoder.layer.{i}." for i in range(LAYERS)]
    for layer in layers:
        for name, out, into in _LINEARS:
            shapes |= {f"{layer}{name}.weight": (out, into), f"{layer}{name}.bias": (out,)}
    if ranks:
        shapes |= {"bert.pooler.dense.weight": (HIDDEN, HIDDEN), "bert.pooler.dense.bias": (HIDDEN,), "classifier.weight": (1, HIDDEN), "classifier.bias": (1,)}
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    for norm in [f"{at}embeddings.LayerNorm", *(f"{layer}{part}.LayerNorm" for layer in layers for part in ("attention.output", "output"))]:
        weights |= {f"{norm}.weight": np.ones(HIDDEN, np.float32), f"{norm}.bias": np.zeros(HIDDEN, np.float32)}
    return weights


_TABLES = (("word", len(WORDS)), ("position", POSITIONS), ("token_type", 2))
_LINEARS = (
    *((f"attention.self.{part}", HIDDEN, HIDDEN) for part in ("query", "key", "value")),
    ("attention.output.dense", HIDDEN, HIDDEN),
    ("intermediate.dense", WIDE, HIDDEN),
    ("output.dense", HIDDEN, WIDE),
)


def write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, array in weights.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


class _Loop(asyncio.SelectorEventLoop):
    """Keeps the signal handlers instead of installing them: a test sends its signals to one server, not to the process."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: dict[int, Callable[[], None]] = {}

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        self.signals[sig] = lambda: self.call_soon_threadsafe(callback, *args) and None


class Running(Client):
    """A server that runs in a thread of its own, and a client for it."""

    def __init__(self, settings: RuntimeSettings, prepare: Callable[[RuntimeProcess], None] | None = None) -> None:
        self.process = RuntimeProcess(settings)
        if prepare is not None:
            prepare(self.process)
        self._listener = bind(settings)
        super().__init__(self._listener.getsockname()[1])
        self._loops: list[_Loop] = []
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="server")
        self._thread.start()
        assert self._serving.wait(WAIT_S)

    def _serve(self) -> None:
        def loop() -> _Loop:
            self._loops.append(_Loop())
            return self._loops[-1]

        async def serve() -> None:
            asyncio.get_running_loop().call_soon(self._serving.set)
            await self.process.serve(self._listener)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(serve())

    def ready(self) -> Running:
        until(lambda: self.process.server.ready, "the server is ready")
        return self

    def engine(self, name: str = EMBEDDER) -> FakeEngine:
        """The fake engine behind a model."""
        found = next(model for model in self.process.models if model.name == name).backend.engine
        assert isinstance(found, FakeEngine)
        return found

    def signal(self, number: int = signal.SIGTERM) -> None:
        """What the process does when it gets this signal."""
        self._loops[0].signals[number]()

    def ended(self, wait_s: float = WAIT_S) -> bool:
        """Whether the server ends within the wait."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.signal()
            self.signal()  # twice: tests that leave something open do not wait for it
        assert self.ended(), "the server did not end"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "embed", ranks=False)
    write_checkpoint(folder / "rank", ranks=True)
    return folder


@pytest.fixture(scope="session")
def tiny(checkpoints: Path) -> Callable[..., RuntimeSettings]:
    """Settings for a server of both tiny models."""

    def settings(**values: Any) -> RuntimeSettings:
        models = (f"{EMBEDDER}=file:{checkpoints / 'embed'}", f"{RERANKER}=file:{checkpoints / 'rank'}")
        return RuntimeSettings(**{"port": 0, "models": models, "engine": "reference", "tokenizer_threads": 2, "read_timeout_s": WAIT_S} | values)

    return settings


Start = Callable[..., Running]


@pytest.fixture
def start(tiny: Callable[..., RuntimeSettings]) -> Iterator[Start]:
    """Start a server with settings of one's own; it is stopped when the test ends."""
    with contextlib.ExitStack() as stack:

        def run(*, prepare: Callable[[RuntimeProcess], None] | None = None, wait: bool = True, **values: Any) -> Running:
            running = Running(tiny(**values), prepare)
            stack.callback(running.stop)
            return running.ready() if wait else running

        yield run


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[[RuntimeSettings], Running]]:
    """Start a server that one module's tests share."""
    with contextlib.ExitStack() as stack:

        def run(settings: RuntimeSettings) -> Running:
            running = Running(settings)
            stack.callback(running.stop)
            return running.ready()

        yield run


@pytest.fixture(scope="session")
def server(tiny: Callable[..., RuntimeSettings]) -> Iterator[Running]:
    """One server with the default rules, the reference engine and both tiny models, for every test that changes nothing in it."""
    running = Running(tiny(max_body_bytes=12 << 20)).ready()
    yield running
    running.stop()
