"""One request on its way: what is still to be asked, where it was sent, and what came of it. Knows no wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from emberank.client.answer import Answer
from emberank.contract.fleet import Endpoint
from emberank.contract.inference import EmbedCall, RankCall
from emberank.dialects import nim, outgoing
from emberank.dialects.answers import Embeddings, Ranking
from emberank.dialects.asked import AskedEmbed, AskedRank, Told
from emberank.dialects.pieces import RankPiece, joined, pieces, waves
from emberank.dialects.scores import Calibration
from emberank.gateway.ask import Ask
from emberank.gateway.routing import Place
from emberank.serving.exchange import Exchange

Piece: TypeAlias = RankPiece | EmbedCall
_AT_ONCE = 16  # of one request at an endpoint


def call_of(piece: Piece) -> RankCall | EmbedCall:
    """The call that a piece is."""
    return piece.call if isinstance(piece, RankPiece) else piece


@dataclass(frozen=True, slots=True)
class Part:
    """What one endpoint answered to one piece."""

    piece: Piece
    endpoint: Endpoint
    answer: Answer
    read: Ranking | Embeddings | None = None  # what it says, where that was looked at already


@dataclass(slots=True, eq=False)
class Run:
    """`max_passages` is how many one call to an endpoint may hold, where the endpoint does not say."""

    ask: Ask
    exchange: Exchange
    max_passages: int
    place: Place | None = None
    cold_start_ms: float = 0.0
    queue_ms: float = 0.0
    model_ms: float = 0.0
    upstream_s: float = 0.0
    piece_s: float = 0.0  # of it, the last piece's
    tokens: int = 0
    cost_usd: float = 0.0
    parts: list[Part] = field(default_factory=list)
    first: Ask | None = None  # what was asked for, when another model is asked in its place
    passed_over: set[str] = field(default_factory=set)  # slugs of fallbacks that could not answer either
    one_by_one: bool = False  # an endpoint broke off while several were asked: what is left is asked in turn, where a fallback may take over
    _left: list[Piece] | None = None  # in the order of the request, from the end

    @property
    def done(self) -> bool:
        """Whether everything was answered."""
        return self._left == []

    @property
    def last_start(self) -> int | None:
        """Where in the request the piece that was answered last begins; None where several queries have places of their own."""
        piece = self.parts[-1].piece
        if not isinstance(piece, RankPiece):
            return 0
        return piece.start if isinstance(self.ask.asked, AskedRank) and len(self.ask.asked.calls) == 1 else None

    @property
    def last_call(self) -> RankCall | EmbedCall:
        """What the endpoint was asked that answered last."""
        return call_of(self.parts[-1].piece)

    @property
    def last_tokens(self) -> int:
        """About how many tokens the piece that was answered last holds, for an endpoint that charges by tokens and does not count them."""
        call = self.last_call
        inputs = call.inputs if isinstance(call, EmbedCall) else (call.query, *call.passages)
        return sum(len(content.text or "") for content in inputs) // 4 + 1

    def piece(self, endpoint: Endpoint) -> Piece:
        """What to ask this endpoint for next. How many passages it may hold is settled by the first endpoint."""
        if self._left is None:
            most, asked = endpoint.max_passages or self.max_passages, self.ask.asked
            left: list[Piece] = [asked.call] if isinstance(asked, AskedEmbed) else [*pieces(asked.calls, most)]
            left.reverse()
            self._left = left
        return self._left[-1]

    def tokens_of(self, call: RankCall | EmbedCall) -> int:
        """About how much of the request's work a call is."""
        count = len(call.inputs if isinstance(call, EmbedCall) else call.passages)
        return self.ask.tokens if count == self.ask.passages else self.ask.tokens * count // self.ask.passages + 1

    def take(self, endpoint: Endpoint, answer: Answer, read: Ranking | Embeddings | None = None) -> None:
        """The answer to the piece that was asked for last."""
        assert self._left
        self.parts.append(Part(self._left.pop(), endpoint, answer, read))

    def branches(self, endpoints: int) -> list[Run]:
        """Pieces that are left, as runs of their own to be asked for at one time of so many endpoints; none when there is but one, or nothing was answered yet.

        For each endpoint they hold no more passages than one call may: many queries with a passage each are one batch's work, and large pieces are not to fill a queue.
        """
        if not self.parts or not self._left or self.one_by_one:
            return []
        left = (piece for piece in reversed(self._left) if isinstance(piece, RankPiece))
        wave = next(waves(left, self.max_passages * max(endpoints, 1), _AT_ONCE), [])
        if len(wave) < 2:
            return []
        del self._left[-len(wave) :]
        return [Run(self.ask, self.exchange, self.max_passages, first=self.first, passed_over=self.passed_over, _left=[piece]) for piece in wave]

    def absorb(self, branch: Run) -> None:
        """What became of a branch, when it has ended: its answer, or its piece back."""
        self.upstream_s += branch.upstream_s
        self.cold_start_ms = max(self.cold_start_ms, branch.cold_start_ms)
        self.place = branch.place or self.place
        if branch.parts:
            self.parts += branch.parts
            self.piece_s = branch.piece_s
        else:
            assert self._left is not None
            self._left += branch._left or []
            self.one_by_one = True

    def ask_instead(self, ask: Ask) -> None:
        """Ask another model, for everything anew: what two models say does not compare. What was answered so far stays on the bill."""
        self.first = self.first or self.ask
        self.ask = ask
        self.parts, self._left = [], None
        self.exchange.headers.pop("emberank-truncated", None)

    def rendered(self) -> bytes:
        """The answer in the caller's dialect. Raises ServerFault for an endpoint's that is not whole."""
        asked, first = self.ask.asked, self.parts[0]
        if asked.plain and len(self.parts) == 1 and first.endpoint.dialect == "emberank":
            body = first.answer.body
            return nim.cut_ranking(body, asked.top_n) if isinstance(asked, AskedRank) and asked.top_n is not None else body
        told = Told(model=self.ask.model.id, request_id=self.exchange.request_id, calibration=self._calibration(first.endpoint))
        if isinstance(asked, AskedEmbed):
            return asked.render(self._embeddings(first), told)
        done = [(part.piece, self._ranking(part, part.piece)) for part in self.parts if isinstance(part.piece, RankPiece)]
        return asked.render(joined(done), told)

    def _ranking(self, part: Part, piece: RankPiece) -> Ranking:
        return part.read if isinstance(part.read, Ranking) else outgoing.read_rank(piece.call, part.endpoint, part.answer.body)

    def _embeddings(self, part: Part) -> Embeddings:
        assert isinstance(part.piece, EmbedCall)
        if isinstance(part.read, Embeddings):
            return part.read
        return outgoing.read_embed(part.piece, part.endpoint, part.answer.body)

    def _calibration(self, endpoint: Endpoint) -> Calibration | None:
        """Of the version that answered."""
        for version in self.ask.model.versions:
            if version.name == endpoint.version and version.calibration is not None:
                return Calibration(*version.calibration)
        return None
