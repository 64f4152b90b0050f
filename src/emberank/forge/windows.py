"""Samples in, the latest of each series out: the memory all figures are computed from. Knows no store, no statistics and no clock.

A series is one kind of run of one version on one target. It keeps its latest samples in columns, 64 bytes each, a fifth of what they take as
objects; what is derived from a series is kept until the next sample comes. For one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from emberank.contract.fleet import FailureReason
from emberank.forge.samples import WEIGHTS_FROM, Kind, Sample

T = TypeVar("T")
MOST_SAMPLES = 1_000
MOST_SERIES = 50_000  # 3.2 GB if all were full; slugs and targets come from the catalogue, so this stops only what should not be

REASONS: tuple[FailureReason, ...] = get_args(FailureReason)
_NONE = -1
_LEAST_AMOUNT, _MOST_AMOUNT, _MOST_COUNT = 1e-6, 1e16, 1 << 31
_ROW = np.dtype(
    [
        ("number", "i8"),  # counts all samples of a Windows: the order of things even when a clock was set back
        ("at_s", "f8"),
        ("cold_start_ms", "f8"),  # NaN where a figure was not measured
        ("peak_memory_bytes", "f8"),
        ("request_ms", "f8"),
        ("model_ms", "f8"),
        ("tokens", "i4"),  # -1 where not known
        ("passages", "i4"),
        ("shape", "i4"),  # an index into the series' shapes
        ("ok", "?"),
        ("reason", "i1"),  # an index into REASONS
        ("weights_from", "i1"),  # an index into WEIGHTS_FROM
    ],
    align=True,
)
Rows: TypeAlias = NDArray[np.void]


class SeriesKey(NamedTuple):
    """Which runs a series is of."""

    slug: str
    version: str
    gpu_type: str
    region: str
    kind: Kind


class Series:
    """The latest samples of one key, and what was derived from them."""

    def __init__(self, key: SeriesKey, most: int = MOST_SAMPLES) -> None:
        self.key = key
        self._most = most
        self._rows: Rows = np.empty(0, _ROW)
        self._added = 0
        self._shapes: list[str] = [""]
        self._derived: dict[Callable[..., Any], tuple[int, Any]] = {}

    def __len__(self) -> int:
        return min(self._added, self._most)

    def __iter__(self) -> Iterator[Sample]:
        """The samples, oldest first."""
        return map(self._sample, self.rows().copy())

    @property
    def shapes(self) -> tuple[str, ...]:
        """What the column `shape` points into."""
        return tuple(self._shapes)

    def rows(self) -> Rows:
        """The samples as columns, oldest first. Not to be written to."""
        turn = self._added % self._most
        if self._added <= self._most or turn == 0:
            return self._rows[: len(self)]
        return np.concatenate((self._rows[turn:], self._rows[:turn]))

    def derive(self, function: Callable[[Series], T], *, lag: int = 0) -> T:
        """`function` of this series, computed again only when more than `lag` samples came since. The function must be one that lives on."""
        known = self._derived.get(function)
        if known is not None and self._added - known[0] <= lag:
            return known[1]
        value = function(self)
        self._derived[function] = self._added, value
        return value

    def add(self, sample: Sample, number: int) -> None:
        """Keep a sample; the oldest goes when there is no room."""
        place = self._added % self._most
        if place == len(self._rows):
            grown = np.empty(min(self._most, max(16, 2 * place)), _ROW)
            grown[:place] = self._rows
            self._rows = grown
        self._rows[place] = (
            number,
            sample.at_s,
            _amount(sample.cold_start_ms),
            _amount(sample.peak_memory_bytes),
            _amount(sample.request_ms),
            _amount(sample.model_ms),
            _count(sample.tokens),
            _count(sample.passages),
            self._shape_index(sample),
            sample.ok,
            _NONE if sample.reason is None else REASONS.index(sample.reason),
            _NONE if sample.weights_from is None else WEIGHTS_FROM.index(sample.weights_from),
        )
        self._added += 1

    def _shape_index(self, sample: Sample) -> int:
        # Of users' requests every one may have a shape of its own, and passages and tokens say the same.
        if sample.kind == "traffic" or not sample.shape:
            return 0
        if sample.shape in self._shapes:
            return self._shapes.index(sample.shape)
        if len(self._shapes) > 2 * self._most:
            self._forget_shapes()
        self._shapes.append(sample.shape)
        return len(self._shapes) - 1

    def _forget_shapes(self) -> None:
        """Drop the shapes no sample has any more: at most one a sample is left."""
        used, places = np.unique(self._rows["shape"], return_inverse=True)
        kept = [self._shapes[index] for index in used]
        offset = 0 if kept[0] == "" else 1
        self._shapes = ["", *kept][1 - offset :]
        self._rows["shape"] = places + offset

    def _sample(self, row: np.void) -> Sample:
        return Sample(
            at_s=float(row["at_s"]),
            **self.key._asdict(),
            ok=bool(row["ok"]),
            reason=None if row["reason"] == _NONE else REASONS[row["reason"]],
            cold_start_ms=_measured(row["cold_start_ms"]),
            weights_from=None if row["weights_from"] == _NONE else WEIGHTS_FROM[row["weights_from"]],
            peak_memory_bytes=None if np.isnan(row["peak_memory_bytes"]) else int(row["peak_memory_bytes"]),
            request_ms=_measured(row["request_ms"]),
            model_ms=_measured(row["model_ms"]),
            tokens=None if row["tokens"] == _NONE else int(row["tokens"]),
            passages=None if row["passages"] == _NONE else int(row["passages"]),
            shape=self._shapes[row["shape"]],
        )


def _amount(value: float | None) -> float:
    """A time or a size for its column. What cannot be, such as a server's `dur=inf`, was not measured; less than a nanosecond is none."""
    if value is None or not 0 <= value < _MOST_AMOUNT:
        return np.nan
    return value if value >= _LEAST_AMOUNT else 0.0


def _count(value: int | None) -> int:
    return value if value is not None and 0 <= value < _MOST_COUNT else _NONE


def _measured(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


class Windows:
    """All series, the one that was added to longest ago first out when there are too many."""

    def __init__(self, samples: Iterable[Sample] = (), *, most_samples: int = MOST_SAMPLES, most_series: int = MOST_SERIES) -> None:
        """`samples` come in the order they were measured."""
        self._most_samples = most_samples
        self._most_series = most_series
        self._number = 0
        self._series: OrderedDict[SeriesKey, Series] = OrderedDict()
        for sample in samples:
            self.add(sample)

    def __len__(self) -> int:
        """How many samples are held."""
        return sum(map(len, self._series.values()))

    def known(self) -> tuple[SeriesKey, ...]:
        """The series there are, the one added to longest ago first."""
        return tuple(self._series)

    def add(self, sample: Sample) -> None:
        """Keep a sample in its series."""
        key = SeriesKey(sample.slug, sample.version, sample.gpu_type, sample.region, sample.kind)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(key, self._most_samples)
            if len(self._series) > self._most_series:
                self._series.popitem(last=False)
        else:
            self._series.move_to_end(key)
        self._number += 1
        series.add(sample, self._number)

    def of(self, slug: str, version: str, target: tuple[str, str], kind: Kind) -> Series:
        """The series of a version on a target; an empty one if nothing was measured."""
        key = SeriesKey(slug, version, *target, kind)
        return self._series.get(key) or Series(key, self._most_samples)
