import argparse
import math

import numpy as np
import pytest

from jaxgs import codec
from jaxgs.cli import encode, scoring
from tests.data.metric_pictures import pair

ASKED = argparse.Namespace(metrics=("psnr", "ssim"))


@pytest.mark.parametrize("alpha", ("none", "straight"))
def test_large_pictures_by_bands(monkeypatch, alpha):
  a, b = (np.asarray(x, np.float32) for x in pair(61, 40))
  if alpha != "none":
    fade = np.linspace(0.2, 1, 61, dtype=np.float32)[:, None, None]
    a, b = (
      np.concatenate([x, np.broadcast_to(fade, (61, 40, 1))], axis=-1)
      for x in (a, b)
    )
  one = codec.Map(channels=a.shape[2], alpha=alpha)
  whole = scoring.measure(ASKED, a, b, one).found
  monkeypatch.setattr(scoring, "_WHOLE_PX", 1000)
  # 25 places at a time: of SSIM 51, of PSNR 61.
  monkeypatch.setattr(scoring, "_BAND_PX", 25 * 40)
  banded = scoring.measure(ASKED, a, b, one).found
  np.testing.assert_allclose(banded["psnr_db"], whole["psnr_db"], atol=1e-4)
  np.testing.assert_allclose(banded["ssim"], whole["ssim"], atol=1e-5)
  assert whole["ssim"] < 0.99
  same = scoring.measure(ASKED, a, a, one).found
  assert same["psnr_db"] == math.inf
  assert abs(same["ssim"] - 1) < 1e-5


@pytest.mark.parametrize(("side", "count"), ((5792, 3), (5793, 2)))
def test_what_encode_tells_of_a_large_picture(capsys, side, count):
  header = codec.Header(
    height=side,
    width=side,
    channels=1,
    num_gaussians=1,
    lattice=codec.Lattice(3277, 0, 2133, 9830, (786,)),
  )
  asked = encode._metrics_for(header).metrics or scoring.DEFAULT_METRICS
  assert len(asked) == count
  line = capsys.readouterr().err
  assert line.startswith("jaxgs encode: ms_ssim is left out") == (count == 2)
