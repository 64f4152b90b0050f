"""Talking to an Emberank server: the Python client for users, and the HTTP hop of the gateway and the forge."""

from emberank.client.asynchronous import AsyncClient
from emberank.client.blocking import Client
from emberank.client.records import (
    Alternative,
    Availability,
    EndpointStatus,
    Estimate,
    Key,
    ModelEntry,
    ModelInfo,
    ModelVersion,
    NewKey,
    Reliability,
    Route,
    Routes,
    Started,
    Status,
    StepProgress,
    Stopped,
    Target,
)
from emberank.client.results import RankedPassage, Ranking
from emberank.client.talks import Progress

__all__ = [
    "Alternative",
    "AsyncClient",
    "Availability",
    "Client",
    "EndpointStatus",
    "Estimate",
    "Key",
    "ModelEntry",
    "ModelInfo",
    "ModelVersion",
    "NewKey",
    "Progress",
    "RankedPassage",
    "Ranking",
    "Reliability",
    "Route",
    "Routes",
    "Started",
    "Status",
    "StepProgress",
    "Stopped",
    "Target",
]
