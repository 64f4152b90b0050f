"""The settings of a runtime process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from emberank.settings.door import DoorSettings
from emberank.settings.row import row


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings(DoorSettings):
    """Everything `emberank runtime` can be told. Sizes are bytes, durations carry their unit in the name."""

    host: str = row("127.0.0.1", "address", "Where to listen. 0.0.0.0 opens the server to the network; it has no keys of its own.")
    models: tuple[str, ...] = row(
        ("default",),
        "sources",
        "What to serve: preset names, `hf:org/name`, `file:/folder`; `name=source` gives a served name. `default` is both default models.",
    )
    model_file: str = row(
        "", "file", "A JSON file of `model` entries with the fields of presets.toml; takes the place of `models`. The forge starts its runtimes with it."
    )
    model_path: str = row("", "folder", "One checkpoint folder to serve instead of `models`, as NIM's variable of that name does.")
    served_model_name: str = row("", "name", "The name under which a single model is served; further names after commas are aliases.")
    cache_dir: str = row("", "folder", "Where fetched weights are kept; empty means `$XDG_CACHE_HOME/emberank` or `~/.cache/emberank`.")
    status_file: str = row("", "file", "Where the process keeps saying how far its start is, and why it failed: JSON, replaced atomically.")
    engine: Literal["auto", "openvino", "torch", "reference", "fake"] = row(
        "auto",
        "name",
        "What runs the network: `openvino` on CPUs, `torch` on NVIDIA GPUs (docs/howto/gpu.md); `auto` is `torch` where it is installed and sees a GPU, "
        "`openvino` elsewhere; `reference` is NumPy in float64 (slow, exact), `fake` is for tests only.",
    )
    device: str = row("auto", "device", "What it runs on: `cpu`, `cuda` (the first GPU), `cuda:1`, …; `auto` is a GPU where the engine can use one.")
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp8", "int8"] = row(
        "auto",
        "name",
        "Arithmetic: `auto` is bf16 where the device multiplies it in hardware, else fp32 on CPUs and fp16 on GPUs; `int8` is for CPUs, "
        "`fp16` for GPUs, `fp8` for GPUs from Ada and Hopper on: both are faster and less exact (docs/behaviour/precision.md).",
    )
    memory_check: Literal["refuse", "warn"] = row(
        "refuse", "rule", "A model that needs more memory than is free when it is loaded: refused with the numbers, or tried all the same with a warning."
    )
    threads: int = row(0, "threads", "Threads of the engine; 0 means one per core.", 0, 4096)
    tokenizer_threads: int = row(0, "threads", "Requests tokenised at the same time; 0 means one per core, at most 4.", 0, 256)
    image_threads: int = row(
        0,
        "threads",
        "Images decoded at the same time; 0 means one per core, at most 8. Images over 32 million pixels go one by one: each takes up to 2 GB.",
        0,
        256,
    )
    max_images_at_once: int = row(
        32, "images", "Images held decoded at one time, all requests together; the others wait. One of seven tiles takes 37 MB in front of a 1B model.", 1, 4096
    )
    max_batch_tokens: int = row(
        0,
        "tokens",
        "Tokens in one run of the engine: more raises throughput a little and the wait of the next request a lot. 0 is the engine's own: 1,024 on a CPU, "
        "16,384 on a GPU.",
        0,
        1 << 20,
    )
    max_wait_ms: float = row(
        0.0,
        "milliseconds",
        "How long an idle engine waits for company before it starts a small batch; 0 never waits, and batches form while it is busy.",
        0,
        10_000,
    )
    max_queue_size: int = row(1024, "requests", "Requests waiting or running before new ones are refused.", 1, 1 << 20)
    max_queue_tokens: int = row(4 << 20, "tokens", "Tokens waiting before new requests are refused: the bound on the queue's memory.", 1024, 1 << 30)
    max_passages: int = row(512, "passages", "Passages in one ranking request; 512 is NIM's limit, 1000 the hosted one's.", 1, 100_000)
    max_documents: int = row(
        10_000, "documents", "Documents in one request of the other rerank dialects; they are worked on `max_passages` at one time.", 1, 1_000_000
    )
    max_inputs: int = row(8192, "inputs", "Inputs in one embeddings request.", 1, 1_000_000)
    default_truncate: Literal["NONE", "START", "END"] = row(
        "NONE", "name", "What is done with an over-long input when the request does not say: NONE refuses it, as NIM does."
    )
    over_length_status: Literal[400, 422] = row(
        400, "HTTP status", "What an over-long input with truncate=NONE gets: 400, or 422 as rerank NIMs from 1.9.1 on answer."
    )
    ranking_unknown_fields: Literal["reject", "ignore"] = row(
        "reject", "rule", "Unknown fields of a ranking request: 400 as the 2.x NIM answers, or ignored and named in a response header."
    )
    embeddings_unknown_fields: Literal["reject", "ignore"] = row("ignore", "rule", "The same for embeddings, where real clients send fields of their own.")

    table: ClassVar[str] = "runtime"
    takes_nim: ClassVar[bool] = True
