"""Settings that are said without a number: switched off, named, or listed."""

from __future__ import annotations

import re

from services.planner.brief import Value

STAGE = "stages.0."
HYPERPARAMETERS = STAGE + "hyperparameters."
OFF = (
    r"\b(?:no|without(?: any| a| the)?|zero|drop the|switch off(?: the)?|disable(?: the)?|turn off"
    r"(?: the)?|remove the|skip the|leave out the) (?:{0})\b(?! change|\w)"
    r"|\b(?:{0})(?: (?:is|stays|should be|must be|goes|to be|at|set to))? (?:(?:switched |"
    r"turned )?off|zero|disabled|none|"
    r"nil)\b"
)
SWITCHED_OFF = tuple(
    (path, re.compile(OFF.replace("{0}", words)))
    for path, words in (
        ("rl.kl_coefficient", r"kl(?:[ -](?:term|penalty|divergence|coefficient|leash|loss))?"),
        ("lora.dropout", r"(?:lora )?dropout"),
        ("weight_decay", r"weight[ -]decay"),
        ("warmup_ratio", r"warm-?up"),
        ("dpo.label_smoothing", r"label[ -]smoothing"),
    )
)
"""Settings that are 0 when they are said to be off."""
MODULES = re.compile(r"\b(?:[qkvo]|gate|up|down|qkv|out|in)_proj\b|\bfc[12]\b")
ALL_LINEAR = re.compile(r"\ball[ -]linear(?: layers| modules)?\b")
PACKING = re.compile(
    r"\b(?P<no>no |without |disable |switch off )?(?:sequence )?packing\b(?! list| slip| station|"
    r" line)"
)
RANK_STABILIZED = re.compile(r"\brs-?lora\b|\brank[ -]stabili[sz]ed(?: lora| scaling)?\b")
ANSWERS_ONLY = re.compile(
    r"\b(?:(?:loss|train)\w* (?:on|over) (?:the )?(?:assistant|completions?|answers?|"
    r"responses?)(?: turns?| tokens?)? only|"
    r"completion[ _-]only(?: loss)?|assistant[ _-]only(?: loss)?|"
    r"mask(?:ing)? (?:out )?(?:the )?prompts?)\b"
)


def read_switches(
    folded: str, found: dict[str, Value], taken: list[tuple[int, int]], *, is_expert: bool
) -> None:
    """Read what is said without a number.

    Args:
        folded: A sentence.
        found: Values by path; what is read is added.
        taken: Where settings stand in the sentence; what is read is added.
        is_expert: Whether the sentence holds other words of the trade.
    """
    for path, pattern in SWITCHED_OFF:
        if HYPERPARAMETERS + path not in found and (match := pattern.search(folded)):
            found[HYPERPARAMETERS + path] = 0.0
            taken.append(match.span())
    modules = list(MODULES.finditer(folded))
    if modules:
        found[HYPERPARAMETERS + "lora.target_modules"] = ",".join(
            dict.fromkeys(match[0] for match in modules)
        )
        taken += [match.span() for match in modules]
    elif every := ALL_LINEAR.search(folded):
        found[HYPERPARAMETERS + "lora.target_modules"] = "all-linear"
        taken.append(every.span())
    if (packing := PACKING.search(folded)) and is_expert:
        found[HYPERPARAMETERS + "packing"] = packing["no"] is None
        taken.append(packing.span())
    if stabilized := RANK_STABILIZED.search(folded):
        found[HYPERPARAMETERS + "lora.rank_stabilized"] = True
        taken.append(stabilized.span())
    if only := ANSWERS_ONLY.search(folded):
        found[HYPERPARAMETERS + "assistant_only_loss"] = True
        taken.append(only.span())
