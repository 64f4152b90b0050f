"""The settings of a bridge. The forge passes them as it passes a runtime's: a version's `settings`, in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emberank.settings import DoorSettings
from emberank.settings.row import row


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings(DoorSettings):
    """Everything a bridge can be told."""

    model_file: str = row("", "file", "A JSON file with one `model` entry: its name, its task, and the provider's model as `source`.")
    status_file: str = row("", "file", "Where the process says how far its start is, and why it failed: JSON, replaced atomically.")
    api_key_env: str = row("", "name", "The environment variable that holds the provider's key. Empty: LiteLLM looks where it always does.")
    api_base: str = row("", "URL", "Where the provider stands, when that is not its usual place.")
    score: Literal["auto", "logit", "sigmoid"] = row(
        "auto", "name", "What the provider's scores are: between 0 and 1, or raw logits. `auto` is `logit` for nvidia_nim and `sigmoid` for all others."
    )
    timeout_s: float = row(60.0, "seconds", "How long one call of the provider may take; a request's own deadline can only shorten it.", 0.1, 3600)
    max_passages: int = row(1000, "passages", "Passages in one ranking request.", 1, 100_000)
    max_inputs: int = row(2048, "inputs", "Inputs in one embeddings request.", 1, 1_000_000)
