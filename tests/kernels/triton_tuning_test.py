import pytest
from jaxgs.kernels.rasterize import triton_tuning


def test_a_measured_gpu_has_its_own_blocks(monkeypatch):
  table = {
    "default": triton_tuning.Blocks(64),
    "NVIDIA X": triton_tuning.Blocks(32),
  }
  monkeypatch.setattr(triton_tuning, "_table", lambda: table)
  assert triton_tuning.blocks("NVIDIA X") == (32,)
  assert triton_tuning.blocks("cpu") == (64,)


@pytest.mark.parametrize("kind", ["default", "NVIDIA H200"])
def test_blocks_are_powers_of_two(kind):
  for size in triton_tuning._table()[kind]:
    assert size > 0
    assert size & (size - 1) == 0
