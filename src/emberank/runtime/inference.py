"""A body in any dialect in, its answer in that dialect out: read → find the model → run its calls → render, and say in headers what a body has no place for.

A call that is larger than one request may be is worked on in pieces, one after the other, so that it does not fill the queue; small ones go together. Knows no wire: `dialects` does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace

from emberank.contract.errors import BadRequest, ModelNotFound
from emberank.contract.inference import InputType, RankCall, Timings
from emberank.dialects import nim
from emberank.dialects.answers import Embeddings, Ranking
from emberank.dialects.asked import AskedEmbed, AskedRank, Told
from emberank.dialects.pieces import RankPiece, joined, pieces, waves
from emberank.dialects.reading import body_object
from emberank.dialects.routes import InferenceRoute
from emberank.dialects.scores import Calibration
from emberank.runtime.metrics import Metrics
from emberank.runtime.model import ServedModel
from emberank.runtime.pipeline import Pipeline
from emberank.runtime.roster import UNNAMED, Roster
from emberank.serving.exchange import Exchange
from emberank.serving.paths import MODEL
from emberank.serving.together import together
from emberank.settings import RuntimeSettings
from emberank.telemetry.traces import INPUTS, PASSAGES, PROMPT_TOKENS

_AT_ONCE = 64  # calls of one request: many queries with one passage each are one batch's work


class _Took:
    """What the calls of one request took together."""

    def __init__(self) -> None:
        self.tokens = 0
        self.timings = Timings(tokenize_ms=0.0, queue_ms=0.0, engine_ms=0.0)
        self.truncated: list[tuple[int, int]] = []

    def add(self, tokens: int, timings: Timings, truncated: tuple[int, ...], whole: int = 0, start: int = 0) -> None:
        t = self.timings
        self.tokens += tokens
        self.timings = Timings(
            tokenize_ms=t.tokenize_ms + timings.tokenize_ms,
            queue_ms=t.queue_ms + timings.queue_ms,
            engine_ms=t.engine_ms + timings.engine_ms,
            decode_ms=t.decode_ms + timings.decode_ms,
        )
        self.truncated += [(whole, start + place) for place in truncated]

    def cut(self, queries: int) -> str:
        """Which inputs were cut, by their places: as many as a header should hold. Of several queries' pairs only how many."""
        if queries > 1:
            return f"{len(self.truncated)} pairs"
        places = sorted(place for _, place in self.truncated)
        return ",".join(map(str, places[:50])) + (",..." if len(places) > 50 else "")


