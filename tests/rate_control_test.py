"""The searches, against a codec whose size and quality are formulas."""

import math

import numpy as np
import pytest

import jaxgs
from jaxgs import rate_control
from jaxgs.rate_control import TargetError, compress_to_psnr, compress_to_size

IMAGE = np.zeros((400, 500, 3), np.float32)
CONFIG = jaxgs.preset("fast", num_gaussians=2500)


@pytest.fixture(name="tried")
def _tried(monkeypatch):
  """Files whose bytes spell N and whose PSNR follows from N and the steps."""
  tried = []

  def compress(job, **options):
    del options
    config = job.config
    n = config.fit.num_gaussians
    # Not smooth: fits differ by some hundredths of a dB.
    wobble = 0.03 * math.sin(7.0 * n)
    db = 18.0 + 2.6 * math.log2(n / 100) + wobble
    db -= 0.6 * config.quant.coarseness**2
    tried.append((n, db))
    return b"x" * round(n * (52 - 7 * math.log2(config.quant.coarseness)) / 8)

  monkeypatch.setattr(rate_control, "compress_job", compress)
  monkeypatch.setattr(rate_control.codec, "decode", lambda _: (None, None))
  monkeypatch.setattr(rate_control, "own_pixels", lambda _: 1)
  monkeypatch.setattr(rate_control, "draw_maps", lambda *_, **__: None)
  monkeypatch.setattr(rate_control.Job, "psnr_db", lambda *_: tried[-1][1])
  return tried


@pytest.mark.parametrize("target", [14.0, 20.0, 27.3, 31.0, 37.5])
def test_quality_is_reached_with_few_bytes_more(tried, target):
  data = compress_to_psnr(IMAGE, target, CONFIG)
  _, db = next(t for t in tried if t[0] == round(8 * len(data) / 52))
  assert target <= db <= target + 0.26
  # The least N that has the quality, wobble aside.
  spare = 2 ** ((db - target) / 2.6)
  assert spare < 1.1
  assert len(tried) <= 7


def test_quality_out_of_reach(tried):
  with pytest.raises(TargetError, match=r"cannot reach 70\.00 dB: .*25000"):
    compress_to_psnr(IMAGE, 70.0, CONFIG)
  assert max(n for n, _ in tried) == 25000


def test_size_is_reached_by_the_second_try(monkeypatch):
  sizes = []

  class State:
    gaussians = None
    active, mse = np.ones(1000, bool), np.float32(1e-3)

  class Codec(rate_control.Job):
    def encode(self, gaussians, active, lattice):
      del gaussians, active
      bits = 52 - 8 * math.log2(lattice.scale_step / 4784)
      # The first call of a fit is before, the others after it settled.
      bits *= 0.94 if sizes and sizes[-1] == "fit" else 1.0
      return b"x" * round(self.config.fit.num_gaussians * bits / 8)

  def fit_image(*_, lattice=None, **__):
    sizes.append("start" if lattice is None else "fit")
    return State()

  monkeypatch.setattr(rate_control, "Job", Codec)
  monkeypatch.setattr(rate_control, "fit_image", fit_image)
  for size in (3000, 12000, 100000):
    sizes.clear()
    data = compress_to_size(IMAGE, size, CONFIG)
    assert abs(len(data) / size - 1) <= 0.02
    assert sizes.count("start") == 1
    assert sizes.count("fit") <= 2
  with pytest.raises(TargetError, match="cannot reach 900000 bytes"):
    compress_to_size(IMAGE, 900000, CONFIG)
