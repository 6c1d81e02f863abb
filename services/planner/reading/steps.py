"""Settings that are to go up or down without a number: halved, doubled, lowered, raised."""

from __future__ import annotations

import re

from services.planner.reading.message import Message
from services.planner.reading.switches import HYPERPARAMETERS

DOWN, UP = 0.5, 2.0
"""Factors of a step: learning rates, batches and ranks are tuned by powers of two."""
NAMES = {
    "learning_rate": r"learning[ -]?rates?|lr|step size",
    "epoch_count": r"epochs?|passes",
    "effective_batch_size": r"batch(?:[ -]?size)?",
    "lora.rank": r"(?:lora )?rank",
    "lora.alpha": r"alpha",
    "lora.dropout": r"dropout",
    "weight_decay": r"weight[ -]?decay",
    "dpo.beta": r"beta",
    "rl.group_size": r"group[ -]?size",
    "rl.kl_coefficient": r"kl(?:[ -]?(?:coefficient|penalty|weight))?",
}
LOWER = (
    r"halv(?:e|ing)|half|lower(?:ing)?|reduc(?:e|ing)|decreas(?:e|ing)|smaller|fewer|less|"
    r"cut(?:ting)?(?: down)?|turn down|bring down"
)
RAISE = (
    r"doubl(?:e|ing)|twice|rais(?:e|ing)|increas(?:e|ing)|higher|larger|bigger|more|turn up|"
    r"bump(?: up)?"
)
GAP = r"(?: (?:the|your|our|my|a|of|on|up|down|training|number of))*\s"
TOO = r"(?: (?:is|are|was|looks?|seems?))?(?: (?:much|a bit|far|way))? too "
BECOME = r" (?:should|must|can|could|to) (?:be|go|come) (?:much |a bit )?"


def read_steps(message: Message, decided: set[str]) -> dict[str, float]:
    """Return factors on present values by field path.

    Args:
        message: Without sentences that only ask.
        decided: Paths that the message gives a number for.
    """
    found: dict[str, float] = {}
    for name, words in NAMES.items():
        path = HYPERPARAMETERS + name
        if path in decided:
            continue
        down = (
            rf"\b(?:{LOWER}){GAP}(?:{words})\b|\b(?:{words}){TOO}(?:high|large|big|many|much)\b|"
            rf"\b(?:{words}){BECOME}(?:lower|smaller|less|halved|reduced)\b"
        )
        up = (
            rf"\b(?:{RAISE}){GAP}(?:{words})\b|\b(?:{words}){TOO}(?:low|small|few|little)\b|"
            rf"\b(?:{words}){BECOME}(?:higher|larger|bigger|more|doubled|increased|raised)\b"
        )
        if re.search(down, message.folded):
            found[path] = DOWN
        elif re.search(up, message.folded):
            found[path] = UP
    return found
