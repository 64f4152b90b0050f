"""What became of a call to somebody else's server in, what its caller is told out, and whether the call may be sent again. Pure.

A server that others run may do anything: send elsewhere, break off, answer with a page of HTML, leave passages out. None of it reaches a caller but as one clear
sentence; what the server says of a caller's own mistake does, cut short. What it says of our key is between it and us.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import unquote

from emberank.client.answer import Answer
from emberank.client.errors import error_from
from emberank.client.failures import AnswerTooLarge, BadAnswer, ConnectFailed, ConnectionLost
from emberank.contract.errors import DeadlineExceeded, EmberankError, ServerFault
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import EmbedCall, RankCall
from emberank.dialects import outgoing
from emberank.dialects.answers import Embeddings, Ranking
from emberank.gateway.errors import RemoteFault

_MOST_CHARACTERS = 300
_PART = 8  # letters and digits of a key, in a row, that no sentence has by chance
_BAD_GATEWAY = 502
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_OF_THE_WAY = frozenset({401, 403, 404, 405, 410})
_CALLERS = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`error` is the caller's; `said` is for the log. `again`: the same call may be sent once more, after `pause_s`. `counts`: it is a failure of the server."""

    error: EmberankError
    said: str
    again: bool = False
    pause_s: float = 0.0  # as the server says
    counts: bool = True


def read_or_fault(endpoint: Endpoint, call: RankCall | EmbedCall, answer: Answer) -> Ranking | Embeddings | Fault:
    """What the answer says, or what is wrong with it."""
    if answer.status != 200:
        return _of_status(endpoint, answer)
    try:
        return outgoing.read_rank(call, endpoint, answer.body) if isinstance(call, RankCall) else outgoing.read_embed(call, endpoint, answer.body)
    except ServerFault as cause:
        what = "ranking of the passages" if isinstance(call, RankCall) else "list of vectors for the inputs"
        return _fault(endpoint, f"sent an answer that is no whole {what} it was asked for", said=str(cause.__cause__))


def fault_of_transport(endpoint: Endpoint, cause: Exception, timeout_s: float) -> Fault:
    """What is wrong when no whole answer came."""
    if isinstance(cause, ConnectFailed):
        return _fault(endpoint, "cannot be reached", said=_words(cause), again=True, status=503)
    if isinstance(cause, ConnectionLost):
        return _fault(endpoint, "broke the connection off before its whole answer was there", said=_words(cause), again=True, status=503)
    if isinstance(cause, BadAnswer):
        return _fault(endpoint, "answered with something that is not HTTP", said=_words(cause), again=True)
    if isinstance(cause, AnswerTooLarge):
        return _fault(endpoint, "sent an answer larger than this gateway takes: ask for less at one time", said=_words(cause))
    if isinstance(cause, DeadlineExceeded):
        return _fault(endpoint, f"did not answer within {timeout_s:g} s", said=_words(cause), again=True, status=503)
    raise cause


def _of_status(endpoint: Endpoint, answer: Answer) -> Fault:
    status = answer.status
    error = error_from(status, answer.headers, answer.body)
    # What it says of a request may quote what a caller sent, which is for no log; what it says of a key, a path or a model does not.
    said = f"{status}: {_cut(endpoint, error.message)}" if status in _OF_THE_WAY else f"status {status}"
    if status in _CALLERS:
        error.message = _cut(endpoint, error.message) or f"the remote server of '{endpoint.slug}' refuses the request ({status})"
        vars(error).pop("type", None)  # a word of theirs would be a label of our metrics: the kind's own is as good
        return Fault(error=error, said=said, counts=False)
    if status in (401, 403):
        return _fault(endpoint, f"refuses the key that this installation has for it ({status}): whoever runs this installation has to look at it", said=said)
    if status == 410:
        return _fault(endpoint, "says that the model is gone for good (410): it was retired there, and another one has to take its place", said=said)
    if status in (404, 405):
        return _fault(endpoint, f"does not know the model, or takes no such calls at its URL ({status})", said=said)
    if 300 <= status < 400:
        return _fault(endpoint, f"sends elsewhere ({status}), and no key is taken elsewhere: its final URL has to stand in the catalogue", said=said)
    if status in _AGAIN:
        what = "has had too many requests for now (429)" if status == 429 else f"has a fault of its own ({status})"
        return _fault(endpoint, what, said=said, again=True, status=503, retry_after_s=error.retry_after_s)
    return _fault(endpoint, f"answered with status {status}, which is no answer to the call", said=said)


def _fault(endpoint: Endpoint, what: str, *, said: str, again: bool = False, status: int = _BAD_GATEWAY, retry_after_s: float | None = None) -> Fault:
    error = RemoteFault(f"the remote server of '{endpoint.slug}' {what}", status=status, retry_after_s=max(1.0, retry_after_s or 0.0) if again else None)
    return Fault(error=error, said=said, again=again, pause_s=retry_after_s or 0.0)


def _words(cause: Exception) -> str:
    return f"{type(cause).__name__}: {cause}"


def _cut(endpoint: Endpoint, text: str) -> str:
    """A remote server's sentence: one line, not too long; empty where it repeats our key, in whatever spelling."""
    line = " ".join(text.split())
    if endpoint.secret and _mentions(line, endpoint.secret):
        return ""
    return line if len(line) <= _MOST_CHARACTERS else line[:_MOST_CHARACTERS] + "…"


def _mentions(text: str, secret: str) -> bool:
    """Whether a part of the secret is in the text: as it is, with escapes or blanks in it, or in base64."""
    plain = _bare(text) + " " + _bare(unquote(text))
    coded = (base64.b64encode(b" " * shift + secret.encode("latin-1", "replace"))[4 if shift else 0 :].decode("ascii").rstrip("=")[:-1] for shift in range(3))
    for spelling in (secret, *coded):
        bare = _bare(spelling)
        width = min(_PART, len(bare))
        if width and any(bare[i : i + width] in plain for i in range(len(bare) - width + 1)):
            return True
    return False


def _bare(text: str) -> str:
    """Letters and digits alone, without case."""
    return "".join(filter(str.isalnum, text)).lower()
