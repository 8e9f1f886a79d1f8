import json

import jax.numpy as jnp
import numpy as np
import pytest

from configs import super_resolution as config_file
from experiments import enlargement
from jaxgs.io import read_image, write_image
from tests.data.metric_pictures import pair


def _settings(**changes):
  config = config_file.get_config()
  config.update({"num_steps": 60, "factors": (2,), **changes})
  return config.to_dict()


def test_results(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.delenv("JAXGS_WEIGHTS", raising=False)
  y, x = np.mgrid[:37, :60] / 60
  waves = [0.5 + 0.4 * np.sin(6 * (x + k * y)) for k in (1, 2, 3)]
  folder = tmp_path / "images"
  folder.mkdir()
  write_image(folder / "waves.png", np.stack(waves, -1).astype(np.float32))
  out = tmp_path / "out"
  rows = list(enlargement.run(_settings(crop_px=33), folder, out))
  assert [row["method"] for row in rows] == ["bicubic", "lanczos", "gaussians"]
  for row in rows:
    assert (row["image"], row["factor"]) == ("waves", 2)
    assert row["ssim"] > 0.8
    assert "lpips" not in row
  # A shift by half a pixel would cost the Gaussians more.
  assert rows[2]["psnr_db"] > 29
  assert rows[0]["psnr_db"] > 35
  lines = (out / "results.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in lines] == rows
  # The sides are whole multiples of the factor.
  picture = read_image(out / "pictures/waves-x2.png").pixels
  assert picture.shape == (32, 4 * 32, 3)
  full, bicubic, _, drawn = np.split(picture, 4, axis=1)
  # The crop lies in the middle.
  original = read_image(folder / "waves.png").pixels[2:34, 13:45]
  np.testing.assert_array_equal(full, original)
  for method, row in ((bicubic, rows[0]), (drawn, rows[2])):
    psnr_db = -10 * np.log10(np.mean(np.square(method - full)))
    np.testing.assert_allclose(row["psnr_db"], psnr_db, atol=1e-3)


def test_flat_picture_has_no_infinite_psnr(monkeypatch):
  flat = np.full((8, 8, 3), 128, np.uint8)
  same = jnp.asarray(flat, jnp.float32) / 255.0
  monkeypatch.setattr(enlargement, "enlarge", lambda *arguments: {"same": same})
  ((rows, _),) = enlargement.measure(flat, _settings(), None)
  assert rows[0]["psnr_db"] is None


@pytest.mark.parametrize("factor", (0, 9))
def test_bad_factor(factor):
  picture = np.uint8(255 * pair(8, 12)[0])
  with pytest.raises(ValueError, match=f"factors must be 1 to .*got {factor}"):
    list(enlargement.measure(picture, _settings(factors=(factor,)), None))
