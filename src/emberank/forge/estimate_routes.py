"""`/v1/models/{slug}/run-estimate`: what one request would take and cost, for the sample payload, for counts, or for a body as it would be sent."""

from __future__ import annotations

from emberank.contract.errors import BadRequest, TargetUnavailable
from emberank.contract.fleet import Principal
from emberank.contract.inference import EmbedCall, RankCall
from emberank.dialects import forge as native
from emberank.dialects import nim
from emberank.dialects.forge import Pin
from emberank.dialects.reading import shown
from emberank.forge.answers import Row, written
from emberank.forge.asked import FILTERS, Asked, pin_of, query_of
from emberank.forge.estimates import Payload, run_estimate
from emberank.forge.lengths import CountedBy, Length, length_of, tokens_of
from emberank.forge.model_routes import alternatives, why_not
from emberank.forge.parts import Parts
from emberank.forge.rules import Rule
from emberank.forge.standing import measured_at
from emberank.forge.targets import Offer
from emberank.serving.exchange import Exchange

_MOST = 10**12


class EstimateRoutes:
    """The estimate's two forms."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """GET for counts, POST for a body."""
        path = "/v1/models/{slug:path}/run-estimate"
        return [
            Rule("GET", path, ("read", "inference", "manage"), self.of_counts),
            Rule("POST", path, ("read", "inference", "manage"), self.of_body),
        ]

    async def of_counts(self, exchange: Exchange, caller: Principal) -> bytes:
        """For `tokens` and `passages`, or `chars`; for the sample payload when none is there."""
        query = query_of(exchange.request, *FILTERS, "tokens", "passages", "chars")
        tokens, passages, chars = (_count(query.pop(name, None), name) for name in ("tokens", "passages", "chars"))
        if tokens is not None and chars is not None:
            raise BadRequest("tokens and chars both say how long the request is; send one of the two")
        asked = self._asked(exchange, caller, pin_of(query))
        if tokens is None and chars is None and passages is None:
            return written(self.estimate(asked))
        return written(self.estimate(asked, Length(chars=chars, passages=passages), tokens))

    async def of_body(self, exchange: Exchange, caller: Principal) -> bytes:
        """For a body of the native route, measured by its characters. It is not run, and not kept."""
        pin = pin_of(query_of(exchange.request, *FILTERS))
        asked = self._asked(exchange, caller, Pin(version=pin.version))
        rules = nim.Rules(max_passages=self._parts.settings.max_passages, ranking_unknown_fields="ignore")
        call: RankCall | EmbedCall
        if asked.model.task == "rank":
            ranking = native.parse_ranking(exchange.body, rules)
            call, in_body = ranking.call, ranking.pin
        else:
            embedding = native.parse_embeddings(exchange.body, rules)
            call, in_body = embedding.call, embedding.pin
        asked = self._asked(exchange, caller, pin_of(_fields(pin), _fields(in_body)))
        return written(self.estimate(asked, length_of(call, asked.model.context_tokens)))

    def _asked(self, exchange: Exchange, caller: Principal, pin: Pin) -> Asked:
        asked = self._parts.ask(caller, exchange.request.path_params["slug"], pin)
        exchange.model = asked.model.slug
        return asked

    def estimate(self, asked: Asked, length: Length | None = None, tokens: int | None = None) -> Row:
        """The answer, for the sample payload unless a length is there. Raises TargetUnavailable where nothing can be asked."""
        parts, model, version = self._parts, asked.model, asked.chosen
        if not asked.here:
            raise TargetUnavailable(f"{why_not(asked)}; GET /v1/models/{model.slug}/inference-routes lists its targets")
        offer, chosen_by = self._chosen(asked)
        payload, counted_by = None, None
        if length is not None:
            payload, counted_by = self._payload(asked, offer, length, tokens)
        found = run_estimate(parts.windows, model.slug, version.name, offer.target, payload, offer.price, parts.idle_after_s(version))
        running = parts.deployment(model.slug, version.name, offer.target)
        return {
            **found,
            "tokens_counted_by": counted_by,
            "target_chosen_by": chosen_by,
            "phase": running.phase if running else "COLD",
            "runnable": offer.runnable,
            "reason": offer.reason,
            "alternatives": [] if offer.runnable else alternatives(parts, asked),
        }

    def _payload(self, asked: Asked, offer: Offer, length: Length, tokens: int | None) -> tuple[Payload, CountedBy | None]:
        if length.chars is None:
            return Payload(tokens=tokens, passages=length.passages), "caller" if tokens is not None else None
        probed = measured_at(self._parts.windows, asked.model.slug, asked.chosen.name, offer.target).probe
        counted, by = tokens_of(length.chars, asked.model.task, probed)
        if asked.model.context_tokens and length.passages:
            counted = min(counted, asked.model.context_tokens * length.passages)  # what is over-long is cut or refused, not read
        return Payload(tokens=counted, passages=length.passages), by

    def _chosen(self, asked: Asked) -> tuple[Offer, str]:
        """The target that a request would go to: the one that was named, else a warm one, else the first that can run."""
        parts, version = self._parts, asked.chosen
        if len(asked.here) == 1 and asked.pinned:
            return asked.here[0], "pinned"
        warm = {one.key.target for one in parts.life.deployments() if one.phase == "WARM" and one.key[:2] == (asked.model.slug, version.name)}
        rows = parts.rows(asked.model, version, asked.here)
        places = {(row["gpu_type"], row["region"]): i for i, row in enumerate(rows)}
        best = min(asked.here, key=lambda offer: (offer.target not in warm, not offer.runnable, places[offer.target]))
        return best, "warm" if best.target in warm else "best" if best.runnable else "none"


def _fields(pin: Pin) -> dict[str, str]:
    named = {"model_version": pin.version, "gpu_type": pin.gpu_type, "region": pin.region}
    return {name: value for name, value in named.items() if value is not None}


def _count(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 13 and 1 <= int(text) <= _MOST):
        raise BadRequest(f"{name} must be a whole number from 1 on; got {shown(text)}")
    return int(text)
