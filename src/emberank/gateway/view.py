"""A snapshot in, the indexes that requests are answered from out: names, endpoints, keys. Knows no wire; nothing of it is ever written down."""

from __future__ import annotations

import asyncio

from emberank.contract.errors import NotReady
from emberank.contract.fleet import Revisions, Snapshot
from emberank.gateway.auth import Keys
from emberank.gateway.limits import Limits
from emberank.gateway.names import Names
from emberank.gateway.routing import Places


class View:
    """What the forge last said. Serves on when the forge is away."""

    def __init__(self) -> None:
        self.names = Names()
        self.places = Places()
        self.keys = Keys()
        self.limits = Limits()
        self.revisions = Revisions()
        self.forge_id = ""
        self.first = asyncio.Event()  # set with the first snapshot
        self._key_secret = ""

    @property
    def ready(self) -> bool:
        """Whether there was a snapshot."""
        return bool(self.forge_id)

    def require(self) -> None:
        """Raises NotReady before the first snapshot."""
        if not self.forge_id:
            raise NotReady("the gateway has not heard from the forge yet", retry_after_s=1)

    def can_take(self, news: Snapshot) -> bool:
        """Whether `news` fits onto what is known: revisions of two forges do not compare, so a new forge has to say everything."""
        return news.forge_id == self.forge_id or None not in (news.models, news.endpoints, news.principals)

    def take(self, news: Snapshot, now: float) -> bool:
        """Take it over; True when endpoints or models changed."""
        if news.models is not None:
            self.names = Names(news.models)
            self.places.prefer(news.models)
        if news.models is not None or news.endpoints is not None:
            self.places.update(news.endpoints if news.endpoints is not None else self.places.endpoints(), now)
        if news.principals is not None:
            self._key_secret = news.key_secret or self._key_secret
            self.keys = Keys(news.principals, self._key_secret)
            self.limits.forget({principal.key_id for principal in news.principals})
        self.limits.counted(news.counted)
        self.forge_id, self.revisions = news.forge_id, news.revisions
        self.first.set()
        return news.models is not None or news.endpoints is not None
