"""A request whose model nothing can answer for in, another model's answer out, as the catalogue has it. Knows no endpoint and no wire.

The model itself is asked first, every time: as soon as something answers for it again, that does. Only the model's own list counts, so nobody goes round in circles.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from emberank.client.answer import Answer
from emberank.contract.errors import BadRequest, Forbidden, NotReady, TargetUnavailable
from emberank.contract.fleet import Principal
from emberank.dialects.asked import AskedRank
from emberank.dialects.forge import ANYWHERE
from emberank.gateway.ask import Ask
from emberank.gateway.auth import check_model
from emberank.gateway.metrics import GatewayMetrics
from emberank.gateway.run import Run
from emberank.gateway.targets import wish_of
from emberank.gateway.upstream import Upstream
from emberank.gateway.view import View

log = logging.getLogger(__name__)

HEADER = "Emberank-Fallback"


class Fallbacks:
    """Asks a model's endpoints, and those of its fallbacks after them."""

    def __init__(self, upstream: Upstream, view: View, metrics: GatewayMetrics) -> None:
        self._upstream = upstream
        self._view = view
        self._metrics = metrics

    async def answer(self, run: Run, principal: Principal) -> Answer:
        """An answer to the next piece. Raises what the model itself was refused with when no fallback can answer either, LimitExceeded for a budget that is used up."""
        try:
            return await self._upstream.run(run)
        except (NotReady, TargetUnavailable) as error:
            asked, place = run.first or run.ask, run.place
            if run.first is not None:
                run.passed_over.add(run.ask.model.slug)
            for ask in self._instead(run, asked, principal):
                self._view.limits.check_budget(
                    principal, time.time(), usd=run.cost_usd, tokens=run.tokens
                )  # which others may have used up while this one was held
                run.ask_instead(ask)
                try:
                    answer = await self._upstream.run(run)
                except (NotReady, TargetUnavailable, BadRequest) as other:
                    log.warning("a fallback cannot answer: %s", other.message, extra={"action": "fallback_failed", "slug": ask.model.slug})
                    run.passed_over.add(ask.model.slug)
                    continue
                self._say(run, asked, error)
                return answer
            run.ask, run.place = asked, place  # the bill is for what was asked for
            raise

    def _instead(self, run: Run, asked: Ask, principal: Principal) -> Iterator[Ask]:
        """What may be asked in its place: other models for the same task that the key may use. None for a request that says where it is to run."""
        if asked.pinned:
            return
        known = {model.slug: model for model in self._view.names}
        for slug in asked.model.fallbacks:
            model = known.get(slug)
            if model is None or model.task != asked.model.task or model is asked.model or slug in run.passed_over:
                continue
            try:
                check_model(principal, model)
                wish = wish_of(model, ANYWHERE)
            except (Forbidden, TargetUnavailable):
                continue
            if isinstance(asked.asked, AskedRank) and asked.asked.score == "calibrated" and model.versions[0].calibration is None:
                continue
            yield replace(asked, model=model, wish=wish)

    def _say(self, run: Run, asked: Ask, why: Exception) -> None:
        assert run.place is not None
        endpoint = run.place.endpoint
        run.exchange.headers[HEADER] = f"{endpoint.slug}@{endpoint.version}"
        run.exchange.extra["fallback"] = endpoint.slug
        self._metrics.fallbacks.labels(asked.model.slug).inc()
        log.info("a fallback answers", extra={"action": "fallback", "slug": asked.model.slug, "instead": endpoint.slug, "why": type(why).__name__})
