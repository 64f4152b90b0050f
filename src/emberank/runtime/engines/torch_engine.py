"""The GPU engine: a network run eagerly with PyTorch on packed tokens, no padding; small batches as CUDA graphs. Computes on a CPU as well.

Weights stand on the device once. A run copies index arrays there and, with pooling, one float32 row per sequence back.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import SettingError, StartError
from emberank.runtime.engines import torch_attention, torch_fp8, torch_fusing
from emberank.runtime.engines.base import Batch, EngineFacts, EngineOptions
from emberank.runtime.engines.nvml import Facts, gpu_facts
from emberank.runtime.engines.torch_graphs import MOST_TOKENS, Capture, Graphs
from emberank.runtime.engines.torch_import import OutOfMemory, Tensor, torch
from emberank.runtime.engines.torch_inputs import Inputs, Staging, upload
from emberank.runtime.engines.torch_layout import Layout, Size, bucket, exact, lay_out
from emberank.runtime.engines.torch_memory import Careful
from emberank.runtime.engines.torch_ops import TorchOps, pool
from emberank.runtime.engines.torch_pending import float32
from emberank.runtime.engines.torch_setup import Setup, set_up
from emberank.runtime.engines.torch_trace import Uses, trace
from emberank.runtime.engines.torch_weights import DeviceWeights
from emberank.runtime.heads import Floats, Pooling
from emberank.runtime.networks.network import Network
from emberank.runtime.networks.ops import Weights

log = logging.getLogger(__name__)


class TorchEngine:
    """A network with its weights on a device. One thread at a time."""

    def __init__(self, network: Network, weights: Weights, setup: Setup, *, fp8_least: int = torch_fp8.LEAST_SIZE) -> None:
        self._network = network
        self._setup = setup
        self._stream: Any = torch.cuda.Stream(setup.device) if setup.cuda else None  # type: ignore[no-untyped-call]
        self._staging = Staging(pinned=setup.cuda)
        uses = trace(network)
        with self._at_work():
            chosen, fused = torch_attention.choose(setup, uses.attention), torch_fusing.choose(setup)
            self._attention, self._kernels = chosen.attention, fused.kernels
            self._weights = _load(uses, weights, setup, fp8_least if setup.fp8 else None)
            self._graphs: Graphs | None = None
            if setup.cuda and self._attention.packed:
                self._graphs = Graphs(self._compute, Capture(self._stream), setup.device, setup.dtype)
        self._careful = Careful(self._run, self._free, OutOfMemory)
        graphs = "CUDA graphs for small batches" if self._graphs is not None else "no CUDA graphs"
        self.facts = _facts(setup, self._attention.packed, f"PyTorch {torch.__version__}; {chosen.why}; {fused.why}; {graphs}")
        log.info("torch engine built", extra={"action": "engine_built", "device": self.facts.device, "detail": self.facts.detail, "bytes": self._weights.bytes})

    def run(self, batch: Batch, pooling: Pooling | None = None) -> Floats:
        """States (tokens / merged, hidden) or pooled rows (sequences, hidden); valid until the next call."""
        with self._at_work():
            return self._careful(batch, pooling)

    def _run(self, batch: Batch, pooling: Pooling | None) -> Floats:
        size, replayable = self._size(batch.lengths)
        layout = lay_out(batch, size)
        out = self._replayed(batch, layout, pooling) if replayable else None
        if out is None:
            out = self._compute(upload(layout, batch.features, self._setup.device, self._setup.dtype, self._staging), pooling)
        return self._fetched(out[: len(batch.lengths) if pooling else len(batch.ids) // self._network.merged])

    def _replayed(self, batch: Batch, layout: Layout, pooling: Pooling | None) -> Tensor | None:
        assert self._graphs is not None, "without graphs no size is replayable"
        try:
            return self._graphs.run(layout, batch.features, pooling, self._staging)
        except OutOfMemory:
            raise
        except RuntimeError as cause:  # a driver that cannot capture is no reason not to compute
            log.warning("CUDA graphs are given up: %s", str(cause).partition("\n")[0], extra={"action": "graphs_given_up"})
            self._graphs = None
            return None

    def _compute(self, inputs: Inputs, pooling: str | None) -> Tensor:
        """Everything that happens on the device, float32 from the last norm on."""
        states = float32(self._network.forward(TorchOps(self._weights, inputs, self._attention, self._kernels)))
        if pooling is None:
            return states
        return pool(states, inputs.starts // self._network.merged if self._network.merged > 1 else inputs.starts, pooling)

    def _fetched(self, out: Tensor) -> Floats:
        """Copied to the host; the only place that waits for the device."""
        if not self._setup.cuda:
            return out.numpy()
        host = self._staging.take("out", out.numel(), torch.float32).view(out.shape)
        host.copy_(out, non_blocking=True)
        self._stream.synchronize()
        return host.numpy()

    def _size(self, lengths: NDArray[np.int32]) -> tuple[Size, bool]:
        """Rows that the batch is padded to and whether a graph may serve it: padded whether one is there yet or not, so that both ways give the same bits."""
        own = exact(lengths)
        if self._graphs is None:
            return own, False
        if self._network.merged > 1 or not self._network.vocabulary:
            return own, own.tokens <= MOST_TOKENS  # whole tiles: there are few sizes, and no padding is one
        padded = bucket(lengths, MOST_TOKENS)
        return padded or own, padded is not None

    def padded_tokens(self, lengths: NDArray[np.int32]) -> int:
        """Rows of the linear layers: padded only to a graph's size."""
        return self._size(lengths)[0].tokens

    def attention_rows(self, lengths: NDArray[np.int32]) -> int:
        """Rows of attention: as many as tokens when it is packed, those of the groups otherwise."""
        return self._size(lengths)[0].tokens if self._attention.packed else self._attention.rows(lengths)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        # All three belong to the calling thread: whichever thread runs the engine sets them again.
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._setup.cuda:
                stack.enter_context(torch.cuda.device(self._setup.device))
                stack.enter_context(torch.cuda.stream(self._stream))
            yield

    def _free(self) -> None:
        if self._setup.cuda:
            self._stream.synchronize()
            if self._graphs is not None:
                self._graphs.clear()
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Give the device's memory back."""
        self._free()
        self._graphs = None
        del self._weights
        if self._setup.cuda:
            torch.cuda.empty_cache()


