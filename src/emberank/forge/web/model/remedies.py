"""A reason why something failed in, what to do about it out: one sentence each, for people at a page. Knows no model and no log."""

from __future__ import annotations

from collections.abc import Mapping

from emberank.contract.fleet import FailureReason

REMEDIES: Mapping[FailureReason, str] = {
    "weights_unavailable": "Fetch them on this machine with `emberank pull`: it says what is missing, the network, the name, or a licence that waits to be accepted.",
    "weights_corrupt": "Delete what is in the cache and fetch it again with `emberank pull`; if the hash is still another one, the source has changed.",
    "unsupported_architecture": "Choose another version or model; the server's log names the part that is not known.",
    "golden_mismatch": "Do not use this target: it answers wrongly. Choose another one; the server's log has the scores that came out.",
    "bad_setting": "Correct the version's `settings` in models.toml: the message names the one that was refused.",
    "out_of_memory": "Choose a target with more memory, stop another model there, or use a version of lower precision.",
    "start_timeout": "Try again: weights that were fetched meanwhile are not fetched twice. If it stays so, give a start more time (EMBERANK_START_TIMEOUT_S).",
    "crashed": "Try again once; if it ends again, the server's log holds its last words, and another target may work.",
    "unreachable": "Check the machine and the network between; the next start takes a new endpoint.",
    "no_capacity": "Wait until something there becomes idle, stop a model, or choose another target.",
    "request_failed": "Send one request from the playground to see the error; the server's log has the rest.",
}


def remedy(reason: str | None) -> str:
    """What to do; empty where there is no reason, or one that nobody knows."""
    return next((sentence for known, sentence in REMEDIES.items() if known == reason), "")
