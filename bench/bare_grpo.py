"""Reinforcement with TRL alone: python -m bench.bare_grpo SETTINGS.json.

The reward is the share of words in common with the reference; computed here, or asked of a judge
where the settings name one.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
from trl import GRPOConfig, GRPOTrainer

from bench import bare_script
from bench.judge import shared_words


def shared(completions, reference, **_):
    """Return the share of words that each answer has in common with its reference."""
    pairs = zip(completions, reference, strict=True)
    return [shared_words(completion[0]["content"], wanted) for completion, wanted in pairs]


def judged_by(judge):
    """Return a reward that asks a judge, several answers at a time and equal ones once."""
    client = openai.OpenAI(base_url=judge["url"], api_key="none")
    workers = ThreadPoolExecutor(judge["workers"])
    known = {}

    def ask(pair):
        reply = client.chat.completions.create(
            model=judge["model"],
            messages=[
                {"role": "system", "content": judge["criteria"]},
                {"role": "user", "content": pair[0]},
                {"role": "user", "content": pair[1]},
            ],
            temperature=0.0,
        )
        return json.loads(reply.choices[0].message.content)["score"]

    def judged(completions, reference, **_):
        answers = [completion[0]["content"] for completion in completions]
        pairs = list(zip(reference, answers, strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in known]
        known.update(zip(new, workers.map(ask, new), strict=True))
        return [known[pair] for pair in pairs]

    return judged


if __name__ == "__main__":
    found = bare_script.read_settings()
    judge = found.get("judge")
    reward = judged_by(judge) if judge else shared
    bare_script.train(GRPOTrainer, GRPOConfig, found, reward_funcs=reward)
