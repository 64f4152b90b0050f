"""What happens in, Prometheus text out. Every name is documented in docs/reference/metrics.md; a test holds the two together.

Labels come from closed sets (routes, served models, statuses), never from a caller's text: a scraper's memory must not grow with traffic.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from emberank.serving.metrics import SECONDS, DoorMetrics

_SHORT = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Metrics(DoorMetrics):
    """One process's figures; also the batcher's and the image decoders' observer."""

    def __init__(self) -> None:
        super().__init__()
        r = self.registry
        self._tokenize = Histogram("emberank_tokenize_seconds", "Tokenising one request, its wait for a thread included.", registry=r, buckets=_SHORT)
        self._wait = Histogram("emberank_queue_wait_seconds", "From a request's submission to its first batch.", registry=r, buckets=SECONDS)
        self._engine = Histogram("emberank_engine_seconds", "One run of the engine.", registry=r, buckets=SECONDS)
        self._batch_tokens = Histogram("emberank_batch_tokens", "Real tokens in one run of the engine.", registry=r, buckets=_TOKENS)
        self._batch_sequences = Histogram(
            "emberank_batch_sequences", "Sequences in one run of the engine.", registry=r, buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
        )
        self._rows = Counter("emberank_engine_rows", "Token rows the engine computed, padding included, by kind of layer.", ("part",), registry=r)
        self._padding = Counter(
            "emberank_padding_rows", "Token rows computed for nothing; divided by emberank_engine_rows_total: the padding waste.", ("part",), registry=r
        )
        self._prompt_tokens = Counter("emberank_prompt_tokens", "Tokens billed to callers, as `usage` says.", ("model",), registry=r)
        self._images = Counter("emberank_images", "Images decoded.", registry=r)
        self._tiles = Counter("emberank_tiles", "Tiles that images were cut into, thumbnails included.", registry=r)
        self._decode = Histogram("emberank_image_decode_seconds", "Decoding, resizing and cutting one image.", registry=r, buckets=SECONDS)
        self.queue_jobs = Gauge("emberank_queue_requests", "Requests submitted to the batcher and not yet answered.", registry=r)
        self.queue_tokens = Gauge("emberank_queue_tokens", "Tokens waiting for the engine.", registry=r)
        self.ready = Gauge("emberank_ready", "1 when every model's golden example came out right and the server takes requests.", registry=r)

    def served(self, *, model: str, prompt_tokens: int, tokenize_s: float) -> None:
        """One call got its result."""
        self._prompt_tokens.labels(model).inc(prompt_tokens)
        self._tokenize.observe(tokenize_s)

    def batch_ran(self, *, tokens: int, rows: int, attention_rows: int, sequences: int, engine_s: float) -> None:
        """One run of the engine."""
        self._batch_tokens.observe(tokens)
        self._batch_sequences.observe(sequences)
        self._engine.observe(engine_s)
        for part, count in (("linear", rows), ("attention", attention_rows)):
            self._rows.labels(part).inc(count)
            self._padding.labels(part).inc(count - tokens)

    def job_started(self, *, waited_s: float) -> None:
        """A job's first sequence is about to run."""
        self._wait.observe(waited_s)

    def image_read(self, *, tiles: int, seconds: float) -> None:
        """An image was decoded and cut."""
        self._images.inc()
        self._tiles.inc(tiles)
        self._decode.observe(seconds)