class Inference:
    """Answers calls with the models of a roster. `loaded` gives them, or raises NotReady."""

    def __init__(self, settings: RuntimeSettings, pipeline: Pipeline, metrics: Metrics, loaded: Callable[[], Roster]) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._loaded = loaded
        self._most = settings.max_passages
        self._rules = nim.Rules(
            max_passages=settings.max_passages,
            max_inputs=settings.max_inputs,
            max_documents=settings.max_documents,
            default_truncate=settings.default_truncate,
            ranking_unknown_fields=settings.ranking_unknown_fields,
            embeddings_unknown_fields=settings.embeddings_unknown_fields,
        )

    async def answer(self, route: InferenceRoute, exchange: Exchange) -> bytes:
        """One request on one of the dialects' routes. Raises EmberankError."""
        asked = route.read(body_object(exchange.body), self._rules)
        if isinstance(asked, AskedEmbed):
            return await self._embed(asked, exchange)
        return await self._rank(asked, exchange)

    async def _rank(self, asked: AskedRank, exchange: Exchange) -> bytes:
        model = self._reranker(exchange, asked.calls[0].model)
        told = Told(model=model.name, request_id=exchange.request_id, calibration=_calibration(asked, model))
        if exchange.trace is not None:
            exchange.trace.note({PASSAGES: sum(len(call.passages) for call in asked.calls)})
        took = _Took()
        done: list[tuple[RankPiece, Ranking]] = []
        for wave in waves(pieces(asked.calls, self._most), self._most, _AT_ONCE):
            rankings = await together([self._piece(model, piece, exchange, took) for piece in wave])
            done += zip(wave, rankings, strict=True)
        exchange.headers["Emberank-Score"] = asked.score
        self._conclude(exchange, model, took, asked.ignored, len(asked.calls))
        return asked.render(joined(done), told)

    async def _piece(self, model: ServedModel, piece: RankPiece, exchange: Exchange, took: _Took) -> Ranking:
        call: RankCall = piece.call
        result = await self._pipeline.rank(model, call, exchange.deadline, exchange.trace)
        took.add(result.usage.prompt_tokens, result.timings, result.truncated, piece.whole, piece.start)
        return Ranking(ranked=result.ranked, prompt_tokens=result.usage.prompt_tokens)

    async def _embed(self, asked: AskedEmbed, exchange: Exchange) -> bytes:
        call, own = asked.call, exchange.request.scope.get(MODEL)
        if own is None:
            model, suffix = self._loaded().resolve_embedder(call.model)
        else:
            model = self._loaded().resolve(own, "embed")
            suffix = _same(call.model, model, self._loaded())
        exchange.model = model.name
        if suffix is not None:
            call = replace(call, input_type=suffix)
            if suffix == "query" and any(content.image is not None for content in call.inputs):
                raise BadRequest(nim.IMAGE_AS_QUERY)
        if exchange.trace is not None:
            exchange.trace.note({INPUTS: len(call.inputs)})
        result = await self._pipeline.embed(model, call, exchange.deadline, exchange.trace)
        took = _Took()
        took.add(result.usage.prompt_tokens, result.timings, result.truncated)
        self._conclude(exchange, model, took, asked.ignored)
        embeddings = Embeddings(vectors=result.vectors, prompt_tokens=result.usage.prompt_tokens)
        return asked.render(embeddings, Told(model=result.model, request_id=exchange.request_id))

    def _reranker(self, exchange: Exchange, name: str | None) -> ServedModel:
        """The model that path or body name; a model in the path goes before the one in the body, and below a model's own base URL the body may not name another."""
        roster, path = self._loaded(), exchange.request.path_params
        named = f"{path['org']}/{path['model']}" if "model" in path else name
        own = exchange.request.scope.get(MODEL)
        if own is None:
            model = roster.resolve(named, "rank")
        else:
            model = roster.resolve(own, "rank")
            _same(named, model, roster)
        exchange.model = model.name
        return model

    def _conclude(self, exchange: Exchange, model: ServedModel, took: _Took, ignored: tuple[str, ...], queries: int = 1) -> None:
        t, headers = took.timings, exchange.headers
        headers["Server-Timing"] = f"tokenize;dur={t.tokenize_ms:.2f}, queue;dur={t.queue_ms:.2f}, engine;dur={t.engine_ms:.2f}"
        if t.decode_ms:
            headers["Server-Timing"] += f", decode;dur={t.decode_ms:.2f}"
        headers["Emberank-Prompt-Tokens"] = str(took.tokens)
        if model.random_weights:
            headers["Emberank-Random-Weights"] = "true"
        if exchange.trace is not None:
            exchange.trace.note({PROMPT_TOKENS: took.tokens})
        if took.truncated:
            headers["Emberank-Truncated"] = took.cut(queries)
        if ignored:
            headers["Emberank-Ignored-Fields"] = ", ".join(re.sub(r"[^A-Za-z0-9_.-]", "?", name)[:40] for name in ignored[:10])
        self._metrics.served(model=model.name, prompt_tokens=took.tokens, tokenize_s=t.tokenize_ms / 1e3)


def _same(name: str | None, model: ServedModel, roster: Roster) -> InputType | None:
    """The input type in a body's name of the model. BadRequest for another model's than the path's: it would get another model's numbers."""
    if name is None or name in UNNAMED:
        return None
    named, suffix = None, None
    with contextlib.suppress(ModelNotFound):
        named, suffix = roster.resolve_embedder(name) if model.task == "embed" else (roster.resolve(name, model.task), None)
    if named is not model:
        raise BadRequest(f"the path is for '{model.name}' and the body's model is '{name[:80]}': send '{model.name}', or leave model out")
    return suffix


def _calibration(asked: AskedRank, model: ServedModel) -> Calibration | None:
    """The model's, where it is asked for. Raises BadRequest where there is none."""
    if asked.score != "calibrated":
        return None
    if model.calibration is None:
        raise BadRequest(
            f"score_mode 'calibrated': '{model.name}' has no calibration; send 'sigmoid' or 'logit', or make one from judged data: emberank calibrate"
        )
    return Calibration(*model.calibration)
