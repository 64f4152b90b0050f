"""The settings of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from emberank.settings.door import DoorSettings
from emberank.settings.row import row


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings(DoorSettings):
    """Everything `emberank gateway` can be told."""

    request_timeout_s: float = row(
        600.0,
        "seconds",
        "A request's deadline, the wait for a cold model included; a caller's X-Request-Timeout header can only shorten it.",
        0.001,
        86_400,
    )
    auth: Literal["keys", "none"] = row(
        "keys", "name", "`keys`: every call needs an API key. `none`: whoever reaches the port may do everything; for closed networks."
    )
    public_url: str = row(
        "",
        "URL",
        "What callers reach this installation by, for links and lines to paste; `emberank up` knows it. With `auth=none` browsers may use no other name.",
    )
    forge_url: str = row("", "URL", "Where the forge listens; empty: as its fleet.json in `data_dir` says.")
    data_dir: str = row(
        "", "folder", "The forge's data folder, for fleet.json; usage that cannot be delivered is kept there. Empty means `~/.local/share/emberank`."
    )
    fleet_token: str = row("", "secret", "The secret between gateway and forge, when they do not share a data folder.", secret=True)
    usage_flush_s: float = row(1.0, "seconds", "How often usage and load go to the forge: the most usage that a killed gateway can lose.", 0.05, 60)
    max_held: int = row(1024, "requests", "Requests that may wait for one cold model before new ones are refused with Retry-After.", 1, 1 << 20)
    forge_patience_s: float = row(
        30.0, "seconds", "How long a request for a cold model waits for a forge that cannot be reached, as while it restarts, before it gets a 503.", 0, 3600
    )
    remote_timeout_s: float = row(
        60.0,
        "seconds",
        "How long one try at a remote server may take; a version may have its own `timeout_s`. The request's deadline counts as well.",
        0.05,
        3600,
    )
    remote_retries: int = row(2, "tries", "How often a call that a remote server did not answer is sent again, within the request's deadline.", 0, 10)
    max_in_flight: int = row(4096, "requests", "Requests being answered at one time before new ones are refused with Retry-After.", 1, 1 << 20)
    max_upstream_connections: int = row(256, "connections", "Connections to one endpoint.", 1, 1 << 16)
    max_passages: int = row(512, "passages", "Passages in one ranking request; 512 is NIM's limit, 1000 the hosted one's.", 1, 100_000)
    max_documents: int = row(
        10_000, "documents", "Documents in one request of the other rerank dialects; an endpoint is asked for `max_passages` of them at one time.", 1, 1_000_000
    )
    max_inputs: int = row(8192, "inputs", "Inputs in one embeddings request.", 1, 1_000_000)
    default_truncate: Literal["NONE", "START", "END"] = row(
        "NONE", "name", "What is done with an over-long input when the request does not say: NONE refuses it, as NIM does."
    )
    ranking_unknown_fields: Literal["reject", "ignore"] = row(
        "ignore", "rule", "Unknown fields of a ranking request: many clients send fields of their own; `reject` answers 400 as the 2.x NIM does."
    )

    table: ClassVar[str] = "gateway"
    takes_nim: ClassVar[bool] = True
