"""Step 8 of the demo: what happened, for people and as JSON, and whether it counts as passed."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from attune.scheduler.v1 import scheduler_pb2
from attune.serving.v1 import deployment_pb2, model_pb2
from attune.spec.v1 import evaluation_pb2
from attune.trainer.v1 import trainer_pb2

from cli.chat import NO_KEY
from cli.demo.comparison import Comparison
from cli.demo.serving import Chat
from cli.demo.steps import Steps
from cli.endpoints import Endpoints
from cli.resource_names import short
from cli.version_names import short_version
from cli.views.report import verdict_of

TUNED_SCORE_MIN = 0.60


@dataclass(frozen=True)
class Outcome:
    """Everything that a journey came to."""

    job: scheduler_pb2.Job
    run: trainer_pb2.Run
    version: model_pb2.ModelVersion
    deployment: deployment_pb2.Deployment
    comparisons: list[Comparison]
    endpoints: Endpoints


def failed_conditions(report: evaluation_pb2.EvaluationReport) -> list[str]:
    """Return in words which of the demo's conditions do not hold; none when it passed."""
    tuned = report.tuned_score
    conditions = [
        (
            report.verdict == evaluation_pb2.EvaluationReport.VERDICT_BETTER,
            f"the verdict is {verdict_of(report)}, not better",
        ),
        (
            tuned > report.few_shot_score,
            f"tuned ({tuned:.3f}) does not beat the few-shot prompt ({report.few_shot_score:.3f})",
        ),
        (
            tuned > report.majority_score,
            f"tuned ({tuned:.3f}) does not beat the most frequent answer "
            f"({report.majority_score:.3f})",
        ),
        (
            tuned >= TUNED_SCORE_MIN,
            f"tuned ({tuned:.3f}) is below {TUNED_SCORE_MIN:.2f} of the hold-out exactly right",
        ),
    ]
    return [text for holds, text in conditions if not holds]


def outcome_json(outcome: Outcome, steps: Steps) -> str:
    """Return the outcome as JSON text."""
    report = outcome.job.result.report
    body: dict[str, Any] = {
        "base_score": report.base_score,
        "few_shot_score": report.few_shot_score,
        "majority_score": report.majority_score,
        "tuned_score": report.tuned_score,
        "difference": report.difference,
        "interval": [report.interval_low, report.interval_high],
        "verdict": verdict_of(report),
        "holdout_rows": report.holdout_row_count,
        "spec_hash": outcome.job.spec_hash,
        "job": outcome.job.name,
        "model_version": outcome.version.name,
        "mlflow_run": outcome.run.mlflow_run,
        "deployment": outcome.deployment.name,
        "steps": [{"name": step.name, "seconds": round(step.seconds, 3)} for step in steps.done],
        "endpoints": asdict(outcome.endpoints),
        "comparisons": [asdict(comparison) for comparison in outcome.comparisons],
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def show_outcome(outcome: Outcome, steps: Steps, chat: Chat) -> None:
    """Write the table of steps, the links, the snippet and what to try next.

    Args:
        outcome: What the journey came to.
        steps: How long it took.
        chat: One that the deployed model was made for.
    """
    screen = steps.screen
    steps.show()
    screen.heading("In MLflow")
    screen.say(f"  {outcome.run.mlflow_uri or 'not recorded: MLflow was away'}")
    alias = outcome.deployment.name.rsplit("/", 1)[1]
    screen.heading("In your application")
    for line in snippet(outcome.deployment.endpoint, alias, chat):
        screen.say(f"  {line}")
    screen.next_steps(
        f"attune chat {alias} {_arguments(chat)}",
        f"attune compare {short_version(outcome.version.name)} {_arguments(chat)}",
        f"attune spec show {short(outcome.job.spec)}",
    )
    screen.say()
    screen.say("Everything stays up; `attune down` stops it.")


def snippet(endpoint: str, alias: str, chat: Chat) -> list[str]:
    """Return the lines that call the deployed model from Python."""
    messages = [f"        {json.dumps(message, ensure_ascii=False)}," for message in chat]
    return [
        "from openai import OpenAI",
        "",
        f'client = OpenAI(base_url="{endpoint}", api_key="{NO_KEY}")',
        "answer = client.chat.completions.create(",
        f'    model="{alias}",',
        "    messages=[",
        *messages,
        "    ],",
        ")",
        "print(answer.choices[0].message.content)",
    ]


def _arguments(chat: Chat) -> str:
    """Return a chat as the commands take it, quoted for a shell."""
    system = [message["content"] for message in chat if message["role"] == "system"]
    words = [chat[-1]["content"], *(["--system", system[0]] if system else [])]
    return " ".join(shlex.quote(" ".join(word.split())) for word in words)
