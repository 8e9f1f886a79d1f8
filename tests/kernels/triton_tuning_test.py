import jax
import pytest
from jaxgs.kernels import triton_tuning


def test_a_measured_gpu_has_its_own_blocks(monkeypatch):
  table = {
    "default": triton_tuning.Blocks(64, 8, 64),
    "NVIDIA X": triton_tuning.Blocks(32, 4, 32),
  }
  monkeypatch.setattr(triton_tuning, "_table", lambda: table)
  assert triton_tuning.blocks() == (64, 8, 64)
  table[jax.devices()[0].device_kind] = table["NVIDIA X"]
  assert triton_tuning.blocks() == (32, 4, 32)


@pytest.mark.parametrize("kind", ["default", "NVIDIA H200"])
def test_blocks_are_powers_of_two(kind):
  for size in triton_tuning._table()[kind]:
    assert size > 0
    assert size & (size - 1) == 0
