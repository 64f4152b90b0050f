"""Values that are not computed before somebody reads them, so that what reads them may compute them on the way. Knows kernels, no weights.

A network says `add`, then `rms_norm`, then `linears`; a GPU is faster when sum, norm and rounding to FP8 are one pass over the memory.
Each value is computed at most once: what is found on the way is kept.
"""

from __future__ import annotations

from emberank.runtime.engines.torch_fp8 import Quantised
from emberank.runtime.engines.torch_import import Tensor, functional
from emberank.runtime.engines.torch_kernels import Kernels


class Pending:
    """A value yet to come. `value` computes it as it is, `quantised` as FP8."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self._value: Tensor | None = None
        self._quantised: Quantised | None = None

    def value(self) -> Tensor:
        """The tensor."""
        if self._value is None:
            self._value = self._compute()
        return self._value

    def quantised(self) -> Quantised:
        """Its rows as FP8."""
        if self._quantised is None:
            self._quantised = self.kernels.quantise(self._value) if self._value is not None else self._compute_quantised()
        return self._quantised

    def float32(self) -> Tensor:
        """The tensor in float32: what a network's last operation is asked for."""
        return self.value().float()

    def _compute(self) -> Tensor:
        raise NotImplementedError

    def _compute_quantised(self) -> Quantised:
        return self.kernels.quantise(self.value())


class Sum(Pending):
    """x + y."""

    def __init__(self, kernels: Kernels, x: Tensor, y: Tensor) -> None:
        super().__init__(kernels)
        self._terms: tuple[Tensor, Tensor | None] = (x, y)

    def _compute(self) -> Tensor:
        x, y = self._terms
        assert y is not None, "a sum that was found is not computed again"
        self._terms = (x + y, None)
        return self._terms[0]

    def terms(self) -> tuple[Tensor, Tensor | None]:
        """What is left to add."""
        return self._terms

    def found(self, value: Tensor) -> None:
        """Somebody computed the sum on the way: the memory of its terms may go."""
        self._value, self._terms = value, (value, None)


class Norm(Pending):
    """The root-mean-square norm of a tensor or of a sum, all numbers of a row together."""

    def __init__(self, kernels: Kernels, source: Tensor | Sum, weight: Tensor, eps: float) -> None:
        super().__init__(kernels)
        self._source = source
        self._weight = weight
        self._eps = eps

    def _terms(self) -> tuple[Tensor, Tensor | None]:
        return self._source.terms() if isinstance(self._source, Sum) else (self._source, None)

    def float32(self) -> Tensor:
        """Not rounded to the engine's number type first."""
        x, other = self._terms()
        total = x.float() if other is None else x.float() + other.float()
        return functional.rms_norm(total, (total.shape[-1],), self._weight.float(), self._eps)

    def _keep(self, total: Tensor) -> None:
        if isinstance(self._source, Sum):
            self._source.found(total)

    def _compute(self) -> Tensor:
        total, norm = self.kernels.rms_norm(*self._terms(), self._weight, self._eps)
        self._keep(total)
        return norm

    def _compute_quantised(self) -> Quantised:
        total, norm = self.kernels.rms_norm_quantised(*self._terms(), self._weight, self._eps)
        self._keep(total)
        return norm


class Silu(Pending):
    """silu(x)."""

    def __init__(self, kernels: Kernels, x: Tensor) -> None:
        super().__init__(kernels)
        self.x = x

    def _compute(self) -> Tensor:
        return functional.silu(self.x)


class Gated(Pending):
    """silu(gate) · x."""

    def __init__(self, kernels: Kernels, gate: Tensor, x: Tensor) -> None:
        super().__init__(kernels)
        self._gate = gate
        self._x = x

    def _compute(self) -> Tensor:
        return self.kernels.silu_gate(self._gate, self._x)

    def _compute_quantised(self) -> Quantised:
        return self.kernels.silu_gate_quantised(self._gate, self._x)


Value = Tensor | Pending


def value(x: Value) -> Tensor:
    """The tensor itself."""
    return x.value() if isinstance(x, Pending) else x


def float32(x: Value) -> Tensor:
    """The tensor in float32."""
    return x.float32() if isinstance(x, Pending) else x.float()


def quantised(x: Value, kernels: Kernels) -> Quantised:
    """The rows as FP8."""
    return x.quantised() if isinstance(x, Pending) else kernels.quantise(x)
