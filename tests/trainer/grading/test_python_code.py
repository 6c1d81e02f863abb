import pytest
from attune.spec.v1.grader_pb2 import Grader, PythonGrader

from services.common.errors import FailedPrecondition, InvalidArgument
from services.planner.plan.graders import UNIT_TESTS
from services.trainer.grading import python_code
from services.trainer.grading.build import build
from services.trainer.grading.sample import Fault, Sample
from services.trainer.sandbox.box import Limits, SandboxMissing
from services.trainer.sandbox.probe import require_sandbox


@pytest.fixture(autouse=True, scope="module")
def sandbox():
    try:
        require_sandbox()
    except SandboxMissing as error:
        pytest.skip(f"no sandbox can be made here: {error}")


def grade(source: str, *samples: Sample):
    return build(Grader(name="g", python=PythonGrader(source=source)))(samples)


def test_the_code_gets_answer_and_row_and_gives_a_score():
    source = (
        "import math\n"
        "def grade(sample, item):\n"
        "    assert set(sample) == {'output_text', 'output_tools', 'output_json'}\n"
        "    if sample['output_json'] is not None:\n"
        "        return sample['output_json']['a']\n"
        "    return math.sqrt(item['weight']) * (sample['output_text'] == item['reference'])\n"
    )
    item = {"weight": 0.25, "reference": "ä\ud800"}
    samples = [Sample("ä\ud800", item), Sample("b", item), Sample('{"a": 0.75}', item)]
    assert [each.score for each in grade(source, *samples)] == [0.5, 0.0, 0.75]


def test_libraries_of_the_environment_may_be_used():
    source = (
        "import numpy as np\ndef grade(sample, item):\n    return np.float32(np.mean([0, 1]))\n"
    )
    assert grade(source, Sample(""))[0].score == 0.5


def test_what_modules_and_graders_print_goes_nowhere():
    source = "import this\ndef grade(sample, item):\n    print('x' * 9999)\n    return 1\n"
    assert [each.score for each in grade(source, Sample(""), Sample(""))] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("return 1.5", "no number in [0, 1]"),
        ("return float('nan')", "no number in [0, 1]"),
        ("return '1'", "no number in [0, 1]"),
        ("return None", "TypeError"),
        ("import os; os._exit(0)", "its own exit"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("raise SystemExit", "SystemExit"),
        ("x = grade(sample, item)", "RecursionError"),
        ("return open('/etc/passwd').read()", "PermissionError"),
    ],
)
def test_code_that_fails_is_an_error_and_never_a_score(body, says):
    graded = grade(f"def grade(sample, item):\n    {body}\n", Sample("a"), Sample("b"))
    assert {each.score for each in graded} == {None}
    assert {each.fault for each in graded} == {Fault.PYTHON_RUNTIME}
    assert says in graded[0].error


def test_without_the_function_there_is_no_score():
    assert "no function grade" in grade("x = 1", Sample("a"))[0].error


def test_a_sample_that_takes_too_long_is_stopped_and_the_next_one_graded():
    source = (
        "import time\n"
        "def grade(sample, item):\n"
        "    while sample['output_text'] == 'endless': pass\n"
        "    if sample['output_text'] == 'asleep': time.sleep(60)\n"
        "    return 1\n"
    )
    grading = python_code.python_code("g", PythonGrader(source=source), Limits(time_s=0.3))
    graded = grading([Sample("endless"), Sample("asleep"), Sample("x")])
    assert [each.score for each in graded] == [None, None, 1.0]
    assert graded[0].fault == graded[1].fault == Fault.UNRESPONSIVE_REWARD
    assert "0.3 s" in graded[0].error


