"""A server's address in, its stream of events out, one after the other. Knows no event."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from wire import Client

MOST_EVENTS = 1000


@dataclass(frozen=True)
class Event:
    """One, as a browser hands it to a page; a comment has the name `:`."""

    name: str
    data: Any


class EventStream:
    """An open stream. Every wait for a line ends after the client's own time."""

    def __init__(self, response: HTTPResponse) -> None:
        self.response = response
        self.retry_ms = 0

    def next(self, name: str = "") -> Event:
        """The next event, or the next of that name."""
        for _ in range(MOST_EVENTS):
            event = self._event()
            assert event is not None, f"the stream ended before {name or 'another event'}"
            if name in ("", event.name):
                return event
        raise AssertionError(f"{MOST_EVENTS} events, and no {name}")

    def until(self, name: str, true: Callable[[Any], bool]) -> Any:
        """The data of the first event of that name of which it is so."""
        for _ in range(MOST_EVENTS):
            data = self.next(name).data
            if true(data):
                return data
        raise AssertionError(f"{MOST_EVENTS} events, and none was it")

    def rest(self) -> list[Event]:
        """What still comes until the stream ends, which it must, and cleanly: a reader of chunks raises at one that is cut off."""
        events = []
        while len(events) < MOST_EVENTS and (event := self._event()) is not None:
            events.append(event)
        assert self.response.isclosed()
        return events

    def _event(self) -> Event | None:
        name, data = "", []
        while line := self.response.readline().decode("utf-8"):
            field, _, value = line.rstrip("\n").partition(": ")
            if line.startswith(":"):
                name = ":"
            elif field == "retry":
                self.retry_ms = int(value)
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif line == "\n" and name:
                return Event(name, json.loads("\n".join(data)) if data else None)
        return None


@contextlib.contextmanager
def opened_stream(client: Client, path: str = "/web/events", headers: Mapping[str, str] | None = None) -> Iterator[EventStream]:
    """A stream that must be granted; leaving closes the connection."""
    with contextlib.closing(client.connect()) as connection:
        connection.request("GET", path, headers={"Accept": "text/event-stream", **(headers or {})})
        response = connection.getresponse()
        try:
            assert response.status == 200, response.read()
            assert response.getheader("content-type", "").startswith("text/event-stream")
            assert response.getheader("cache-control") == "no-store"
            yield EventStream(response)
        finally:
            response.close()
