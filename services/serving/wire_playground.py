"""Maps the playground's messages to domain objects and back; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from attune.serving.v1 import playground_pb2 as pb

from services.common.errors import Violation, invalid
from services.common.wire_time import duration, timestamp
from services.serving.playground.answer import Answer, End, Failure, Piece, Score, Wait
from services.serving.playground.exchange import Exchange
from services.serving.playground.grading import Grading
from services.serving.playground.preference import Preference, Verdict
from services.serving.playground.preference_rows import Shape
from services.serving.playground.prompt import Message, Prompt, Sampling, Tool, ToolCall

VERDICTS = {
    Verdict.BETTER: pb.Preference.VERDICT_BETTER,
    Verdict.WORSE: pb.Preference.VERDICT_WORSE,
    Verdict.ALL_BAD: pb.Preference.VERDICT_ALL_BAD,
}
SHAPES = {
    Shape.PAIRS: pb.ExportPreferencesRequest.SHAPE_PAIRS,
    Shape.DEMONSTRATIONS: pb.ExportPreferencesRequest.SHAPE_DEMONSTRATIONS,
}


def prompt_from_proto(message: pb.Prompt) -> Prompt:
    """Return what is asked, with the default where nothing is said."""
    return Prompt(
        messages=tuple(
            Message(one.role, one.content, _calls_from_proto(one.tool_calls), one.tool_call_id)
            for one in message.messages
        ),
        tools=tuple(Tool(one.name, one.description, one.parameters) for one in message.tools),
        json_schema=message.json_schema,
        sampling=sampling_from_proto(message.sampling),
    )


def prompt_to_proto(prompt: Prompt) -> pb.Prompt:
    """Return the message of what is asked."""
    sampling = prompt.sampling
    return pb.Prompt(
        messages=[
            pb.ChatMessage(
                role=one.role,
                content=one.content,
                tool_calls=_calls_to_proto(one.tool_calls),
                tool_call_id=one.tool_call_id,
            )
            for one in prompt.messages
        ],
        tools=[
            pb.Tool(name=one.name, description=one.description, parameters=one.parameters)
            for one in prompt.tools
        ],
        json_schema=prompt.json_schema,
        sampling=pb.Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            stop=sampling.stop,
        ),
    )


def sampling_from_proto(message: pb.Sampling) -> Sampling:
    """Return how to draw tokens, with the default where nothing is said."""
    default = Sampling()
    return Sampling(
        temperature=(
            message.temperature if message.HasField("temperature") else default.temperature
        ),
        top_p=message.top_p if message.HasField("top_p") else default.top_p,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else default.max_tokens,
        seed=message.seed if message.HasField("seed") else default.seed,
        stop=tuple(message.stop),
    )


def grading_from_proto(message: pb.Grading) -> Grading:
    """Return with what answers are scored."""
    return Grading(tuple(message.graders), message.reference)


def piece_to_proto(piece: Piece) -> pb.GenerateResponse:
    """Return the message of a piece of an answer."""
    if isinstance(piece, str):
        return pb.GenerateResponse(text_delta=piece)
    if isinstance(piece, End):
        return pb.GenerateResponse(end=_end_to_proto(piece))
    if isinstance(piece, Failure):
        return pb.GenerateResponse(failure=_failure_to_proto(piece))
    return pb.GenerateResponse(wait=_wait_to_proto(piece))


def answer_to_proto(answer: Answer) -> pb.Answer:
    """Return the message of an answer."""
    return pb.Answer(
        model=answer.model,
        text=answer.text,
        end=None if answer.end is None else _end_to_proto(answer.end),
        failure=None if answer.failure is None else _failure_to_proto(answer.failure),
    )


def answer_from_proto(message: pb.Answer) -> Answer:
    """Return the answer in a message."""
    return Answer(
        model=message.model,
        text=message.text,
        end=_end_from_proto(message.end) if message.HasField("end") else None,
        failure=_failure_from_proto(message.failure) if message.HasField("failure") else None,
    )


def exchange_to_proto(exchange: Exchange) -> pb.Exchange:
    """Return the message of an exchange."""
    preference = exchange.preference
    return pb.Exchange(
        name=exchange.name,
        prompt=prompt_to_proto(exchange.prompt),
        answers=[answer_to_proto(one) for one in exchange.answers],
        preference=None if preference is None else _preference_to_proto(preference),
        create_time=timestamp(exchange.create_time),
    )


def preference_from_proto(message: pb.Preference, now: datetime) -> Preference:
    """Return an opinion.

    Args:
        message: As it was sent.
        now: The present moment.

    Raises:
        InvalidArgument: If its verdict is none.
    """
    found = [verdict for verdict, value in VERDICTS.items() if value == message.verdict]
    if not found:
        text = f"{message.verdict} is no verdict. Use VERDICT_BETTER, VERDICT_WORSE or "
        raise invalid([Violation("preference.verdict", "ENUM", f"{text}VERDICT_ALL_BAD.")])
    return Preference(
        verdict=found[0],
        create_time=now,
        answer_index=0 if found[0] is Verdict.ALL_BAD else message.answer_index,
        corrected_answer=message.corrected_answer,
        author=message.author,
    )


def shape_from_proto(value: int) -> Shape:
    """Return what the rows of an export are.

    Raises:
        InvalidArgument: If the value is none of the contract's.
    """
    found = [shape for shape, number in SHAPES.items() if number == value]
    if not found:
        text = f"{value} is no shape. Use SHAPE_PAIRS or SHAPE_DEMONSTRATIONS."
        raise invalid([Violation("shape", "ENUM", text)])
    return found[0]


def _calls_from_proto(messages: Iterable[pb.ToolCall]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(one.id, one.name, one.arguments) for one in messages)


def _calls_to_proto(calls: tuple[ToolCall, ...]) -> list[pb.ToolCall]:
    return [pb.ToolCall(id=one.id, name=one.name, arguments=one.arguments) for one in calls]


def _wait_to_proto(wait: Wait) -> pb.EngineWait:
    return pb.EngineWait(
        message=wait.message,
        progress=wait.progress,
        remaining_duration=duration(wait.remaining_s),
    )


def _end_to_proto(end: End) -> pb.GenerationEnd:
    return pb.GenerationEnd(
        model_version=end.model_version,
        finish_reason=end.finish_reason,
        prompt_token_count=end.prompt_token_count,
        answer_token_count=end.answer_token_count,
        first_token_s=end.first_token_s,
        total_s=end.total_s,
        tokens_per_s=end.tokens_per_s,
        cost_micro_usd=end.cost_micro_usd,
        tool_calls=_calls_to_proto(end.tool_calls),
        scores=[
            pb.AnswerScore(grader=one.grader, score=one.score, error=one.error)
            for one in end.scores
        ],
        exchange=end.exchange,
    )


def _end_from_proto(message: pb.GenerationEnd) -> End:
    return End(
        model_version=message.model_version,
        finish_reason=message.finish_reason,
        prompt_token_count=message.prompt_token_count,
        answer_token_count=message.answer_token_count,
        first_token_s=message.first_token_s,
        total_s=message.total_s,
        tokens_per_s=message.tokens_per_s,
        cost_micro_usd=message.cost_micro_usd if message.HasField("cost_micro_usd") else None,
        tool_calls=_calls_from_proto(message.tool_calls),
        scores=tuple(
            Score(one.grader, one.score if one.HasField("score") else None, one.error)
            for one in message.scores
        ),
        exchange=message.exchange,
    )


def _failure_to_proto(failure: Failure) -> pb.GenerationFailure:
    return pb.GenerationFailure(
        reason=failure.reason,
        message=failure.message,
        exchange=failure.exchange,
        retry_delay=duration(failure.retry_delay_s),
    )


def _failure_from_proto(message: pb.GenerationFailure) -> Failure:
    delay = message.retry_delay
    return Failure(
        message.reason,
        message.message,
        delay.ToMilliseconds() / 1000 if message.HasField("retry_delay") else None,
        message.exchange,
    )


def _preference_to_proto(preference: Preference) -> pb.Preference:
    return pb.Preference(
        verdict=VERDICTS[preference.verdict],
        answer_index=preference.answer_index,
        corrected_answer=preference.corrected_answer,
        author=preference.author,
        create_time=timestamp(preference.create_time),
    )