def _load(uses: Uses, weights: Weights, setup: Setup, fp8_least: int | None) -> DeviceWeights:
    try:
        loaded = DeviceWeights(weights, uses, setup.device, setup.dtype, fp8_least)
    except OutOfMemory as cause:
        free, total = torch.cuda.mem_get_info(setup.device)
        raise StartError(f"the weights do not fit into the memory of {setup.device}: {free / 1e9:.1f} GB of {total / 1e9:.1f} GB are free") from cause
    if setup.cuda:
        torch.cuda.synchronize(setup.device)
    return loaded


def _facts(setup: Setup, packed: bool, detail: str) -> EngineFacts:
    device, gpu = "CPU", None  # type: tuple[str, Facts | None]
    if setup.cuda:
        found = torch.cuda.get_device_properties(setup.device)
        device = f"{found.name} ({setup.device})"
        uuid = f"GPU-{getattr(found, 'uuid', '')}"
        own: Facts = {"name": found.name, "uuid": uuid, "memory_bytes": found.total_memory, "compute_capability": f"{found.major}.{found.minor}"}
        gpu = own | gpu_facts(uuid)
    return EngineFacts(
        engine="torch", device=device, precision=setup.precision, threads=setup.threads, detail=detail, batch_tokens=setup.batch_tokens, packed=packed, gpu=gpu
    )


def build(network: Network, weights: Weights, options: EngineOptions) -> TorchEngine:
    """The registry's builder."""
    setup = set_up(options)
    if setup.fp8 and (refusal := torch_fp8.trial(setup.device)):
        raise SettingError(f"precision 'fp8' does not work with this PyTorch and this GPU: {refusal}; use bf16")
    if not setup.cuda:
        torch.set_num_threads(setup.threads)
    # Partial sums of a matrix product stay float32: bf16 ones are hardly faster and cost a digit.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    return TorchEngine(network, weights, setup)
