import json
import sys

import numpy as np
import pytest

from experiments.torch_weights import rename
from jaxgs import cli, metrics
from jaxgs.io import read_image, write_image
from tests.data import make_lpips
from tests.data.metric_pictures import pair


@pytest.fixture
def files(tmp_path, monkeypatch):
  """Two pictures, and no weights."""
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.delenv("JAXGS_WEIGHTS", raising=False)
  paths = []
  for name, pixels in zip("ab", pair(33, 31), strict=True):
    paths.append(tmp_path / f"{name}.png")
    write_image(paths[-1], pixels)
  return paths


@pytest.fixture
def weights(tmp_path, monkeypatch):
  folder = tmp_path / "weights"
  folder.mkdir()
  np.savez(folder / "lpips_alex.npz", **rename(*make_lpips.weights("alex")))
  monkeypatch.setenv("JAXGS_WEIGHTS", str(folder))


def _run(capsys, *argv):
  code = cli.main(["eval", *(str(arg) for arg in argv)])
  return code, *capsys.readouterr()


def _refusal(capsys, *argv):
  try:
    code, out, err = _run(capsys, *argv)
  except SystemExit as exit:
    code, (out, err) = exit.code, capsys.readouterr()
  assert code != 0
  assert out == ""
  assert err.startswith("jaxgs eval: error: ")
  assert err.count("\n") == 1
  return err


def test_all_without_weights(capsys, files):
  code, out, err = _run(capsys, *files, "--metrics=all", "--json")
  assert code == 0
  facts = json.loads(out)
  names = ["bytes", "bpp", "psnr_db", "ssim", "ms_ssim", "flip"]
  assert list(facts) == names
  assert err.startswith("jaxgs eval: lpips is left out: no lpips_alex.npz")
  assert err.count("\n") == 1
  assert facts["bytes"] == files[1].stat().st_size
  a, b = (read_image(path).pixels for path in files)
  for name, key in (("psnr", "psnr_db"), ("ms_ssim",) * 2, ("flip",) * 2):
    np.testing.assert_allclose(facts[key], getattr(metrics, name)(a, b), 1e-3)
  line = _refusal(capsys, *files, "--metrics=lpips")
  assert "no lpips_alex.npz" in line
  assert "$JAXGS_WEIGHTS" in line
  code, out, err = _run(capsys, *files)
  assert (code, err) == (0, "")
  assert out.startswith(f"PSNR {facts['psnr_db']:.2f} dB, SSIM ")
  assert "FLIP" not in out


def test_all_with_weights(capsys, files, weights):
  code, out, err = _run(capsys, *files, "--metrics=all")
  assert (code, err) == (0, "")
  words = [part.split()[0] for part in out.split(", ")]
  assert words[:-1] == ["PSNR", "SSIM", "MS-SSIM", "FLIP", "LPIPS"]
  a, b = (read_image(path).pixels for path in files)
  value = metrics.lpips(a, b, weights=metrics.load_lpips_weights())
  assert f"LPIPS {value:.4f}, " in out
  # In the order that is asked for.
  out = _run(capsys, *files, "--metrics=lpips,psnr,lpips")[1]
  assert out.index("LPIPS") < out.index("PSNR")
  line = _refusal(capsys, *files, "--metrics=lpips", "--lpips_network=vgg")
  assert "lpips_vgg.npz" in line


def test_pictures_that_a_metric_cannot_take(capsys, tmp_path, weights):
  path = tmp_path / "small.png"
  write_image(path, pair(30, 9)[0])
  code, out, err = _run(capsys, path, path, "--metrics=all", "--json")
  assert code == 0
  facts = json.loads(out)
  # Fewer scales, and no infinity in JSON.
  np.testing.assert_allclose(facts["ms_ssim"], 1, atol=1e-5)
  assert (facts["psnr_db"], facts["flip"]) == (None, 0)
  assert "left out: LPIPS (alex) takes pictures from 31x31 pixels" in err
  line = _refusal(capsys, path, path, "--metrics=lpips")
  assert "lpips: LPIPS (alex) takes pictures from 31x31" in line


def test_metrics_of_values_up_to_1_refuse_linear_light(capsys, tmp_path):
  path = tmp_path / "light.tif"
  write_image(path, 3 * pair(30, 9)[0], sample="float")
  for name in ("ssim", "ms_ssim", "lpips"):
    line = _refusal(capsys, path, path, f"--metrics=psnr,{name}")
    assert f"{name}: takes values from 0 to 1, not linear light" in line
  code, out, err = _run(capsys, path, path, "--metrics=all", "--json")
  assert code == 0
  assert list(json.loads(out))[2:] == ["log_psnr_db", "pu_psnr_db", "flip"]
  assert err.count("is left out: takes values from 0 to 1") == 3
  code, out, err = _run(capsys, path, path)
  assert (code, err) == (0, "")
  assert "SSIM" not in out


def test_absolute_error_map(capsys, tmp_path, files):
  out = tmp_path / "map.png"
  options = ("--error_map_kind=absolute", "--error_gain=2")
  argv = (*files, "--metrics=psnr", f"--error_map={out}", *options)
  assert _run(capsys, *argv)[0] == 0
  a, b = (read_image(path).pixels for path in files)
  expected = np.clip(2 * np.abs(a - b), 0, 1)
  assert (expected < 1).mean() > 0.5
  np.testing.assert_allclose(read_image(out).pixels, expected, atol=0.51 / 255)


def test_flip_error_map(capsys, tmp_path, files):
  out = tmp_path / "map.png"
  argv = (*files, "--metrics=psnr", f"--error_map={out}")
  assert _run(capsys, *argv, "--pixels_per_degree=30")[0] == 0
  colored = read_image(out).pixels
  a, b = (read_image(path).pixels for path in files)
  error = np.asarray(metrics.flip_map(a, b, pixels_per_degree=30))
  # The colours get brighter with the error: their order is the map's.
  order = np.argsort(error, axis=None)
  brightness = colored.sum(-1).reshape(-1)[order]
  assert np.diff(brightness).min() > -0.02
  assert np.ptp(brightness) > 1
  # From black to red.
  darkest, *_, brightest = colored.reshape(-1, 3)[order]
  assert darkest.max() < 0.3
  assert brightest[0] > brightest[2]


@pytest.mark.parametrize(
  ("option", "reason"),
  (
    ("--metrics=psnr,vmaf", "must be all, or some of psnr,ssim,ms_ssim,"),
    ("--metrics=", "got ''"),
    ("--metrics=all,psnr", "got 'all,psnr'"),
    ("--lpips_network=squeeze", "invalid choice: 'squeeze'"),
    ("--pixels_per_degree=0", "must be 1 to 1000, got 0"),
    ("--error_map=map.gif", "unknown suffix '.gif'"),
    ("--error_map=missing/map.png", "no such folder"),
  ),
)
def test_refusals(capsys, files, option, reason):
  assert reason in _refusal(capsys, *files, option)


def test_error_map_is_not_an_input(capsys, files):
  for path in files:
    before = path.read_bytes()
    line = _refusal(capsys, *files, f"--error_map={path}")
    assert "is the input" in line
    assert path.read_bytes() == before


def test_missing_matplotlib_is_one_line(capsys, tmp_path, files, monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  out = tmp_path / "map.png"
  line = _refusal(capsys, *files, f"--error_map={out}")
  assert "pip install 'jaxgs[plots]'" in line
  assert not out.exists()
