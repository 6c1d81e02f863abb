"""What a plan or a reply may have to point out: every code once, with severity and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attune.spec.v1 import spec_pb2

INFO = spec_pb2.Notice.SEVERITY_INFO
WARNING = spec_pb2.Notice.SEVERITY_WARNING
BLOCKING = spec_pb2.Notice.SEVERITY_BLOCKING
SEVERITY_WORDS = {INFO: "info", WARNING: "warning", BLOCKING: "blocking"}


@dataclass(frozen=True)
class Note:
    """A notice that is not worded yet."""

    code: str
    """A key of NOTICES."""
    severity: spec_pb2.Notice.Severity.ValueType
    """How much it matters here."""
    field_path: str = ""
    """The field of the plan it is about; empty for the whole."""
    rule: str = ""
    """The rule it follows from, such as `V4`, `T3`, `U2` or `D8`."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Figures and words for its sentence, such as `rows: 8`; a key may be missing."""


@dataclass(frozen=True)
class Kind:
    """What a code means."""

    severity: spec_pb2.Notice.Severity.ValueType
    """Unless the case says otherwise."""
    meaning: str
    """What the reader is told."""
    when: str
    """The condition, in words."""
    values: tuple[str, ...] = ()
    """Keys of `Note.values`."""


NOTICES: dict[str, Kind] = {
    "volatile_knowledge": Kind(
        WARNING,
        "The facts that answers need change faster than a model is trained again.",
        "Rule V2, and a pace of change is stated or implied.",
    ),
    "facts_not_behaviour": Kind(
        WARNING,
        "Training teaches behaviour; it gives no dependable facts and no sources.",
        "Rules V2 and V3.",
        ("megabytes",),
    ),
    "data_too_small": Kind(
        WARNING,
        "There are too few examples to show anything.",
        "Fewer than 50 usable rows are attached or said to exist (field research 6.2).",
        ("rows", "least"),
    ),
    "holdout_too_small": Kind(
        WARNING,
        "The held-out rows cannot tell a better model from a worse one.",
        "Training is possible and there are fewer than 200 usable rows: a pass rate over 50 rows "
        "reads with plus or minus 14 points.",
        ("rows", "holdout", "points"),
    ),
    "holdout_required": Kind(
        WARNING,
        "Some rows stay held out all the same: without them nothing shows what was gained.",
        "The person wants no hold-out.",
    ),
    "duplicates": Kind(
        WARNING,
        "Rows repeat an earlier one; the repeats are left out.",
        "At least a tenth of the rows.",
        ("rows", "share"),
    ),
    "imbalance": Kind(
        WARNING,
        "One label dominates, so that a share of right answers misleads.",
        "The most frequent label has at least 80 % of the rows.",
        ("label", "share"),
    ),
    "mixed_format": Kind(
        WARNING,
        "The file holds rows of two shapes, which are brought into one.",
        "The report calls the format mixed.",
    ),
    "data_invalid": Kind(
        BLOCKING,
        "The file cannot be used as it is; what a right row looks like.",
        "The report holds errors.",
        ("rows", "bad_rows", "code"),
    ),
    "data_mismatch": Kind(
        WARNING,
        "The file is not what was said of it; the file counts.",
        "Rule C1: shape, number or language of the rows differ from the words.",
        ("said", "found"),
    ),
    "label_noise": Kind(
        WARNING,
        "Labels or references are wrong or contradict each other, which bounds the score.",
        "A stated share of at least 5 %, agreement near chance, or as much in the report.",
        ("share",),
    ),
    "thumbs_unpaired": Kind(
        WARNING,
        "Ratings of single answers are no pairs.",
        "Rule T3, and no prompt has both a liked and a disliked answer.",
    ),
    "length_bias": Kind(
        WARNING,
        "The preferred answers are longer, so that length itself would be learnt.",
        "Preferred answers are at least twice as long on average and nobody wished for length.",
        ("chosen", "rejected", "ratio"),
    ),
    "suspicious_rows": Kind(
        WARNING,
        "Some rows look planted and stay out.",
        "The report found text in rows that speaks to the model or to its makers.",
        ("rows",),
    ),
    "truncation_risk": Kind(
        WARNING,
        "The length limit cuts answers away.",
        "The mean row is longer than the limit that the person set.",
        ("limit", "mean", "longest", "share"),
    ),
    "pii": Kind(
        WARNING,
        "The rows hold personal data, and what happens to them.",
        "Identifiers or health remarks are named or found, and not said to be removed.",
        ("rows",),
    ),
    "consent": Kind(
        WARNING,
        "The persons concerned have not agreed.",
        "Private messages of people who do not know.",
    ),
    "copyright": Kind(
        WARNING,
        "The rights to the rows are missing.",
        "The person says so.",
    ),
    "provider_terms": Kind(
        WARNING,
        "The terms of the model that wrote the answers may forbid training on them.",
        "The answers come from a commercial service.",
    ),
    "data_stays_local": Kind(
        INFO,
        "Data, training and judge stay in the person's network.",
        "The person asks for it.",
    ),
    "conflict_named": Kind(
        WARNING,
        "Two wishes exclude each other, and which.",
        "The words say so, or a technique was named that the data do not allow (rule T8).",
        ("conflict",),
    ),
    "infrastructure_not_needed": Kind(
        INFO,
        "Hardware is worked out from the plan; nothing of it has to be said.",
        "An accelerator, an instance or a sharding scheme is named for training.",
    ),
    "injection_ignored": Kind(
        WARNING,
        "An instruction inside the data, or a claim of authority, was not followed.",
        "The report found such text, or a message tries to change the rules.",
    ),
    "approval_needed": Kind(
        INFO,
        "Nothing runs before the person approves exactly this plan.",
        "The person asks to skip it.",
    ),
    "unsafe_grader": Kind(
        WARNING,
        "The grader's code is refused, and why.",
        "It would reach the network, files or a shell.",
    ),
    "user_value_warned": Kind(
        WARNING,
        "A value is kept as the person set it, and is far from what is known to work.",
        "Rule U2: about ten times the recipe's value, or a safeguard switched off.",
        ("field", "value", "recommended"),
    ),
    "user_value_rejected": Kind(
        WARNING,
        "A value cannot work and was not taken, and why; the others stay.",
        "Rule U4.",
        ("field", "value", "why"),
    ),
    "rank_alpha_scale": Kind(
        WARNING,
        "Alpha divided by rank, and with it the size of a step, has changed.",
        "Rank or alpha changes alone.",
        ("rank", "alpha", "alpha_same", "before", "after"),
    ),
    "reason_given": Kind(
        INFO,
        "Why a value is what it is, with its source.",
        "The person asks.",
    ),
    "sft_before_rl": Kind(
        WARNING,
        "Reinforcement needs some success to start from; demonstrations come first.",
        "Rule T5: the base model succeeds in fewer than 10 % of the cases.",
        ("share",),
    ),
    "reward_hacking": Kind(
        WARNING,
        "The reward can be met without the goal, and what is added against it.",
        "The only reward checks form.",
    ),
    "judge_calibration": Kind(
        WARNING,
        "The judge is compared with people's scores before it is trusted.",
        "RLAIF, and no 50 scored answers are mentioned (field research 6.2).",
        ("least",),
    ),
    "base_already_sufficient": Kind(
        INFO,
        "No training is needed, with the figures.",
        "Rule V6d, and the success was measured.",
        ("share", "target", "rows"),
    ),
    "harmful_declined": Kind(
        BLOCKING,
        "The request is declined: its purpose is to harm.",
        "Rule V1.",
    ),
    "out_of_scope": Kind(
        BLOCKING,
        "The request needs something other than a language model.",
        "Rule V1.",
    ),
    "capability_explained": Kind(
        INFO,
        "What this product does.",
        "Rule V1: a greeting, or a question what it can do.",
    ),
    "target_delegated": Kind(
        INFO,
        "The planner chose the target, because it was left to it.",
        "The person says so.",
        ("target",),
    ),
    "base_model_unknown": Kind(
        WARNING,
        "The named base model is not in the catalogue; its name is kept.",
        "The person names a model that nothing is known of.",
        ("model",),
    ),
    "no_judge": Kind(
        BLOCKING,
        "Graders ask a judge model and the trainer has none; how to set one, or do without.",
        "The plan trains, a grader of its evaluation or of a reward asks a model, and the trainer "
        "says that ATTUNE_JUDGE_BASE_URL is empty.",
        ("graders",),
    ),
    "base_model_not_at_hand": Kind(
        BLOCKING,
        "The base model has to be fetched before the plan can be approved.",
        "The trainer does not have it.",
        ("model",),
    ),
    "language_not_covered": Kind(
        WARNING,
        "No base model that fits is declared good at a wanted language.",
        "The catalogue has none within the other limits.",
        ("language", "model"),
    ),
    "licence_unclear": Kind(
        WARNING,
        "The base model's licence may not permit the wanted use.",
        "The catalogue has none that does within the other limits.",
        ("licence", "model"),
    ),
    "size_bound_missed": Kind(
        WARNING,
        "The base model is larger than the wanted size.",
        "The catalogue has none that small within the other limits.",
        ("model", "limit"),
    ),
    "merged_only": Kind(
        INFO,
        "The result is no adapter that the shared engine can load; it is served as a whole model.",
        "A stage trains all weights, or with DoRA. Names the target where it is `shared`.",
        ("method", "target"),
    ),
    "no_smaller_model": Kind(
        INFO,
        "There is no smaller base model within the limits that were named.",
        "The person asks for a smaller one.",
        ("model",),
    ),
    "no_larger_model": Kind(
        INFO,
        "There is no larger base model within the limits that were named.",
        "The person asks for a larger one.",
        ("model",),
    ),
    "deadline_fitted": Kind(
        WARNING,
        "The plan was cut to fit the deadline, and what was given up.",
        "Rule R4: the estimate was longer than the deadline.",
        ("hours", "before", "after"),
    ),
    "deadline_missed": Kind(
        WARNING,
        "The plan cannot meet the deadline, even with as few passes as are worth training.",
        "Rule R4: the estimate is still longer than the deadline.",
        ("hours", "estimate"),
    ),
    "holdout_overlap": Kind(
        WARNING,
        "Rows also stand in the hold-out, which flatters the score.",
        "The report found at least one.",
        ("rows",),
    ),
    "overlap_unknown": Kind(
        WARNING,
        "Nobody has looked for rows that stand in the hold-out too.",
        "The dataset was uploaded without this hold-out, and they were attached side by side.",
    ),
    "provisional": Kind(
        BLOCKING,
        "The figures come from what was said; the rows are needed before approval.",
        "Rule C1: no dataset is attached.",
    ),
}
"""By code, in the order of the page."""

PAGE_HEAD = """# Notices

Made by `make docs` from `services/planner/plan/notices.py`; do not edit.

A notice says what a reader of a plan or of a reply should know besides its fields. Programs act on
`code`; `message` is worded in the conversation's language. A blocking notice keeps the plan from
being approved until what it names is settled.

| code | severity | says that | when |
|---|---|---|---|
"""


def note(code: str, /, *, field_path: str = "", rule: str = "", **values: object) -> Note:
    """Return a note with the severity of its code.

    Args:
        code: A key of NOTICES.
        field_path: The field of the plan it is about.
        rule: The rule it follows from.
        **values: Figures and words for its sentence; those that are None are left out.

    Raises:
        KeyError: If there is no such code.
    """
    shown = {key: str(value) for key, value in values.items() if value is not None}
    return Note(code, NOTICES[code].severity, field_path, rule, shown)


def page() -> str:
    """Return docs/notices.md."""
    rows = (
        f"| `{code}` | {SEVERITY_WORDS[kind.severity]} | {kind.meaning} | {kind.when} |"
        for code, kind in NOTICES.items()
    )
    return PAGE_HEAD + "\n".join(rows) + "\n"
