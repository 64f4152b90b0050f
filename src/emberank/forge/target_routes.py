"""`/v1/targets`: the machines that models can run on here, what is free, and what an hour costs."""

from __future__ import annotations

from emberank.contract.fleet import Principal
from emberank.forge.answers import Row, listed
from emberank.forge.asked import query_of
from emberank.forge.parts import Parts
from emberank.forge.remote_names import is_remote
from emberank.forge.rules import Rule
from emberank.forge.targets import ELSEWHERE, Offer, Pool, Price, matching
from emberank.serving.exchange import Exchange


class TargetRoutes:
    """Pools and prices."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        """One route."""
        return [Rule("GET", "/v1/targets", ("read", "inference", "manage"), self.targets)]

    async def targets(self, exchange: Exchange, caller: Principal) -> bytes:
        """Every pool with what runs in it, and every price that is known; `gpu_type` and `region` filter both."""
        query = query_of(exchange.request, "gpu_type", "region")
        pools_here = self._parts.pools if self._names_servers() else [pool for pool in self._parts.pools if pool.target != ELSEWHERE]
        known = [Offer(target=pool.target, pool=pool, price=pool.price) for pool in pools_here]
        known += [Offer(target=target, price=price) for target, price in self._parts.prices.items()]
        found = matching(known, query.get("gpu_type"), query.get("region"))
        pools = [self._pool(offer.pool, caller) for offer in found if offer.pool is not None]
        prices = [
            {"gpu_type": offer.target.gpu_type, "region": offer.target.region or None, **price_row(offer.price)}
            for offer in found
            if offer.pool is None and offer.price is not None
        ]
        return listed(pools, prices=prices)

    def _names_servers(self) -> bool:
        """Whether the catalogue has a model on somebody else's server."""
        return any(is_remote(version.source) for model in self._parts.catalog() for version in model.versions)

    def _pool(self, pool: Pool, caller: Principal) -> Row:
        inside = [one for one in self._parts.life.deployments() if one.key.target == pool.target and one.phase in ("STARTING", "WARM", "DRAINING")]
        taken = sum(one.memory_bytes for one in inside)
        visible = [one for one in inside if not caller.models or one.key.slug in caller.models]
        return {
            "gpu_type": pool.target.gpu_type,
            "region": pool.target.region,
            "launcher": pool.launcher,
            "slots": pool.slots,
            "free_slots": self._parts.free_slots(pool),
            "memory_bytes": pool.memory_bytes or None,
            "free_memory_bytes": max(0, pool.memory_bytes - taken) if pool.memory_bytes else None,
            "closed": pool.closed,
            "price": None if pool.price is None else price_row(pool.price),
            "endpoints": [{"slug": one.key.slug, "version": one.key.version, "phase": one.phase, "memory_bytes": one.memory_bytes} for one in visible],
        }


def price_row(price: Price) -> Row:
    """What an hour costs, who says so, and when."""
    return {"usd_per_hour": price.usd_per_hour, "source": price.source, "date": price.date}
