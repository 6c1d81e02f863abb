import pytest
from attune.spec.v1.grader_pb2 import Grader, MathGrader

from services.trainer.grading import mathematics
from services.trainer.grading.build import build
from services.trainer.grading.mathematics import find_answer
from services.trainer.grading.sample import Fault, Sample

GRADER = Grader(name="g", math=MathGrader(reference="{{item.reference}}"))


def graded(answer: str, reference: str):
    return build(GRADER)([Sample(answer, {"reference": reference})])[0]


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("42", "42.0"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        ("1/2", r"\dfrac12"),
        ("Let me see. The answer is 1/2.", r"\frac{1}{2}"),
        ("#### 1,234", "1234"),
        (r"$2\sqrt{3}$", "sqrt(12)"),
        (r"\boxed{\sqrt[3]{8}}", "2"),
        ("x^2 + 2x + 1", "(x+1)^2"),
        ("2x*y", "y x 2"),
        ("x = 5", "5"),
        ("y=2x+1", "2x - y + 1 = 0"),
        (r"\{1, 2, 3\}", r"\{3, 1, 2\}"),
        ("1, 2", "2, 1"),
        (r"(1, \frac{1}{2})", "(1, 0.5)"),
        ("[0, 1)", "[0, 1)"),
        (r"(-\infty, 2] \cup [3, \infty)", r"[3,\infty)\cup(-\infty,2]"),
        ("50%", r"\frac{1}{2}"),
        (r"2\pi", "2*pi"),
        (r"\pi r^2", "r^2 pi"),
        ("90^\\circ", "90"),
        (r"\sin^2 x + \cos^2 x", "1"),
        (r"\log_2 8", "3"),
        (r"5!", "120"),
        (r"|{-3}|", "3"),
        ("x > 3", "3 < x"),
        (r"1\frac{1}{2}", "1.5"),
        (r"\text{No}", "no"),
        (r"\boxed{12\text{ cm}}", "12"),
        ("3 + 4i", "4i+3"),
        ("So she has 18 eggs left.", "18"),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
        ("e^{2}", "e^2"),
        ("-\u22122", "2"),
        (r"\left(\frac{3}{4}\right)^2", "9/16"),
        ("2x + 2y = 4", "x + y = 2"),
        ("(1 + i)^2", "2i"),
        (r"e^{i\pi}", "-1"),
        (r"2\mathrm{i} + x", "x + 2i"),
        ("x = 1 or x = 2", "1, 2"),
        ("x**2", "x^2"),
        ("e^-2", "e^{-2}"),
        ("sqrt(2*(1+1))", "2"),
        ("\u221a3", r"\sqrt{3}"),
        ("(-oo, 2]", r"(-\infty, 2]"),
        ("sin(x)", r"\sin x"),
        ("abs(-3)", "3"),
        ("1 1/2", "1.5"),
        ("12 cm", "12"),
        (r"\$5", "5"),
        (r"\int_0^1 x^2 dx", r"\frac{1}{3}"),
        (r"\begin{pmatrix} 1 \\ 2/4 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 0.5 \end{pmatrix}"),
        ("10^{1000}", "10^{999} * 10"),
    ],
)
def test_answers_that_mean_the_same_are_right(answer, reference):
    assert graded(answer, reference).score == 1.0


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("41", "42"),
        ("0.333", "1/3"),
        ("(1, 2)", "(2, 1)"),
        ("(0, 1)", "[0, 1)"),
        (r"\{1, 2\}", r"\{1, 2, 3\}"),
        ("x + 1", "x + 2"),
        ("x < 3", "x > 3"),
        ("x <= 3", "x < 3"),
        ("y = 2x", "y = 3x"),
        ("I do not know the answer at all", "42"),
        ("", "42"),
        ("yes", "no"),
        (r"\boxed{", "42"),
        ("(" * 500, "42"),
        ("9^{9^{9^9}}", "42"),
        ("((9^{999})^{999})^{999}", "42"),
        ("x^{9^{9^9}}", "x"),
        ("((5!)!)!", "42"),
        (r"\frac{1}{1+" * 40 + "1" + "}" * 40, "42"),
        ("|" * 500, "42"),
        (r"@@ \frac{1}{2} @@", "1/2"),
        ("3t", "3s"),
        ("0.0000001", r"\frac{0}{1}"),
        ("2x < 6", "x < 3"),  # An inequality is asked to be solved.
        ("__import__('os').system('true')", "42"),
        ("1/0", "42"),
        ("x" * 2000, "42"),
    ],
)
def test_answers_that_mean_something_else_are_wrong(answer, reference):
    assert graded(answer, reference).score == 0.0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{1}, then \boxed{\frac{a}{b}}.", r"\frac{a}{b}"),
        ("3 + 4 = 7\n#### 7", "7"),
        ("The final answer is: $12$.", "12"),
        ("We get $x=1$ and so $y=2$", "y=2"),
        ("She pays 3 dollars and keeps 1,250.50 dollars.", "1250.50"),
        ("no number in this text", ""),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
    ],
)
def test_the_answer_is_found(text, answer):
    assert find_answer(text) == answer


def test_a_row_without_an_answer_is_an_error():
    assert graded("42", " ").fault == Fault.SAMPLE_PARSE


def test_a_comparison_without_end_is_an_error_and_the_next_one_is_made(monkeypatch):
    monkeypatch.setattr(mathematics, "COMPARE_TIMEOUT_S", 0.0)
    late = graded("x + x", "2x")
    assert (late.score, late.fault) == (None, Fault.UNRESPONSIVE_REWARD)
    monkeypatch.undo()
    assert graded("x + x", "2x").score == 1.0


def test_what_keeps_the_process_busy_is_stopped(monkeypatch):
    monkeypatch.setattr(mathematics, "COMPARE_TIMEOUT_S", 0.5)
    assert graded(r"\binom{999999999}{499999999}", "42").fault == Fault.UNRESPONSIVE_REWARD
    monkeypatch.undo()
    assert graded(r"\binom{9}{4}", "126").score == 1.0


def test_units_follow_a_number_where_none_is_expected():
    assert graded("12 cm", "12").score == 1.0
    assert graded("12 t", "12 s").score == 0.0
