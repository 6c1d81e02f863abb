"""PlaygroundService with canned answers, which a test may change."""

import asyncio
from uuid import UUID

from attune.serving.v1 import playground_pb2 as pb
from attune.serving.v1 import playground_pb2_grpc

from services.common import errors
from tests.cli.canned_datasets import PROJECT

EXCHANGE = f"{PROJECT}/exchanges/e1"
VERSION = f"{PROJECT}/models/tickets/versions/1"
BASE = f"{PROJECT}/baseModels/attune~starter"


def text(index: int, delta: str) -> pb.CompareResponse:
    """Return a piece of an answer."""
    return pb.CompareResponse(model_index=index, response=pb.GenerateResponse(text_delta=delta))


def wait(index: int, message: str, progress: float, remaining_s: int) -> pb.CompareResponse:
    """Return a piece that tells of an engine that starts."""
    piece = pb.CompareResponse(model_index=index)
    piece.response.wait.message, piece.response.wait.progress = message, progress
    piece.response.wait.remaining_duration.FromSeconds(remaining_s)
    return piece


def end(index: int, scores: dict[str, float] | None = None, **facts) -> pb.CompareResponse:
    """Return the end of an answer, with what it took."""
    piece = pb.CompareResponse(model_index=index)
    piece.response.end.CopyFrom(
        pb.GenerationEnd(
            **{
                "model_version": VERSION if index else "",
                "finish_reason": "stop",
                "prompt_token_count": 20,
                "answer_token_count": 34,
                "first_token_s": 0.0123,
                "total_s": 1.5,
                "tokens_per_s": 41.04,
                "exchange": EXCHANGE,
                **facts,
            }
        )
    )
    for grader, score in (scores or {}).items():
        piece.response.end.scores.add(grader=grader, score=score)
    return piece


def failure(index: int, message: str, retry_s: int = 0) -> pb.CompareResponse:
    """Return the failure of one model."""
    piece = pb.CompareResponse(model_index=index)
    piece.response.failure.reason = "NO_SUCH_VERSION"
    piece.response.failure.message, piece.response.failure.exchange = message, EXCHANGE
    if retry_s:
        piece.response.failure.retry_delay.FromSeconds(retry_s)
    return piece


def an_exchange(number: int = 1) -> pb.Exchange:
    """Return what was asked of a base and a version."""
    made = pb.Exchange(name=f"{PROJECT}/exchanges/e{number}")
    made.prompt.messages.add(role="user", content=f"Prompt {number}\nof two lines")
    made.create_time.FromSeconds(1_900_000_000)
    for index, model in enumerate((BASE, VERSION)):
        answer = made.answers.add(model=model, text=f"answer {index}")
        answer.end.CopyFrom(end(index, {"exact": float(index)}).response.end)
    return made


class CannedPlayground(playground_pb2_grpc.PlaygroundServiceServicer):
    """Answers with `pieces`, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list = []
        self.pieces = [text(1, "tuned "), text(0, "base"), text(1, "answer"), end(0), end(1)]
        self.hangs = False
        """Whether answers never end."""
        self.hung_up = asyncio.Event()
        """Set when the client of an answer that never ends has gone."""
        self.exchanges = [an_exchange(number) for number in (3, 2, 1)]

    def _keep(self, request):
        self.asked.append(request)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            UUID(request.request_id)

    async def Compare(self, request, context):
        self._keep(request)
        async for piece in self._answers():
            yield piece

    async def Generate(self, request, context):
        self._keep(request)
        async for piece in self._answers():
            if piece.response.HasField("failure"):
                raise errors.NotFound(piece.response.failure.message, reason="NO_SUCH_VERSION")
            yield piece.response

    async def _answers(self):
        for piece in self.pieces:
            yield piece
        if not self.hangs:
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.hung_up.set()

    async def ListExchanges(self, request, context):
        self._keep(request)
        first = int(request.page_token or "0")
        last = first + min(request.page_size, 2)
        return pb.ListExchangesResponse(
            exchanges=self.exchanges[first:last],
            next_page_token=str(last) if last < len(self.exchanges) else "",
        )

    async def RecordPreference(self, request, context):
        self._keep(request)
        if request.exchange != EXCHANGE:
            text = f"There is no {request.exchange}."
            raise errors.NotFound(text, reason="NO_SUCH_EXCHANGE")
        judged = an_exchange()
        judged.preference.CopyFrom(request.preference)
        return judged

    async def ExportPreferences(self, request, context):
        self._keep(request)
        return pb.ExportPreferencesResponse(
            dataset=f"{PROJECT}/datasets/d7",
            row_count=1200,
            left_out_count=3,
            model_versions=[VERSION],
        )
