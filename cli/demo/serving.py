"""Steps 6 and 7 of the demo: parity, comparison, deployment, and a call by `openai`."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from attune.serving.v1 import deployment_pb2, model_pb2, playground_pb2
from openai.types.chat import ChatCompletionMessageParam

from cli.chat import openai_client, stream_answer
from cli.client import Client
from cli.demo.comparison import Comparison, compare_chat, show_comparisons
from cli.demo.steps import Steps
from cli.deploy import deploy_version
from cli.launcher.health import healthy
from cli.launcher.launch import Launch
from cli.launcher.status import ENGINE, engine_health_url
from cli.resource_names import PROJECT
from cli.version_names import short_version
from cli.views.figures import number, span, words
from services.common.errors import FailedPrecondition, Unavailable
from services.common.peers import call

VERSION_TIMEOUT_S = 300.0
POLL_S = 0.5
TOLD_EVERY_S = 15.0
PROMPTS = 3

Chat = list[dict[str, str]]


def unseen_chats(holdout: Path) -> list[Chat]:
    """Return the chats of the first hold-out rows, without their answers."""
    chats: list[Chat] = []
    with holdout.open(encoding="utf-8") as lines:
        for line in lines:
            chats.append(json.loads(line)["messages"][:-1])
            if len(chats) == PROMPTS:
                break
    return chats


def example_chats(version: model_pb2.ModelVersion) -> list[Chat]:
    """Return the first unseen prompts that the evaluation's report shows."""
    examples = version.report.examples[:PROMPTS]
    return [[{"role": "user", "content": example.prompt}] for example in examples]


async def prove(client: Client, steps: Steps, job: str, launch: Launch) -> model_pb2.ModelVersion:
    """Wait until serving has proved that the engine reproduces the trainer.

    Raises:
        FailedPrecondition: If it does not.
        Unavailable: If this is not known within five minutes.
    """
    with steps.step("prove parity", "Loading the adapter into vLLM and proving parity") as step:
        version = await _judged(client, steps, job, launch)
        parity = version.parity
        step.result = (
            f"{short_version(version.name)}: {number(parity.prompt_count)} prompts equal, "
            f"log-probabilities within {parity.max_logprob_difference:.1e}"
        )
        steps.screen.say(f"  {step.result}")
    return version


async def compare(
    client: Client, steps: Steps, version: model_pb2.ModelVersion, chats: list[Chat]
) -> list[Comparison]:
    """Answer unseen prompts with base and tuned, and show them side by side."""
    with steps.step("compare", "Unseen prompts, base and tuned side by side") as step:
        comparisons = [
            await compare_chat(
                client,
                version,
                [
                    playground_pb2.ChatMessage(role=message["role"], content=message["content"])
                    for message in chat
                ],
            )
            for chat in chats
        ]
        show_comparisons(steps.screen, comparisons)
        step.result = f"{len(comparisons)} unseen prompts"
    return comparisons


async def deploy(
    client: Client, steps: Steps, version: model_pb2.ModelVersion, alias: str
) -> deployment_pb2.Deployment:
    """Deploy a version under an alias, new or existing."""
    with steps.step("deploy", f"Deploying under the alias {alias}") as step:
        deployed = await deploy_version(client, version.name, alias)
        step.result = f"{alias} at {deployed.endpoint}"
        steps.screen.say(f"  {step.result}")
    return deployed


def call_deployed(steps: Steps, base_url: str, alias: str, chat: Chat) -> None:
    """Call the deployed model with OpenAI's client, streaming."""
    messages: list[ChatCompletionMessageParam] = list(chat)  # type: ignore[arg-type]
    with steps.step("call by openai", f"Calling {alias} with the openai client") as step:
        steps.screen.say(f"  {chat[-1]['content']}")
        steps.screen.write("  ")
        count = 0
        for piece in stream_answer(openai_client(base_url), alias, messages):
            steps.screen.write(piece)
            count += 1
        steps.screen.write("\n")
        step.result = f"streamed in {count} pieces"


async def _judged(client: Client, steps: Steps, job: str, launch: Launch) -> model_pb2.ModelVersion:
    request = model_pb2.ListModelVersionsRequest(parent=f"{PROJECT}/models/-", job=job)
    version = model_pb2.ModelVersion()
    began, told = time.monotonic(), 0.0
    while (waited_s := time.monotonic() - began) < VERSION_TIMEOUT_S:
        found = (await call(client.versions.ListModelVersions, request)).model_versions
        version = found[0] if found else version
        if version.state == model_pb2.ModelVersion.STATE_READY:
            return version
        if version.state == model_pb2.ModelVersion.STATE_REJECTED:
            raise FailedPrecondition(
                f"{short_version(version.name)} was rejected: {version.state_reason}",
                reason="REJECTED",
                version=version.name,
            )
        if waited_s - told >= TOLD_EVERY_S or not told:
            told = max(waited_s, POLL_S)
            steps.screen.say(f"  {await _waiting_for(version, launch)} ({span(waited_s)})")
        await asyncio.sleep(POLL_S)
    raise Unavailable(
        f"Serving did not judge the adapter of {job} within {VERSION_TIMEOUT_S / 60:.0f} minutes. "
        f"{version.state_reason or '`attune status` shows whether vLLM is ready.'}",
        reason="NO_VERSION",
        job=job,
    )


async def _waiting_for(version: model_pb2.ModelVersion, launch: Launch) -> str:
    ready = (await healthy({ENGINE: engine_health_url(launch)}))[ENGINE]
    if not version.name:
        return "waiting for serving to hear of the adapter" if ready else "vLLM is still warming"
    if not ready:
        return f"vLLM is not ready: {version.state_reason}"
    return f"{short_version(version.name)} is " + words(
        model_pb2.ModelVersion.State.Name(version.state), "STATE_"
    )
