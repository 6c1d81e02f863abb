"""Settings that a message dictates, by their path in the spec."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from services.planner.brief import Value
from services.planner.reading.message import Message, Sentence
from services.planner.reading.quantities import number
from services.planner.reading.switches import HYPERPARAMETERS, STAGE, read_switches

JUDGE_TEMPERATURE = STAGE + "reward.graders.0.grader.score_model.sampling.temperature"
IS = (
    r"(?:[\s_]*(?:=|:|≈|~|(?:is|are|of|to|at|back|be|down|up|limited|capped|lowered|raised|now|"
    r"then|stays?|remains?|kept|must|"
    r"should|shall|has|needs|exactly|just|only|around|about|fixed|value|set|auf|bei|von|ist|gleich|"
    r"a|de|en|para|naar|op|"
    r"van|su|"
    r"di|da|em|na|sur|um|une?|con|with|value|wert|を|は|が|の|に)(?![a-z])|from\s\S{1,8}\s(?:up |"
    r"down )?to)){0,4}\s*"
)
ENDS = (
    r"(?![\d.,]*\d)(?=\s*(?:[,.;:!?)/|+&]|-|$|(?:and|with|please|instead|but|for|on|alpha|lora|lr|"
    r"dropout|learning|epochs?|then|now|rather|nothing|only|as|if|in|und|statt|bitte|y|en|por|"
    r"con|et|"
    r"au|s'il|e|em|in|al|invece|maar|met|der|fur|or|than|the|leave|keep|everything|too|would|was|"
    r"were|"
    r"is|do|mean|にして|に|で|を|と|から|、|。)(?![a-z])))"
)
"""What may follow `rank 8`: so that `rank 8 results` stays a sentence about results."""
NUMBER = (
    r"((?<![\d.,])(?:\d{1,3}(?:,\d{3})+|\d{1,9}(?:[.,]\d{1,9})?(?:e[-+]?\d{1,2})?|\.\d{1,9}|"
    r"10\^-\d))"
)
AMOUNT = NUMBER[:-1] + r"(?:\s*%)?)"
SPELLED = (
    r"(\d{1,9}(?:,\d{3})*|two|three|four|five|six|eight|ten|twelve|sixteen|twenty|thirty-two|"
    r"sixty-four|(?:one |a )?hundred(?: and twenty-eight)?)"
)
WORDED = (
    r"(\d{1,4}(?:[.,]\d{1,2})?|single|one|two|three|four|five|six|eight|ten|ein(?:e|er)?|zwei|drei|vier|"
    r"funf|une?|deux|trois|dos|tres|duas|dois|due|tre|twee|drie)"
)
EPOCHS = (
    r"(?:epoch(?:s|en|es)?|epocas?|epoque?s?|epoche|epoca|durchlaufe?|pass(?:es)? over the (?:data|"
    r"rows|set)|エポック|轮)"
)
REFUSED = re.compile(r"\b(?:rather than|instead of|and not|not) (?:the |a |with )?$")
EXPERT = re.compile(
    r"\b(?:lr|learning rate|lo ?ra|q-?lora|dora|epochs?|grpo|rlvr|dpo|sft|rank|alpha|batch|"
    r"warm-?up|"
    r"optimi[sz]er|schedule[rs]?|max steps|hyperparameters?|beta|kl|dropout|fine-?tun\w+|"
    r"train\w*)\b"
)
"""What makes a bare `200 steps` or `cosine` a setting."""
CHANGES = re.compile(
    r"\b(?:set|change|use|make|put|raise|lower|increase|decrease|reduce|switch|go with|try|take|"
    r"want|"
    r"setz\w*|stell\w*|ander\w*|nimm|mach\w*|met[st]\w*|passe[rz]?|change[rz]?|pon(?:er|ga)?|"
    r"cambi\w*|"
    r"usa[r]?|mud[ae]\w*|imposta\w*|zet|verander\w*|gebruik)\b|してください|変更|にして|设为|改为"
)


@dataclass(frozen=True)
class Setting:
    """A setting that a message may dictate."""

    path: str
    """Of the spec."""
    pattern: re.Pattern[str]
    """One of its groups is the value."""
    read: Callable[[str], Value | None]
    """Turns the group into the value, or None when it cannot."""
    wanted: str = "write a number"
    """What it must look like, for the note."""
    is_shop_talk: bool = False
    """Whether it counts only next to other words of the trade."""


def _decimal(text: str) -> float | None:
    if text.startswith("10^"):
        return float(f"1e{text[3:]}")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+", text):
        return float(text.replace(",", ""))
    plain = text.replace(",", ".")
    return float(plain) if re.fullmatch(r"[\d.]+(?:e[-+]?\d+)?", plain) else _spoken(text)


def _spoken(text: str) -> float | None:
    if text == "single":
        return 1.0
    for language in ("en", "de", "fr", "es", "pt", "it", "nl"):
        value = number(text, language)
        if value is not None:
            return value
    return None


def _whole(text: str) -> int | None:
    value = _decimal(text)
    return int(value) if value is not None and value.is_integer() else None


def _length(text: str) -> int | None:
    """Return tokens; `4k` is 4096."""
    return int(text[:-1]) * 1024 if text.endswith("k") else _whole(text)


def _share(text: str) -> float | None:
    value = _decimal(text.rstrip("% "))
    return value if value is None or "%" not in text else value / 100


def _schedule(text: str) -> int:
    return 1 if text[0] in "ck" and "os" in text else 2 if text.startswith("lin") else 3


def _setting(
    path: str,
    pattern: str,
    read: Callable[[str], Value | None] = _decimal,
    wanted: str = "write a number",
    is_shop_talk: bool = False,
) -> Setting:
    full = path if path.startswith(("evaluation.", "data.", "stages.")) else HYPERPARAMETERS + path
    return Setting(full, re.compile(pattern), read, wanted, is_shop_talk)


WHOLE = "write a whole number"
RANKS = "4|8|16|32|64|128|256|512"

SETTINGS = (
    _setting(
        "lora.rank",
        rf"\b(?:lora[ -]?|adapter[ -]?)?(?:rank|rang(?:o)?){IS}{NUMBER}{ENDS}|\br\s*=\s*(\d{{1,9}})"
        rf"|\b(?:lora|dora|qlora|adapters?)[ ,:(-]{{1,2}}r ?(\d{{1,4}})\b|"
        rf"(?<![\w.-])r({RANKS})(?![\w-])|"
        rf"(?<![\w.-])r ({RANKS})(?=\s*(?:[,/;]|\.(?!\d)|$|alpha|a\s?=))"
        rf"|\brank{IS}{SPELLED}{ENDS}|(?<![\w.]){SPELLED} (?:as|for) (?:the |its )?(?:lora )?rank\b"
        rf"|(?:ランク|秩){IS}(\d{{1,4}})|\b(?:lora|dora|qlora) ({RANKS})(?=/\d)",
        _whole,
        WHOLE,
    ),
    _setting(
        "lora.alpha",
        rf"(?:\b(?:lora[ _-]?)?alpha|\u03b1|アルファ){IS}{NUMBER}|\ba\s?=\s?(\d{{1,4}})\b"
        rf"|(?:(?<=lora \d)|(?<=lora \d\d)|(?<=lora \d\d\d))/(\d{{1,4}})\b",
        _whole,
        WHOLE,
    ),
    _setting("lora.dropout", rf"(?:\b(?:lora[ _-]?)?dropout|ドロップアウト){IS}{AMOUNT}", _share),
    _setting(
        "learning_rate",
        r"(?:\b(?:learning[ _-]?rate|lr|step size|lern-?rate|taux d'apprentissage|"
        r"(?:tasa|taxa) de (?:aprendizaje|aprendizado|aprendizagem)|tasso di apprendimento|"
        rf"leersnelheid)|学習率|学习率){IS}{NUMBER}|{NUMBER} (?:learning rate|lr)\b",
    ),
    _setting(
        "epoch_count",
        rf"(?<![\w.]){WORDED} {EPOCHS}|(?<![\w.])(\d{{1,3}}) ?(?:ep|エポック|轮)(?![a-z])|"
        rf"{EPOCHS}{IS}{NUMBER}"
        rf"|\bepochs?{IS}(one|two|three|four|five)\b",
    ),
    _setting(
        "effective_batch_size",
        rf"\b(?:(?:effective|global|total|train)[ _-]?)?(?:batch(?:es)?(?:[ _-]?(?:size|"
        rf"grosse))?|bs|bsz|"
        rf"taille (?:de|du) (?:lot|batch)|tamano de lote|tamanho d[eo] lote){IS}(?:{NUMBER}|"
        rf"{SPELLED}\b)"
        rf"|バッチサイズ{IS}{NUMBER}|{NUMBER} (?:rows|prompts|examples|pairs) (?:per|a|each) "
        r"(?:optimi[sz]er )?step",
        _whole,
        WHOLE,
    ),
    _setting(
        "warmup_ratio",
        rf"\bwarm[ _-]?up(?:[ _-]?(?:ratio|share|fraction))?{IS}(0?[.,]\d{{1,4}}|0(?![.,\d])|"
        rf"\d{{1,2}}\s*%)"
        r"|(\d{1,2}\s*%) warm-?up",
        _share,
    ),
    _setting("weight_decay", rf"\b(?:weight[ _-]?decay|wd){IS}{AMOUNT}", _share),
    _setting(
        "max_gradient_norm",
        rf"\b(?:max[ _-]?)?grad(?:ient)?s?(?:[ _-]?(?:norm|clip(?:ping|ped)?)){{1,2}}{IS}{NUMBER}",
    ),
    _setting(
        "rl.max_completion_length",
        r"\b(?:max[ _-]?(?:imum )?(?:completion|output|response|generation|new|"
        r"answer)[ _-]?(?:len(?:gth)?|tokens?)?"
        rf"(?:[ _-]?(?:len(?:gth)?|tokens?))?|completion length){IS}(\d{{1,9}}k?)\b"
        r"|completions? (?:of |up to |at most |max(?:imum)? )"
        r"(?:(\d{2,6}) tokens|(\d{3,6})(?![\d.,]*\d))|(?<![\d.,])(\d{2,6}) new tokens\b",
        _length,
        WHOLE,
    ),
    _setting(
        "rl.max_prompt_length",
        rf"\b(?:max[ _-]?(?:imum )?)?prompt[ _-]?len(?:gth)?{IS}(\d{{1,9}}k?)\b",
        _length,
        WHOLE,
    ),
    _setting(
        "max_length",
        r"\b(?:(?:max(?:imum|imal)?[ _-]?(?:(?:row|seq(?:uence)?|context|input|total|model)[ _-]?)?"
        r"(?:len(?:gth)?|tokens?))|seq(?:uence)?[ _-]?len(?:gth)?|context (?:length|window)|ctx|"
        r"maximale (?:lange|sequenzlange)|longueur max(?:imale)?|longitud maxima|"
        r"comprimento maximo|"
        rf"lunghezza massima){IS}(\d{{1,3}}(?:,\d{{3}})+|\d{{1,9}}k?(?:\.\d+)?)\b|"
        rf"最大長{IS}(\d{{2,6}})",
        _length,
        WHOLE,
    ),
    _setting(
        "seed",
        rf"\b(?:seed|zufallsstartwert|graine|semilla|semente){IS}{NUMBER}|シード{IS}(\d+)",
        _whole,
        WHOLE,
    ),
    _setting("early_stopping_patience", rf"\bpatience{IS}{NUMBER}", _whole, WHOLE),
    _setting(
        "evaluations_per_epoch",
        rf"(?<![\w.]){WORDED} evaluations? (?:per|an|each) epoch",
        _whole,
        WHOLE,
    ),
    _setting(
        "schedule",
        r"\b(cosine|linear|constant|kosinus|konstante?|lineare?|cosinus|constante|coseno|lineal)"
        r"(?:ly)?[ -]+(?:schedule[rs]?|decay|learning rate|lr|scheduler)"
        rf"|\b(?:schedule[rs]?|lr[ _-]schedule[rs]?(?:[ _]type)?){IS}(cosine|linear|constant)",
        _schedule,
        "write cosine, linear or constant",
    ),
    _setting("schedule", r"\b(cosine|linear|constant)\b", _schedule, is_shop_talk=True),
    _setting(
        "max_step_count",
        r"\b(?:max[ _-]?(?:imum )?|at most |for |stop after |limit(?:ed)? to |"
        r"only )?(?:train(?:ing)?[ _-])?steps\s*[=:]\s*(\d{1,7})"
        r"|\bmax[ _-]?steps (\d{1,7})|(?<![\w.,])(\d{1,3}(?:,\d{3})|\d{1,7}) (?:training |"
        r"optimi[sz]er |gradient |"
        r"update |rl |grpo |optimi[sz]ation )?(?:steps|schritte|pasos|passos|passi|stappen|"
        r"ステップ)(?!\w)",
        _whole,
        WHOLE,
        is_shop_talk=True,
    ),
    _setting(
        "rl.group_size",
        rf"\bgroup[ _-]?(?:size)?{IS}(\d{{1,4}})\b|(?<![\w.])(?:n|g)\s*=\s*(\d{{1,4}})\b|"
        rf"\bnum_generations{IS}(\d+)"
        rf"|(?<![\w.]){SPELLED} (?:rollouts|generations)\b|\bgroups? of {SPELLED}\b"
        r"|(?<![\w.])(\d{1,3}) (?:rollouts|completions|generations|samples|answers) (?:per|"
        r"for each|each) (?:prompt|question|task|case|problem|row|item|input)|"
        r"(?<![\w.])(\d{1,3}) per prompt\b"
        rf"|\b(?:gruppengrosse|tamano de grupo|"
        rf"taille de groupe){IS}(\d{{1,4}})",
        _whole,
        WHOLE,
    ),
    _setting(
        "rl.group_size",
        r"(?<![\w.])(\d{1,2}) (?:samples|rollouts|completions)(?=\s*(?:[,;.]|$))",
        _whole,
        WHOLE,
        is_shop_talk=True,
    ),
    _setting(
        JUDGE_TEMPERATURE,
        rf"\bjudge(?:'s)?[^.;]{{0,24}}?(?:\bt\s*=|temp(?:erature)?{IS})\s*{NUMBER}",
    ),
    _setting(
        "rl.temperature",
        rf"(?<![\w.])t(?:\s*=\s*| (?=[01]\.)){NUMBER}|"
        rf"\b(?:sampling |rollout |policy )?temp(?:erature?|eratur|"
        rf"eratura)?(?: (?:of|for) the \w+)?{IS}{NUMBER}|\bsampled (?:at|with) {NUMBER}|"
        rf"温度{IS}{NUMBER}",
    ),
    _setting("rl.top_p", rf"\btop[ _-]?p{IS}{NUMBER}"),
    _setting(
        "rl.kl_coefficient",
        rf"\bkl(?:[ _-]?(?:coef(?:f(?:icient)?)?|penalty|beta|weight|loss|term|"
        rf"divergence)){{0,2}}{IS}{NUMBER}",
    ),
    _setting("dpo.beta", rf"(?:\b(?:dpo[ _-]?)?beta|β|ベータ){IS}{NUMBER}"),
    _setting("rl.clip_low", rf"\b(?:clip[ _-]?(?:low|min)|eps(?:ilon)?[ _-]?low){IS}{NUMBER}"),
    _setting("rl.clip_high", rf"\b(?:clip[ _-]?(?:high|max)|eps(?:ilon)?[ _-]?high){IS}{NUMBER}"),
    _setting("dpo.label_smoothing", rf"\blabel[ _-]smoothing{IS}{AMOUNT}", _share),
    _setting(
        "dpo.loss_type",
        rf"\b(sigmoid|ipo|hinge|robust|exo_pair|apo_zero|apo_down)[ -]loss|"
        rf"\bloss(?:[ _]type)?{IS}(sigmoid|ipo|hinge|robust|exo_pair|apo_zero|apo_down)\b",
        str,
    ),
    _setting("dpo.loss_type", r"\b(sigmoid|ipo|hinge|exo_pair|apo_zero)\b", str, is_shop_talk=True),
    _setting(
        "rl.loss_type",
        rf"\b(dapo|dr_?grpo|bnpo)\b(?: loss)?|\bloss(?:[ _]type)?{IS}(dapo|grpo|dr_grpo|bnpo)\b",
        str,
    ),
    _setting(
        "evaluation.few_shot_example_count",
        rf"{NUMBER} few-?shot examples|\bfew-?shot(?: examples)?{IS}{NUMBER}|"
        rf"(?<![\w.])(\d{{1,2}})-shot\b",
        _whole,
        WHOLE,
    ),
    _setting(
        "data.validation_fraction",
        rf"\bvalidation(?: share| fraction| split| set)?{IS}(0?\.\d{{1,4}}|\d{{1,2}}\s*%)",
        _share,
    ),
    _setting(
        "data.holdout_fraction",
        rf"\b(?:hold-?out|test (?:set|split)|hold out|held out)(?: share| fraction| split|"
        rf" set)?{IS}(0?\.\d{{1,4}}|\d{{1,2}}\s*%)"
        r"|(\d{1,2}\s*%) (?:hold-?out|held out|for testing|test split)",
        _share,
    ),
)


@dataclass(frozen=True)
class Settings:
    """What a message dictates."""

    overrides: dict[str, Value]
    """Values by path of the spec."""
    notes: tuple[str, ...]
    """What could not be read; sentences."""
    spans: dict[Sentence, list[tuple[int, int]]]
    """Where they stand in the folded sentences."""


def read_settings(message: Message, is_reinforcement: bool, skip: set[Sentence]) -> Settings:
    """Return the settings of a message.

    Args:
        message: What was said.
        is_reinforcement: Whether the plan, or the message, is about reinforcement learning: there
            `beta` is the KL coefficient.
        skip: Sentences that only ask.
    """
    found: dict[str, Value] = {}
    notes: list[str] = []
    spans: dict[Sentence, list[tuple[int, int]]] = {}
    shop_talk = bool(EXPERT.search(message.folded))
    for sentence in message.sentences:
        if sentence in skip:
            continue
        taken: list[tuple[int, int]] = []
        for setting in SETTINGS:
            if setting.is_shop_talk and not shop_talk:
                continue
            match = _last(setting.pattern, sentence.folded, taken)
            if match is None or (setting.is_shop_talk and setting.path in found):
                continue
            taken.append(match.span())
            text = next(group for group in match.groups() if group is not None)
            value = setting.read(text)
            if value is None:
                notes.append(f"'{match[0].strip()}' was not understood: {setting.wanted}.")
            else:
                found[setting.path] = value
        is_expert = bool(EXPERT.search(sentence.folded))
        read_switches(sentence.folded, found, taken, is_expert=is_expert)
        if taken:
            spans[sentence] = taken
    beta = HYPERPARAMETERS + "dpo.beta"
    if is_reinforcement and beta in found:
        found[HYPERPARAMETERS + "rl.kl_coefficient"] = found.pop(beta)
    return Settings(found, tuple(notes), spans)


def _last(
    pattern: re.Pattern[str], folded: str, taken: list[tuple[int, int]]
) -> re.Match[str] | None:
    """Return the last match that nothing else has taken: people correct themselves."""
    free = [
        match
        for match in pattern.finditer(folded)
        if not any(match.start() < end and start < match.end() for start, end in taken)
    ]
    # `IPO rather than the sigmoid loss` wants the other.
    free = [match for match in free if not REFUSED.search(folded[: match.start()])]
    return free[-1] if free else None
