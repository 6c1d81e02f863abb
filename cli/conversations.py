"""The commands `conversation list` and `conversation show`."""

from __future__ import annotations

import click
from attune.planner.v1 import planner_pb2

from cli.client import Client, all_pages, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.figures import moment
from cli.views.listing import show_list
from cli.views.screen import Screen, print_json
from services.common.peers import call


@click.group(epilog="Example:  attune conversation list")
def conversation() -> None:
    """Find a talk with the planner and go on with it."""


@conversation.command("list", epilog="Example:  attune conversation list --json")
@json_option
def list_conversations(as_json: bool) -> None:
    """List all conversations, newest first."""
    request = planner_pb2.ListConversationsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.planner.ListConversations, request))
    rows = (
        (short(one.name), short(one.spec) or "-", moment(one.create_time), moment(one.update_time))
        for one in found.conversations
    )
    headers = ("name", "plan", "began", "last turn")
    then = ("attune conversation show NAME", 'attune ask "..." --conversation NAME')
    show_list(found, as_json, headers, rows, then, 'attune ask "What I want"')


@conversation.command(epilog="Example:  attune conversation show conversations/a01h8c")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show every turn of a conversation."""
    request = planner_pb2.GetConversationRequest(name=whole_name("conversations", name))

    async def work(client: Client) -> planner_pb2.Conversation:
        found: planner_pb2.Conversation = await call(client.planner.GetConversation, request)
        return found

    talked = with_client(work)
    if as_json:
        print_json(talked)
        return
    screen = Screen()
    for turn in talked.turns:
        screen.say(f"You:    {turn.message}")
        screen.say(f"Attune: {turn.reply}")
        if turn.spec:
            screen.say(f"        {short(turn.spec)} revision {turn.spec_revision}")
    again = f'attune ask "..." --conversation {short(talked.name)}'
    screen.next_steps(*([f"attune spec show {short(talked.spec)}"] if talked.spec else []), again)