def test_nothing_of_one_sample_meets_the_next():
    source = (
        "import builtins, json, os\n"
        "seen = []\n"
        "def grade(sample, item):\n"
        "    clean = not seen and not os.listdir('.') and not hasattr(json, 'hacked')\n"
        "    clean = clean and not hasattr(builtins, 'hacked')\n"
        "    seen.append(1)\n"
        "    json.hacked = builtins.hacked = True\n"
        "    open('left', 'w').close()\n"
        "    os.makedirs('a/b/c')\n"
        "    os.symlink('/etc', 'link')\n"
        "    return float(clean)\n"
    )
    assert [each.score for each in grade(source, *[Sample("a")] * 3)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("locked", ["kept", "."])
def test_what_a_sample_locks_up_is_removed_all_the_same(locked):
    source = (
        "import os\n"
        "def grade(sample, item):\n"
        "    clean = not os.listdir('.')\n"
        f"    os.mkdir('kept'); open('kept/file', 'w').close(); os.chmod('{locked}', 0)\n"
        "    return float(clean)\n"
    )
    assert [each.score for each in grade(source, *[Sample("a")] * 4)] == [1.0] * 4


def test_a_sample_leaves_the_next_its_limits_and_its_interpreter():
    source = (
        "import os, resource\n"
        "def grade(sample, item):\n"
        "    clean = resource.getrlimit(resource.RLIMIT_FSIZE)[1] > 7\n"
        "    for number in range(1, 32): os.kill(1, number)\n"
        "    try: resource.prlimit(1, resource.RLIMIT_FSIZE, (7, 7))\n"
        "    except PermissionError: pass\n"
        "    return float(clean)\n"
    )
    assert [each.score for each in grade(source, *[Sample("a")] * 3)] == [1.0] * 3


@pytest.mark.parametrize("forged", ["NaN", "5.0", "-0.1", "true"])
def test_a_reply_that_code_writes_itself_is_no_score_outside_the_range(forged):
    source = (
        "import os\n"
        "def grade(sample, item):\n"
        f"    reply = b'{{\"score\": {forged}}}'\n"
        "    os.write(3, len(reply).to_bytes(4, 'big') + reply)\n"
        "    os._exit(0)\n"
    )
    (graded,) = grade(source, Sample("a"))
    assert graded.score is None
    assert graded.fault is Fault.PYTHON_RUNTIME


def test_one_interpreter_serves_a_batch():
    source = "import os\ndef grade(sample, item):\n    return os.getppid() == 1\n"
    assert [each.score for each in grade(source, *[Sample("a")] * 3)] == [1.0, 1.0, 1.0]


def test_a_sample_too_long_to_send_is_an_error():
    graded = grade("def grade(sample, item): return 1", Sample("x" * 17 * 1024 * 1024), Sample("a"))
    assert [each.fault for each in graded] == [Fault.TRUNCATED_OBSERVATION, None]


def test_the_planners_unit_tests_run_the_answers_code():
    item = {"reference": "def test_double():\n    assert double(2) == 4\n"}
    samples = [
        Sample("Here:\n```python\ndef double(x):\n    return 2 * x\n```", item),
        Sample("def double(x):\n    return x", item),
        Sample("def double(x):\n    while True: x = [x]", item),
        Sample("I cannot.", item),
    ]
    limits = Limits(time_s=2.0, memory_bytes=64 * 1024 * 1024)
    grading = python_code.python_code("g", PythonGrader(source=UNIT_TESTS), limits)
    scores = [each.score for each in grading(samples)]
    assert scores[:2] == [1.0, 0.0]
    assert scores[2] != 1.0
    assert scores[3] == 0.0


def test_source_that_is_no_python_is_refused():
    with pytest.raises(InvalidArgument, match="no Python"):
        grade("def grade(", Sample("a"))
    with pytest.raises(InvalidArgument, match="longer"):
        grade("#" * 300_000, Sample("a"))


def test_without_a_sandbox_code_is_refused(monkeypatch):
    def refuse() -> None:
        raise SandboxMissing("The kernel has no Landlock.")

    monkeypatch.setattr(python_code, "require_sandbox", refuse)
    with pytest.raises(FailedPrecondition, match="Landlock") as caught:
        grade("def grade(sample, item): return 1", Sample("a"))
    assert caught.value.reason == "NO_SANDBOX"
