"""Talking to an Emberank server: the Python client for users, and the HTTP hop of the gateway and the forge."""

from emberank.client.asynchronous import AsyncClient
from emberank.client.blocking import Client
from emberank.client.results import Ranking

__all__ = ["AsyncClient", "Client", "Ranking"]
