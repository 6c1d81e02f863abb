import pytest

from services.common import language


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "Can I bring a surfboard?"),
        ("en", "fine-tune a model for classifying support tickets"),
        ("de", "Kann ich mein Fahrrad mitnehmen?"),
        ("fr", "Comment puis-je annuler mon billet ?"),
        ("es", "\u00bfC\u00f3mo puedo cancelar mi reserva?"),
        ("pt", "Como posso cancelar a minha reserva?"),
        ("it", "Come posso annullare la prenotazione?"),
        ("nl", "Hoe kan ik mijn reservering annuleren?"),
        ("pl", "Jak mog\u0119 anulowa\u0107 rezerwacj\u0119?"),
        ("tr", "Rezervasyonumu nas\u0131l iptal edebilirim?"),
        ("sv", "Hur kan jag avboka min biljett?"),
        ("ja", "\u4e88\u7d04\u3092\u30ad\u30e3\u30f3\u30bb\u30eb\u3059\u308b\u65b9\u6cd5"),
        ("zh", "\u6211\u600e\u4e48\u53d6\u6d88\u9884\u8ba2"),
        ("ko", "\uc608\uc57d\uc744 \uc5b4\ub5bb\uac8c \ucde8\uc18c\ud558\ub098\uc694?"),
        ("ru", "\u041a\u0430\u043a \u043e\u0442\u043c\u0435\u043d\u0438\u0442\u044c"),
        ("uk", "\u042f\u043a \u0441\u043a\u0430\u0441\u0443\u0432\u0430\u0442\u0438 \u0457\u0457"),
        ("ar", "\u0643\u064a\u0641 \u064a\u0645\u0643\u0646\u0646\u064a"),
        ("und", "water"),
        ("und", "12345 ???"),
        ("und", ""),
        ("und", "```\nfor the_thing in this: print(you)\n```"),
    ],
)
def test_the_language_is_told_or_not_guessed(code, text):
    assert language.detect(text) == code


def test_a_name_in_latin_letters_does_not_change_the_language():
    text = "LG ThinQ \uc5d0\uc5b4\ucee8\uc744 \uc81c\uc2b5 \ubaa8\ub4dc\ub85c \uc124\uc815"
    assert language.detect(text) == "ko"
