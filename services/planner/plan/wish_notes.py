"""What to point out about the wishes themselves: purpose, rights, approval, reward, judge."""

from __future__ import annotations

from services.planner.plan.evidence import SUCCESS_LOW, Evidence
from services.planner.plan.notices import Note, note
from services.planner.plan.technique import RLAIF, TechniqueChoice
from services.planner.plan.verdict import RETRIEVE, Advice, VerdictRule
from services.planner.vocabulary import Signal

SIGNALS = (
    (Signal.NO_CONSENT, "consent", "data.dataset"),
    (Signal.NO_RIGHTS, "copyright", "data.dataset"),
    (Signal.PROVIDER_OUTPUTS, "provider_terms", "data.dataset"),
    (Signal.DATA_STAYS_LOCAL, "data_stays_local", ""),
    (Signal.INFRASTRUCTURE_NAMED, "infrastructure_not_needed", "compute"),
    (Signal.CLAIMED_AUTHORITY, "injection_ignored", ""),
    (Signal.SKIP_APPROVAL, "approval_needed", ""),
    (Signal.DROP_HOLDOUT, "holdout_required", "data.holdout_row_count"),
    (Signal.UNSAFE_GRADER, "unsafe_grader", "evaluation.graders"),
    (Signal.REWARD_IS_FORM, "reward_hacking", "stages.0.reward"),
    (Signal.VOLATILE_FACTS, "volatile_knowledge", "verdict"),
)
"""What was noticed, the notice that says so, and the field it is about."""
JUDGED_ITEMS_LEAST = 50
"""Answers scored by people that a judge is compared with (field research 6.2)."""


def purpose_notes(evidence: Evidence) -> list[Note]:
    """Return why there is no plan (rule V1); empty when there may be one."""
    if evidence.has(Signal.HARMFUL):
        return [note("harmful_declined", rule="V1")]
    if evidence.has(Signal.OUT_OF_SCOPE):
        return [note("out_of_scope", rule="V1")]
    if evidence.has(Signal.ASKS_CAPABILITY):
        return [note("capability_explained", rule="V1")]
    return []


def wish_notes(
    evidence: Evidence, choice: TechniqueChoice, rule: VerdictRule, advice: Advice
) -> list[Note]:
    """Return the notes on what was said.

    Args:
        evidence: The data, and all that was said.
        choice: How would be trained.
        rule: The verdict's.
        advice: The verdict.
    """
    notes = [note(code, field_path=path) for signal, code, path in SIGNALS if evidence.has(signal)]
    if advice.recommendation == RETRIEVE:
        size = evidence.megabytes
        shown = None if size is None else f"{size:,.1f}"
        notes.append(note("facts_not_behaviour", rule=rule.id, megabytes=shown))
    base, target = evidence.brief.base_success, evidence.brief.target
    if rule.id == "V6d" and base is not None:
        notes.append(
            note(
                "base_already_sufficient",
                rule="V6d",
                share=f"{base:.1%}",
                target=None if target is None else f"{target:.0%}",
                rows=f"{evidence.rows:,}" if evidence.rows else None,
            )
        )
    if evidence.has_check and base is not None and base < SUCCESS_LOW:
        notes.append(note("sft_before_rl", field_path="stages", rule="T5", share=f"{base:.0%}"))
    if RLAIF in choice.techniques and not evidence.has(Signal.JUDGE_CALIBRATED):
        path = "stages.0.reward"
        notes.append(note("judge_calibration", field_path=path, least=JUDGED_ITEMS_LEAST))
    return notes
