"""The page that people send on: whole, well formed, bounded, and safe whatever a model says."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from attune.spec.v1.spec_pb2 import SuccessCriterion
from markdown_it import MarkdownIt

from services.trainer.evaluation.chart import POINTS_MAX, Bar, Line, bars, differences, lines
from services.trainer.evaluation.page_content import content
from services.trainer.evaluation.page_html import html
from services.trainer.evaluation.page_markdown import markdown
from tests.trainer.evaluation.reports import a_course, a_lineage, a_plan, a_report, an_example

HTML_BYTES_MAX, MARKDOWN_BYTES_MAX = 1024 * 1024, 512 * 1024
"""What the contract promises."""
VOID = {"meta", "br", "img", "link", "hr", "input"}
CHARTS = re.compile(r"<svg.*?</svg>", re.DOTALL)


class Tags(HTMLParser):
    """Notes tags in order, and that each one is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.attributes, self._open = [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


def a_page(report=None, course=None, plan=None):
    return content(plan or a_plan(), report or a_report(), a_lineage(), course or a_course())


def test_the_page_says_what_was_asked_what_came_of_it_and_how_it_was_made():
    page = a_page()
    for text in (html(page), markdown(page).replace("\\", "")):
        for words in (
            "Card questions", "Tell what a customer asks", "better", "0.830", "0.770 to 0.890",
            "The target of 0.800 is reached", "language: de", "-0.250 (-0.400 to -0.080)",
            "84 rows are right only with the tuned model, 6 only with the base", "p = 1e-18",
            "tone could not grade 3 answers", "Where is my card?", "What is a euro?",
            "Of 40 general questions", "No held-out prompt", "step 90 was taken", "d" * 64,
            "a" * 64, "learning_rate", "lora.rank", "A processor", "train 61.2 s", "$1.25",
            "Apache-2.0",
        ):  # fmt: skip
            assert words in text, words


def test_charts_are_well_formed_and_show_every_figure_and_the_chosen_step():
    charts = CHARTS.findall(html(a_page()))
    scores, kinds, loss = (ElementTree.fromstring(chart) for chart in charts)
    space = "{http://www.w3.org/2000/svg}"
    assert len(scores.findall(f"{space}rect")) == 4
    dots = [dot.get("class") for dot in kinds.findall(f"{space}circle")]
    assert dots == ["dot open", "dot gain", "dot gain", "dot fall"]
    (mark,) = [one for one in loss.findall(f"{space}line") if one.get("class") == "mark"]
    main = [one for one in loss.findall(f"{space}circle") if one.get("class") == "dot main"]
    assert mark.get("x1") == main[2].get("cx")
    assert all(one.find(f"{space}title").text for one in (scores, kinds, loss))


def test_charts_say_what_they_show_and_what_their_axes_measure():
    text = html(a_page())
    scores, kinds, loss = CHARTS.findall(text)
    for title in ("Score of each on unseen rows", "Tuned less base by kind of row", "Loss by step"):
        assert f"<figcaption>{title}" in text
    assert ">exact, mean</text>" in scores
    assert ">exact, difference of means</text>" in kinds
    assert ">step</text>" in loss


def test_a_fall_is_a_gain_where_less_is_better():
    plan = a_plan()
    plan.objective.success_criteria.add(direction=SuccessCriterion.DIRECTION_LOWER_IS_BETTER)
    kinds = ElementTree.fromstring(CHARTS.findall(html(a_page(plan=plan)))[1])
    dots = [one.get("class") for one in kinds if one.tag.endswith("circle")]
    assert dots == ["dot open", "dot fall", "dot fall", "dot gain"]


def test_a_reward_is_shown_as_a_reward_and_not_as_a_loss_with_a_minus():
    rewards = [(30.0, 0.4), (90.0, 0.7)]
    curves = {
        "loss": [(1.0, 0.1), (2.0, 0.1)],
        "reward": [(1.0, 0.3), (90.0, 0.6)],
        "eval_reward": rewards,
        "eval_loss": [(step, -value) for step, value in rewards],
    }
    text = html(a_page(course=a_course(curves=curves)))
    assert "validation loss" not in text
    assert "where the validation reward was 0.7" in text


def test_figures_are_not_broken_within_and_hashes_may_be():
    text = html(a_page())
    assert ".facts td{overflow-wrap:anywhere}" in text
    assert text.count("overflow-wrap:anywhere") == 2  # The other one is that of answers.
    (hashes,) = [one for one in re.findall(r"<table.*?</table>", text) if "d" * 64 in one]
    assert hashes.startswith('<table class="facts">')


def test_the_matrix_shades_each_share_and_marks_what_is_right():
    text = html(a_page())
    assert '<td class="right" style="--share:0.80">40</td>' in text
    assert '<td class="wrong" style="--share:0.16">8</td>' in text


def test_the_page_loads_nothing_and_runs_nothing():
    text = html(a_page())
    tags = Tags(text)
    assert {"script", "link", "img", "iframe", "object"} & set(tags.seen) == set()
    assert {"src", "href"} & set(tags.attributes) == set()
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


HOSTILE = (
    '</pre><script>alert(1)</script><img src=x onerror="x">| `a` [x](http://x) # *b*\n```\n# c'
)


def test_what_a_model_says_stays_text():
    plan, report = a_plan(), a_report()
    plan.display_name = plan.objective.problem = report.verdict_reasons[0] = HOSTILE
    report.regressions[0].CopyFrom(an_example(HOSTILE, HOSTILE, tuned_answer=HOSTILE))
    report.slices[0].value = report.confusion.labels[0] = report.graders[0].grader = HOSTILE
    page = a_page(report, plan=plan)
    tags = Tags(html(page))
    assert {"script", "img"} & set(tags.seen) == set()
    assert not [name for name in tags.attributes if name.startswith("on")]
    for chart in CHARTS.findall(html(page)):
        ElementTree.fromstring(chart)
    shown = Tags(MarkdownIt("commonmark").enable("table").render(markdown(page))).seen
    assert {"script", "img", "a", "em"} & set(shown) == set()
    assert shown.count("h1") == 1


def test_tables_in_the_markdown_have_as_many_cells_as_headers():
    shown = MarkdownIt("commonmark").enable("table").render(markdown(a_page()))
    for one in re.findall(r"<table>.*?</table>", shown, re.DOTALL):
        rows = [len(re.findall("<t[dh][ >]", row)) for row in one.split("</tr>")[:-1]]
        assert len(set(rows)) == 1


def test_the_largest_page_keeps_to_its_bounds():
    report, plan = a_report(), a_plan()
    plan.objective.problem = "&" * 2000
    report.ClearField("slices")
    for index in range(36):
        report.slices.add(dimension="label", value=f"{index}" + "&" * 60, row_count=5)
    text = "&" * 2000
    for field in (report.regressions, report.gains):
        del field[:]
        field.extend(an_example(text, text, base_answer=text, tuned_answer=text) for _ in range(8))
    curve = [(float(step), 1.0 / (1 + step)) for step in range(100_000)]
    names = ("loss", "eval_loss", "reward", "eval_reward", "kl")
    page = a_page(report, a_course(curves=dict.fromkeys(names, curve)), plan)
    assert len(html(page).encode()) < HTML_BYTES_MAX
    assert len(markdown(page).encode()) < MARKDOWN_BYTES_MAX
    assert html(page).count("<polyline") == 4
    assert len(re.search(r'points="([^"]*)"', html(page))[1].split()) == POINTS_MAX


def test_a_page_without_slices_labels_or_curves_leaves_those_parts_out():
    report = a_report()
    for name in ("slices", "confusion", "regressions", "gains"):
        report.ClearField(name)
    text = markdown(a_page(report, a_course(curves={})))
    assert "By kind of row" not in text
    assert "What got worse" not in text
    assert "How the training went" not in text


@pytest.mark.parametrize(
    "points",
    [
        [(1, 0.0)],
        [(1, 2.0), (2, 2.0)],
        [(1, -3.0), (5, 1e6)],
        [(7, 1e-9), (9, 2e-9)],
        [(1, -0.5), (5, 0.0)],
        [(1, -0.5), (5, -0.2)],
    ],
)
def test_curves_of_any_size_stay_in_their_frame(points):
    drawn = ElementTree.fromstring(lines("x", [Line("loss", points, True)], points[0][0], "here"))
    (line,) = [one for one in drawn if one.tag.endswith("polyline")]
    for pair in line.get("points").split():
        x, y = map(float, pair.split(","))
        assert 52 <= x <= 624
        assert 26 <= y <= 220


def test_scores_and_differences_reach_from_end_to_end():
    full = ElementTree.fromstring(
        bars("x", "score", [Bar("a" * 60, 1.0, 1.0, 1.0), Bar("b", 0.0, 0.0, 0.0)])
    )
    widths = [float(one.get("width")) for one in full if one.tag.endswith("rect")]
    assert widths == [330.0, 1.0]
    wide = differences("x", "score", [Bar("a", 1.0, 1.0, 1.0), Bar("b", -1.0, -1.0, -1.0)])
    across = [float(one.get("cx")) for one in ElementTree.fromstring(wide) if one.get("cx")]
    assert across == [520.0, 190.0]


def test_the_page_of_a_later_stage_compares_it_with_the_one_before():
    report = a_report()
    assert "Beside the stage before" not in markdown(a_page(report=report))
    before = report.previous_stage
    before.score, before.difference, before.interval_low, before.interval_high = (
        0.9,
        -0.1,
        -0.2,
        0.1,
    )
    before.verdict = report.VERDICT_CANNOT_TELL
    said = markdown(a_page(report=report)).replace("\\", "")
    words = "which scores 0.900: cannot tell, by -0.100 (-0.200 to +0.100)"
    assert f"Beside the stage before, {words}" in said
