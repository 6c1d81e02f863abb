"""Messages in languages other than English are read like English ones."""

import pytest

from services.planner.brief import Brief
from services.planner.reading.interpreter import DeterministicReader
from services.planner.vocabulary import Shape, Signal, Task

READER = DeterministicReader(())


def read(message: str, language: str = "en"):
    return READER.read(message, Brief(language=language))


@pytest.mark.parametrize(
    ("message", "language", "task", "rows"),
    [
        ("Hay que poner a cada reclamación su motivo entre doce posibles. Contamos con 4.800 "
         "reclamaciones ya resueltas con su motivo.", "es", Task.CLASSIFICATION, 4800),
        ("Jede Schadensmeldung soll eine von elf Ursachen bekommen; 4.300 Meldungen mit der "
         "Ursache des Gutachters liegen vor.", "de", Task.CLASSIFICATION, 4300),
        ("Extraire le montant et la date des devis, 2 400 devis avec leur fiche saisie.",
         "fr", Task.EXTRACTION, 2400),
        ("Cada pedido tem de ir para um de dez setores; temos 5.400 pedidos com o setor certo.",
         "pt", Task.CLASSIFICATION, 5400),
        ("Riscrivere le lettere in modo chiaro: 950 lettere prima e dopo.",
         "it", Task.STYLE, 950),
        ("Brieven herschrijven in begrijpelijk Nederlands: 1.000 brieven voor en na.",
         "nl", Task.STYLE, 1000),
        ("議事録を作りたい。録音の書き起こしと承認済みの議事録が900組あります。",
         "ja", Task.SUMMARIZATION, 900),
        ("把会议记录整理成纪要,有900份记录和定稿的纪要。", "zh", Task.SUMMARIZATION, 900),
        ("Tłumaczymy instrukcje z niemieckiego na polski, 5000 zdań z zatwierdzonym tłumaczeniem.",
         "pl", Task.TRANSLATION, 5000),
        ("Gelen her şikâyeti dokuz birimden birine yönlendirmek istiyoruz. Doğru birimiyle 3.400 "
         "şikâyet var.", "tr", Task.CLASSIFICATION, 3400),
        ("Varje ärende ska hamna hos en av nio avdelningar. Vi har 3 400 ärenden med rätt "
         "avdelning.", "sv", Task.CLASSIFICATION, 3400),
        ("독일어 설명서를 한국어로 번역합니다. 검수된 번역문 5,000문장이 있습니다.",
         "ko", Task.TRANSLATION, 5000),
    ],
)  # fmt: skip
def test_task_and_demonstrations(message, language, task, rows):
    patch = read(message)
    assert (patch.language, patch.task) == (language, task)
    assert (patch.data_shape, patch.data_row_count) == (Shape.DEMONSTRATIONS, rows)


@pytest.mark.parametrize(
    ("message", "signal"),
    [
        ("Todavía no hemos hecho ninguna prueba con prompts.", Signal.NOTHING_TRIED),
        ("Ausprobiert haben wir bislang nichts.", Signal.NOTHING_TRIED),
        ("Jeszcze niczego nie próbowaliśmy.", Signal.NOTHING_TRIED),
        ("Vi har inte provat något än.", Signal.NOTHING_TRIED),
        ("我们还什么都没试过。", Signal.NOTHING_TRIED),
        ("I posti liberi cambiano di ora in ora.", Signal.VOLATILE_FACTS),
        ("空き部屋は一時間ごとに変わります。", Signal.VOLATILE_FACTS),
        ("Boş odalar sürekli değişiyor.", Signal.VOLATILE_FACTS),
        ("빈 방은 매시간 바뀝니다.", Signal.VOLATILE_FACTS),
        ("De gegevens mogen ons netwerk niet uit.", Signal.DATA_STAYS_LOCAL),
        ("Her şey kendi sunucumuzda.", Signal.DATA_STAYS_LOCAL),
        ("데이터는 사외로 나갈 수 없습니다.", Signal.DATA_STAYS_LOCAL),
        ("Nunca anotamos os critérios, só eu e meu pai sabemos avaliar.", Signal.TACIT_JUDGEMENT),
        ("判断できるのは私と父だけで、基準はどこにも書かれていません。", Signal.TACIT_JUDGEMENT),
        ("Die Chats gehören meiner Mitbewohnerin, sie hat keine Ahnung.", Signal.NO_CONSENT),
        ("Elle ignore que j'ai copié ses messages.", Signal.NO_CONSENT),
        ("Lei non ne sa niente.", Signal.NO_CONSENT),
        ("Elk antwoord moet vermelden op welk artikel het steunt.", Signal.CITATIONS),
        ("每个回答都要注明依据的条款。", Signal.CITATIONS),
        ("Używamy tego dwa razy w miesiącu.", Signal.LOW_VOLUME),
    ],
)
def test_what_is_said_is_noticed(message, signal):
    assert signal in read(message).signals


@pytest.mark.parametrize(
    ("message", "base", "target"),
    [
        ("El modelo de hoy acierta el 58 % de las veces y queremos llegar al 85 %.", 0.58, 0.85),
        ("Mit dem Prompt liegt es schon bei 95 %, verlangt sind 90 %.", 0.95, 0.9),
        ("Hoje o modelo acerta 45% e a gente quer 75%.", 0.45, 0.75),
        ("現在のモデルの正解率は46%で、75%を目指しています。", 0.46, 0.75),
        ("Obecny model trafia w 45% przypadków, chcemy 75%.", 0.45, 0.75),
        ("Şu anki model %45 tutturuyor, hedefimiz %75.", 0.45, 0.75),
    ],
)
def test_shares_of_today_and_to_reach(message, base, target):
    patch = read(message)
    assert (patch.base_success, patch.target) == (base, target)


@pytest.mark.parametrize("language", ["es", "de", "ja", "tr", "ko"])
@pytest.mark.parametrize("message", ["ok", "rank 64"])
def test_a_short_message_keeps_the_language_of_the_talk(message, language):
    assert read(message, language).language == language
