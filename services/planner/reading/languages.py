"""Which language a message is in, and which languages it names."""

from __future__ import annotations

import re

from services.common.language import UNKNOWN, detect
from services.planner.reading.lexicon import lexicon

WORDS_MIN = 2
"""Common words of a language that a message must hold to count as written in it."""

COMMON = {
    "en": "the and of to is in that it with we our for are this have not you what when they them "
    "want from can should my on i be as an or at by im dont its need make model data has "
    "use set change please train how why does do keep everything else it's go back give plan "
    "model first try explain explore would expert undo only smaller larger",
    "de": "der die das und ist nicht wir mit ein eine einen auf fur von zu den dem es sich auch "
    "haben soll sie ich wie aus sind bei nach wird unsere unser unseren im zum zur dass oder aber "
    "nur noch kein keine uns was wenn bitte warum alles mehr als",
    "fr": "le la les des est et une un nous avec pour dans pas que qui sur du au aux sont ce cette "
    "nos notre il elle ne plus je vous avons ou mais d'un d'une l'on c'est j'ai nombre leur leurs "
    "par rien doit tout pourquoi",
    "es": "el la los las de que y es en un una con por para no se del al nuestro nuestra tenemos "
    "quiero queremos como pero son mas lo su sus cada nada hay todavia he mi porque muy ya sin "
    "hemos cuando donde",
    "pt": "nada nunca o os as de que e um uma com para nao se do da dos das no na nos nas "
    "temos queremos "
    "quero como mas sao nosso nossa por em isso ao cada mais ja ainda voce tem foi ser seu "
    "sua sem pelo "
    "pela hoje gente quer tudo toda todo todos todas tempo precisa nossos dizer veio muito esse",
    "it": "il lo gli di che e un una con per non si del della dei delle abbiamo vogliamo voglio "
    "come ma sono nostro nostra nostri in ogni piu gia ancora anche al alla da dal nel nella "
    "questo "
    "perche vorrei dovrebbe i lo ne niente lei lui due volte usiamo sa anno ha mai solo oggi deve "
    "vorremmo tutti quale nessuno hanno",
    "nl": "de het een en van wij we met voor niet is zijn op te dat die onze ons hebben moet maar "
    "aan ook bij naar als nog geen wat er om uit wordt kan elke graag heb ik willen waarom",
    "pl": "nie jest sie na do i w z ze mamy chcemy dla jak ale nasz nasze przez od tylko czy mam "
    "jeszcze przed tego tym ich oraz ktore moze raz razy bez jestem prosze dlaczego zostaw reszte",
    "sv": "och att det ar inte vi har en ett for med pa som av vara ska den till kan men "
    "varje alla bara mycket ocksa eller hur inga finns",
    "da": "og at det er ikke vi har en et for med pa som af vores skal den til kan men",
    "tr": "ve bir bu icin ile degil biz var olarak daha cok model ama gibi bunu ayda "
    "haftada iki kez "
    "neden hic yok evet tamam sadece kadar sonra her kac olsun istiyoruz",
    "fi": "ja on ei se etta meilla ovat mutta kun tai malli myos",
    "cs": "a je se na ze mame chceme pro jak ale nas nase od jen",
}
TALK = {
    "de": "diese dieser dieses lieber nimm setze setz zuruck ersten plan modell "
    "kleineres grosseres lernrate erklare bedeutet ausgerechnet gut wieder mache mach ware",
    "fr": "reviens revenez premier au modele pourquoi explique change mets mettez plus "
    "petit taux d'apprentissage gardez garde merci oui non peux-tu faut veut voudrais fait",
    "es": "vuelve volver primer plan modelo cambia pon usa explica tantas mismo mejor "
    "gracias quiero puedes epocas esta este solo deja",
    "pt": "volte volta primeiro plano modelo mude muda explique mesmo melhor obrigado "
    "quero pode epocas esta este deixe isto",
    "it": "torna primo piano modello cambia metti usa spiega meglio grazie puoi epoche "
    "lascia resto tutto",
    "nl": "terug eerste plan model verander zet gebruik leg liever kleiner groter laat "
    "rest alles dit deze",
}
"""Words of those who talk about a plan: such messages are short."""
WORDS = {
    language: frozenset(f"{words} {TALK.get(language, '')}".split())
    for language, words in COMMON.items()
}

CLEAR_WORDS_MIN = 4
"""A text of so many words is told by accents and pieces of words as well."""
SURE_WORDS_MIN = 12
"""From so many words on they are believed more than common words alone."""
LETTERS_MIN = 3
"""A single word must be so long, and common in no other language, to tell."""

SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ru", re.compile("[\u0430-\u045f]")),
    ("ar", re.compile("[\u0620-\u06ff]")),
    ("he", re.compile("[\u05d0-\u05ea]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("el", re.compile("[\u03b1-\u03c9]")),
)
SCRIPT_SHARE_MIN = 0.15
"""Share of letters in a script from which the message counts as written in it."""


def detect_language(folded: str, fallback: str, text: str = "") -> str:
    """Return the language of a folded text, ISO 639-1.

    Args:
        folded: In lower case without accents.
        fallback: Returned when the text is too short to tell.
        text: As it was written: its accents tell, too, once there are some words.
    """
    found = _by_common_words(folded, fallback)
    if len(text.split()) < CLEAR_WORDS_MIN:
        return found
    clear = detect(text)
    # Shop talk is English in every language, so English needs more than that to be told.
    if clear == UNKNOWN or (clear == "en" and found == fallback):
        return found
    return found if found != fallback and len(text.split()) < SURE_WORDS_MIN else clear


def _by_common_words(folded: str, fallback: str) -> str:
    letters = sum(character.isalpha() for character in folded)
    for language, script in SCRIPTS:
        if letters and len(script.findall(folded)) / letters >= SCRIPT_SHARE_MIN:
            return language
    words = re.findall(r"(?<![\w-])[a-z]+(?:'[a-z]+)?(?![\w-])", folded)
    # `d'une`, `l'on`: both halves are words.
    words += [half for word in words if "'" in word for half in word.split("'")]
    counts = {language: sum(word in known for word in words) for language, known in WORDS.items()}
    best = max(counts, key=lambda language: (counts[language], language == fallback))
    if counts[best] == counts.get(fallback, 0):
        return fallback
    if counts[best] < WORDS_MIN:
        alone = [word for word in words if word in WORDS[best] and len(word) >= LETTERS_MIN]
        rivals = [language for language, count in counts.items() if count == counts[best]]
        return best if alone and len(rivals) == 1 else fallback
    return best


def named_languages(folded: str, written_in: str) -> list[tuple[int, str]]:
    """Return where a folded sentence names languages, and which, ISO 639-1.

    Args:
        folded: A sentence.
        written_in: Its own language.
    """
    found: dict[int, str] = {}
    for words in {written_in: lexicon(written_in), "en": lexicon("en")}.values():
        for code in words.names("languages"):
            for match in words.matches("languages", code, folded):
                found.setdefault(match.start(), code)
    return sorted(found.items())
