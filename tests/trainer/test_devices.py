from types import SimpleNamespace

import psutil
import pynvml
import pytest

from services.trainer import devices
from services.trainer.devices import offered, read_gpus


@pytest.mark.parametrize(
    ("name", "mebibytes", "profile"),
    [
        ("NVIDIA L4", 23034, "l4-24gb"),
        ("NVIDIA A10G", 23028, "a10g-24gb"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx4090-24gb"),
        ("NVIDIA L40S", 46068, "l40s-48gb"),
        ("NVIDIA RTX A6000", 49140, "rtxa6000-48gb"),
        ("NVIDIA A100-SXM4-40GB", 40960, "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", 81920, "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100-80gb"),
        ("NVIDIA H200", 143771, "h200-141gb"),
        ("NVIDIA B200", 183359, "b200-180gb"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, "rtxpro6000-96gb"),
    ],
)
def test_a_card_gets_the_profile_of_the_catalogue(name, mebibytes, profile):
    (device,) = read_gpus([(name, mebibytes * 1024**2)])
    assert device.profile == profile
    assert 0 < device.memory_bytes < mebibytes * 1024**2


def test_every_card_of_the_driver_is_a_device(monkeypatch):
    ended = []
    driver = SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda card: ("NVIDIA L4", b"NVIDIA L4")[card],
        nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(total=23034 * 1024**2),
        nvmlShutdown=lambda: ended.append(True),
    )
    monkeypatch.setattr(devices, "pynvml", driver)
    assert [one.profile for one in offered("cuda")] == ["l4-24gb"] * 2
    driver.nvmlDeviceGetName = lost
    assert [one.profile for one in offered("cuda")] == ["cpu"]
    assert len(ended) == 2


def lost(card):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


def test_a_machine_without_a_driver_has_no_cards():
    assert [one.profile for one in offered("cuda")] == ["cpu"]


def test_without_a_gpu_half_of_the_memory_is_offered():
    assert read_gpus([]) == []
    (device,) = offered("cpu")
    assert device.profile == "cpu"
    assert device.memory_bytes == int(psutil.virtual_memory().total * 0.5)


def test_a_gpu_is_used_only_when_asked_for(monkeypatch, caplog):
    monkeypatch.setattr(devices, "_cards", lambda: [("NVIDIA L4", 23034 * 1024**2)])
    with caplog.at_level("INFO"):
        assert [one.profile for one in offered("cpu")] == ["cpu"]
    assert "found l4-24gb" in caplog.text
    assert [one.profile for one in offered("cuda")] == ["l4-24gb"]
