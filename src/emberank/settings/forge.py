"""The settings of a forge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from emberank.settings.door import DoorSettings
from emberank.settings.row import row


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeSettings(DoorSettings):
    """Everything `emberank forge` can be told."""

    port: int = row(8010, "port", "TCP port of the control plane; 0 takes a free one and prints it.", 0, 65535)
    request_timeout_s: float = row(600.0, "seconds", "A request's deadline; `start` waits this long for a model to be warm.", 0.001, 86_400)
    auth: Literal["keys", "none"] = row(
        "keys", "name", "`keys`: every call needs an API key. `none`: whoever reaches the port may do everything; for closed networks."
    )
    web_session_idle_s: float = row(43_200.0, "seconds", "How long a web session lasts without a request; 12 hours by default.", 60, 31_536_000)
    web_session_max_s: float = row(604_800.0, "seconds", "How long a web session lasts at most, used or not; 7 days by default.", 60, 31_536_000)
    public_url: str = row(
        "",
        "URL",
        "What callers reach this installation by, for links and lines to paste; `emberank up` knows it. With `auth=none` browsers may use no other name.",
    )
    oidc_issuer: str = row("", "URL", "The OpenID Connect provider that people sign in with in the browser, exactly as it names itself; empty: none.")
    oidc_name: str = row("", "name", "What the sign-in page calls the provider; empty: its host.")
    oidc_client_id: str = row("", "id", "What the provider knows this installation as.")
    oidc_client_secret: str = row(
        "", "secret", "The client's secret; or keep it in the data folder with `emberank secret set EMBERANK_OIDC_CLIENT_SECRET`.", secret=True
    )
    oidc_scopes: str = row("openid email profile", "scopes", "What the provider is asked for; some need `groups` for a person's groups.")
    oidc_person_claim: str = row("sub", "claim", "The claim that a person is known by; another one than `sub` must never be given to somebody else.")
    oidc_groups_claim: str = row("groups", "claim", "The claim with a person's groups; dots lead into objects, as in `realm_access.roles`.")
    oidc_allow: str = row(
        "", "rules", "Who gets in, commas between: `@example.com`, `ann@example.com`, `group:staff`, `sub:ID`, or `everybody` whom the provider knows."
    )
    oidc_admins: str = row("", "rules", "Who gets in and may do everything: as `oidc_allow`, but not `everybody`.")
    oidc_others_may: str = row("inference,read", "scopes", "What those may do who are no admins: `inference`, `read`, or both.")
    oidc_monthly_usd: float = row(0.0, "US dollars", "What each of those may spend in a month; 0: no limit.", 0, 1e12)
    data_dir: str = row(
        "", "folder", "Database, secrets, logs, your own models, pools and prices. Empty means `$XDG_DATA_HOME/emberank` or `~/.local/share/emberank`."
    )
    database_url: str = row("", "URL", "A PostgreSQL database (`postgresql://…`) in the place of the SQLite file in the data folder.", secret=True)
    api_key: str = row("", "secret", "The first admin key; empty: one is made and shown once.", secret=True)
    fleet_token: str = row("", "secret", "The secret between gateway and forge, when they do not share a data folder.", secret=True)
    cache_dir: str = row("", "folder", "Where fetched weights are kept; empty means `$XDG_CACHE_HOME/emberank` or `~/.cache/emberank`.")
    engine: Literal["auto", "openvino", "torch", "reference", "fake"] = row(
        "auto", "name", "What runs the networks of the runtimes that are started: `auto` is `torch` on GPUs and `openvino` on CPUs; `fake` is for tests only."
    )
    idle_after_s: float = row(900.0, "seconds", "How long an endpoint stays warm after its last request; a version may have its own.", 0.1, 1e9)
    start_timeout_s: float = row(
        600.0, "seconds", "How long a start may take before it is given up; fetching weights counts only while nothing arrives.", 0.1, 86_400
    )
    stop_timeout_s: float = row(35.0, "seconds", "How long a stopping endpoint may drain before it is killed.", 0.1, 3600)
    evict_idle: bool = row(True, "yes or no", "Whether a start that does not fit may stop the longest-idle endpoints that are not to be kept warm.")
    leave_running: bool = row(False, "yes or no", "Whether endpoints are left running when the forge ends, to be adopted by the next one.")
    probe_after_start: bool = row(True, "yes or no", "Whether a freshly started endpoint is measured with a few requests.")
    probe_requests: int = row(10, "requests", "Warm requests of one probe.", 1, 1000)
    usage_keep_days: int = row(90, "days", "How long single requests are kept; their hourly sums stay.", 1, 36_500)
    local_usd_per_hour: float = row(0.0, "US dollars", "What an hour of this machine costs you; cost figures of target local use it.", 0, 1e6)
    runtime_threads: int = row(0, "threads", "Threads of each runtime's engine; 0 means one per core.", 0, 4096)
    max_passages: int = row(1000, "passages", "Passages in one request to a runtime; the gateway's own limit is what callers meet.", 1, 100_000)
    gateway_max_passages: int = row(512, "passages", "The gateway's `max_passages`, for the pages to say; `emberank up` knows it.", 1, 100_000)
    gateway_max_inputs: int = row(8192, "inputs", "The gateway's `max_inputs`, likewise.", 1, 1_000_000)
    gateway_max_body_bytes: int = row(64 << 20, "bytes", "The gateway's `max_body_bytes`, likewise.", 1024, 1 << 31)

    table: ClassVar[str] = "forge"
