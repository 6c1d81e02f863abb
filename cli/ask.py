"""The command `ask`: one turn of a conversation with the planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
from attune.planner.v1 import planner_pb2

from cli.client import Client, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.changes import show_changes, show_notices
from cli.views.screen import Screen, print_json
from services.common.errors import Unavailable
from services.common.peers import call, stream

TURN_TIMEOUT_S = 120.0


@click.command(epilog='Example:  attune ask "Route our support tickets" --dataset datasets/a01h8c')
@click.argument("message")
@click.option("--conversation", help="Go on with this conversation; a new one begins without it.")
@click.option("--dataset", "datasets", multiple=True, help="Examples that go with it; up to 4.")
@json_option
def ask(message: str, conversation: str | None, datasets: tuple[str, ...], as_json: bool) -> None:
    """Say one thing to the planner.

    It asks back or proposes a plan.
    """
    screen = Screen(as_json)
    name = whole_name("conversations", conversation) if conversation else ""
    wanted = [whole_name("datasets", one) for one in datasets]

    async def work(client: Client) -> planner_pb2.Conversation:
        where = name or await begin(client)
        await say(client, where, message, wanted, screen.write)
        screen.say()
        request = planner_pb2.GetConversationRequest(name=where)
        talked: planner_pb2.Conversation = await call(client.planner.GetConversation, request)
        return talked

    talked = with_client(work)
    if as_json:
        print_json(talked)
        return
    turn = talked.turns[-1]
    _show_unsaid(screen, turn)
    if turn.HasField("question"):
        show_question(screen, turn.question)
    again = f'attune ask "..." --conversation {short(talked.name)}'
    if talked.spec:
        spec = short(talked.spec)
        screen.next_steps(f"attune spec show {spec}", f"attune spec approve {spec}", again)
    else:
        screen.next_steps(again)


def _show_unsaid(screen: Screen, turn: planner_pb2.Turn) -> None:
    """Write notices and changes that the reply has not told already."""
    show_notices(screen, [each for each in turn.notices if each.message not in turn.reply])
    changes = [each for each in turn.changes if each.field_path not in turn.reply]
    if changes:
        screen.heading(f"Revision {turn.spec_revision} changes")
        show_changes(screen, changes)


async def begin(client: Client) -> str:
    """Start a conversation and return its name."""
    request = planner_pb2.CreateConversationRequest(parent=PROJECT, request_id=new_request_id())
    made = await call(client.planner.CreateConversation, request)
    return str(made.name)


async def say(
    client: Client,
    conversation: str,
    message: str,
    datasets: Sequence[str],
    hear: Callable[[str], None],
) -> planner_pb2.Turn:
    """Say one thing and return the whole turn.

    Args:
        client: Of the planner.
        conversation: Its name.
        message: What the person says.
        datasets: Names of the datasets that go with it.
        hear: Gets the reply piece by piece.
    """
    request = planner_pb2.SendMessageRequest(
        conversation=conversation,
        message=message,
        datasets=datasets,
        request_id=new_request_id(),
    )
    turn: planner_pb2.Turn | None = None
    async for piece in stream(client.planner.SendMessage, request, timeout_s=TURN_TIMEOUT_S):
        if piece.WhichOneof("piece") == "turn":
            turn = piece.turn
        else:
            hear(piece.reply_delta)
    if turn is None:
        raise Unavailable("The planner broke off. Say it again.", reason="NO_TURN")
    return turn


def show_question(screen: Screen, question: planner_pb2.Question) -> None:
    """Write what may be answered; the reply itself has said what is asked, and why."""
    if question.options:
        screen.say(f"  For example: {' · '.join(question.options)}")
