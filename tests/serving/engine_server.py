"""Speaks vLLM's routes without a model, answers per adapter, and fails on request.

Run as a process of its own: `python engine_server.py PORT BASE_MODEL FOLDER`. A base's folder may,
and an adapter's does, say in parity.jsonl what to answer. An adapter's may hold `fault.json` with
`logprob_shift` (nats), `refuse` (a text) or `die` (true: the process ends at the first answer).
Given more adapters than it has places, it puts the new one in the place of the one used least
recently, whose name then answers with the wrong weights, as a real engine was seen to do.
`/test` shows and sets behaviour.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web

STATE = web.AppKey("state", dict)
CONTEXT_CHARACTERS = 2000


def error(status, message, kind="BadRequestError", param=None):
    body = {"error": {"message": message, "type": kind, "param": param, "code": status}}
    return web.json_response(body, status=status)


async def health(request):
    state = request.app[STATE]
    if state["mode"] == "hang":
        await asyncio.sleep(3600)
    return web.Response(status=503 if state["mode"] == "unhealthy" else 200)


async def list_models(request):
    names = [request.app[STATE]["base"], *request.app[STATE]["loaded"]]
    return web.json_response({"object": "list", "data": [{"id": name} for name in names]})


async def load(request):
    body, state = await request.json(), request.app[STATE]
    name, folder = body["lora_name"], Path(body["lora_path"])
    if name in state["loaded"]:
        return error(400, f"The lora adapter '{name}' has already been loaded.")
    fault = (
        json.loads((folder / "fault.json").read_text()) if (folder / "fault.json").exists() else {}
    )
    if fault.get("refuse"):
        return error(500, fault["refuse"], "InternalServerError")
    lines = [json.loads(row) for row in (folder / "parity.jsonl").read_text().splitlines()]
    held = {"fault": fault, "lines": lines, "name": name}
    if len(state["loaded"]) >= state["places"]:
        victim = min(state["loaded"], key=lambda one: state["last_use"].get(one, 0))
        state["loaded"][victim] = held
        state["evicted"] += 1
    state["loaded"][name] = held
    use(state, name)
    state["loads"].append(name)
    state["most"] = max(state["most"], len(state["loaded"]))
    return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")


def use(state, name):
    state["uses"] += 1
    state["last_use"][name] = state["uses"]


async def unload(request):
    name, state = (await request.json())["lora_name"], request.app[STATE]
    if state["loaded"].pop(name, None) is None:
        return error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
    if state["active"].get(name):
        state["evicted_in_use"] += 1
    return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")


def answer_of(held, model, body):
    """Return text, prompt ids, answer ids and log-probabilities."""
    messages = body.get("messages") or [{"role": "user", "content": body.get("prompt", "")}]
    shift = held["fault"].get("logprob_shift", 0.0)
    for line in held["lines"]:
        if line["messages"] == messages:
            logprobs = [value + shift for value in line["logprobs"]]
            return line["answer"], line["prompt_token_ids"], line["answer_token_ids"], logprobs
    text = f"{held.get('name', model)[:8]} heard {messages[-1]['content']}"
    words = text.split(" ")
    return text, [1, 2, 3], list(range(len(words))), [-0.5] * len(words)


async def complete(request):
    body, state = await request.json(), request.app[STATE]
    model, mode = body["model"], state["mode"]
    held = state["whole"] if model == state["base"] else state["loaded"].get(model)
    if held is None:
        return error(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
    if mode == "no_tokens":
        await asyncio.sleep(3600)
    if held["fault"].get("die"):
        os._exit(0)  # vLLM, too, ends with 0 when its core dies.
    if "messages" not in body and "prompt" not in body:
        return error(400, "1 validation error: messages: Field required", param="messages")
    text, prompt_ids, answer_ids, logprobs = answer_of(held, model, body)
    if sum(len(item["content"]) for item in body.get("messages", [])) > CONTEXT_CHARACTERS:
        return error(
            400, "This model's maximum context length is 512 tokens.", param="input_tokens"
        )
    state["requests"].append(body)
    use(state, model)
    usage = {"prompt_tokens": len(prompt_ids), "completion_tokens": len(answer_ids)}
    state["active"][model] = state["active"].get(model, 0) + 1
    try:
        if body.get("stream"):
            return await stream(request, body, text, usage)
        if mode == "endless":
            await asyncio.sleep(3600)
    except asyncio.CancelledError:
        state["aborted"] += 1
        raise
    finally:
        state["active"][model] -= 1
    called = [
        {"id": "call-1", "type": "function", "function": {**one["function"], "arguments": "{}"}}
        for one in body.get("tools") or []
    ]
    choice = {
        "text": text,
        "message": {"role": "assistant", "content": text, "tool_calls": called},
        "logprobs": {"content": [{"token": "", "logprob": value} for value in logprobs]},
        "finish_reason": "stop",
        "token_ids": answer_ids,
    }
    usage["completion_tokens"] *= body.get("n") or 1
    answer = {
        "id": "cmpl-1",
        "object": "chat.completion" if "messages" in body else "text_completion",
        "created": 1,
        "model": model,
        "choices": [{"index": index, **choice} for index in range(body.get("n") or 1)],
        "usage": usage,
        "prompt_token_ids": prompt_ids,
    }
    return web.json_response(answer)


async def stream(request, body, text, usage):
    state = request.app[STATE]
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)

    async def send(chunk):
        head = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1}
        data = json.dumps({**head, "model": body["model"], **chunk})
        await response.write(f"data: {data}\n\n".encode())

    options, count = body.get("stream_options") or {}, 0
    if body.get("tools"):
        return await call_tools(body["tools"], send, response)
    words = [f" {word}" if index else word for index, word in enumerate(text.split(" "))]
    ending = "length" if len(words) > body.get("max_tokens", len(words)) else "stop"
    words = words[: body.get("max_tokens", len(words))]
    while state["mode"] == "endless" or words:
        word = words.pop(0) if words else " more"
        count += 1
        seen = {"usage": {**usage, "completion_tokens": count}}
        for index in range(body.get("n") or 1):
            choice = {"index": index, "text": word, "delta": {"content": word}}
            more = seen if options.get("continuous_usage_stats") else {}
            await send({"choices": [{**choice, "finish_reason": None}], **more})
        if state["mode"] == "die_in_stream":
            await asyncio.sleep(0.05)  # Lets the first piece leave the process.
            os._exit(0)
        if state["mode"] == "endless":
            await asyncio.sleep(0.02)
    await send({"choices": [{"index": 0, "text": "", "delta": {}, "finish_reason": ending}]})
    if options.get("include_usage"):
        total = count * (body.get("n") or 1)
        await send({"choices": [], "usage": {**usage, "completion_tokens": total}})
    await response.write(b"data: [DONE]\n\n")
    return response


async def call_tools(tools, send, response):
    """Call every tool, its arguments in two pieces, as vLLM's parsers stream them."""
    for index, tool in enumerate(tools):
        opened = {"name": tool["function"]["name"], "arguments": '{"city": '}
        for call in (
            {"index": index, "id": f"call-{index}", "type": "function", "function": opened},
            {"index": index, "function": {"arguments": '"Bonn"}'}},
        ):
            choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
            await send({"choices": [choice]})
    await send({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    await send({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 6}})
    await response.write(b"data: [DONE]\n\n")
    return response


async def show(request):
    state = request.app[STATE]
    shown = ("loads", "most", "aborted", "requests", "evicted", "evicted_in_use", "mode")
    return web.json_response(
        {key: state[key] for key in shown}
        | {"loaded": list(state["loaded"]), "busy": sum(state["active"].values())}
    )


async def behave(request):
    request.app[STATE].update(await request.json())
    return web.Response()


def main(port, base, folder):
    app = web.Application()
    parity = Path(folder) / "parity.jsonl"
    rows = parity.read_text().splitlines() if parity.exists() else []
    app[STATE] = {
        "base": base,
        "whole": {"fault": {}, "lines": [json.loads(row) for row in rows]},
        "mode": "",
        "loaded": {},
        "loads": [],
        "most": 0,
        "active": {},
        "requests": [],
        "aborted": 0,
        "evicted": 0,
        "evicted_in_use": 0,
        "places": 16,
        "uses": 0,
        "last_use": {},
    }
    app.router.add_get("/health", health)
    app.router.add_get("/v1/models", list_models)
    app.router.add_post("/v1/load_lora_adapter", load)
    app.router.add_post("/v1/unload_lora_adapter", unload)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/v1/completions", complete)
    app.router.add_get("/test", show)
    app.router.add_post("/test", behave)
    web.run_app(app, host="127.0.0.1", port=port, print=None, handler_cancellation=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
