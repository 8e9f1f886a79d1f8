"""`jaxgs saliency`, and --saliency of the commands that encode."""

import re
import sys

import numpy as np
import pytest

from jaxgs import cli
from jaxgs.cli import encode, encode_batch
from jaxgs.cli import saliency as command
from jaxgs.cli.arguments import make_parser
from jaxgs.config import preset
from jaxgs.io import read_image, write_image
from jaxgs.job import Job
from jaxgs.saliency import spectral_residual
from jaxgs.stream import compress_jobs

ONE = ("--num_gaussians", "12", "--steps", "1")


def _picture(height=20, width=24):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 3) for k in range(3)]
  return np.stack(waves, -1).astype(np.float32)


@pytest.fixture
def rgb(tmp_path):
  write_image(tmp_path / "rgb.png", _picture())
  return str(tmp_path / "rgb.png")


def _refusal(capsys, *argv):
  """The line of a command that does not work."""
  assert cli.main([str(arg) for arg in argv]) == 1
  out, err = capsys.readouterr()
  assert out == ""
  assert re.fullmatch(r"jaxgs [\w-]+: error: .*\n", err)
  return err


def test_writes_the_map(capsys, tmp_path, rgb):
  assert cli.main(["saliency", rgb, str(tmp_path / "map.png")]) == 0
  assert "map.png: 24x20 pixels" in capsys.readouterr().out
  image = read_image(tmp_path / "map.png")
  assert image.pixels.shape == (20, 24, 1)
  expected = spectral_residual(read_image(rgb).pixels)
  np.testing.assert_allclose(image.pixels[..., 0], expected, atol=0.51 / 255)


def test_refusals(capsys, monkeypatch, tmp_path, rgb):
  out, jgs = str(tmp_path / "map.png"), str(tmp_path / "a.jgs")
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  assert "unknown suffix" in _refusal(capsys, "saliency", rgb, "map.txt")
  assert "is the input" in _refusal(capsys, "saliency", rgb, rgb)
  monkeypatch.setattr(command, "map_source", None)  # Before the work.
  hdr = str(tmp_path / "map.hdr")
  assert "stores linear light" in _refusal(capsys, "saliency", rgb, hdr)
  monkeypatch.undo()
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  black = str(tmp_path / "black.png")
  write_image(black, np.zeros((3, 4, 1), np.float32))
  single = ("encode", rgb, jgs, *ONE, "--saliency")
  batch = ("encode-batch", tmp_path, tmp_path / "out", *ONE, "--saliency")
  for argv in (single, batch):
    assert "black.png: a saliency map" in _refusal(capsys, *argv, black)
    assert "no.png: no such file" in _refusal(capsys, *argv, "no.png")
  pytest.importorskip("flax", reason="EML-Net needs flax")
  for argv in (single, batch, ("saliency", rgb, out, "--model")):
    line = _refusal(capsys, *argv, "emlnet")
    assert f"{tmp_path}/emlnet.npz: no such file" in line
    assert "$JAXGS_WEIGHTS or ~/.cache/jaxgs/weights" in line
  assert not (tmp_path / "a.jgs").exists()


def test_says_what_to_install(capsys, monkeypatch, tmp_path, rgb):
  monkeypatch.setitem(sys.modules, "flax", None)
  monkeypatch.delitem(sys.modules, "jaxgs.saliency.emlnet", raising=False)
  line = _refusal(
    capsys, "saliency", rgb, tmp_path / "map.png", "--model", "emlnet"
  )
  assert "emlnet needs flax: pip install 'jaxgs[networks]'" in line


def test_masks_of_each_argument(tmp_path):
  pixels = _picture()
  assert command.mask_source(None)(pixels) is None
  spectral = command.mask_source("spectral")(pixels)
  expected = 0.2 + 0.8 * np.asarray(spectral_residual(pixels))
  np.testing.assert_allclose(spectral, expected, atol=1e-5)
  left = np.zeros((5, 8, 1), np.float32)
  left[:, :4] = 0.5
  write_image(tmp_path / "left.png", left)
  of_file = command.mask_source(str(tmp_path / "left.png"))(pixels)
  assert of_file.shape == (20, 24)
  np.testing.assert_allclose(of_file[:, :10], 1.0)
  np.testing.assert_allclose(of_file[:, 14:], 0.2)


def test_encode_passes_the_mask_on(capsys, monkeypatch, tmp_path, rgb):
  seen = []

  def compress(args, job, watch):
    seen.append(job.mask)
    raise KeyboardInterrupt

  monkeypatch.setattr(encode, "_compress", compress)
  for options in ((), ("--saliency", "spectral")):
    argv = ["encode", rgb, str(tmp_path / "a.jgs"), *ONE, *options]
    assert cli.main(argv) == 130
  none, mask = seen
  assert none is None
  expected = command.mask_source("spectral")(read_image(rgb).pixels)
  np.testing.assert_array_equal(mask, expected)


def test_encode_batch_passes_the_mask_on(tmp_path, rgb):
  argv = ("encode-batch", "in", "out", "--num_gaussians", "5", "--steps", "1")
  args = make_parser().parse_args(argv)
  task = encode_batch._Task(rgb, str(tmp_path / "a.jgs"))
  mask_of = command.mask_source("spectral")
  job = encode_batch._load(args, mask_of, task)
  np.testing.assert_array_equal(job.mask, mask_of(job.image))


def test_jobs_are_fitted_with_their_masks(monkeypatch):
  """Those of one program may have one, or none."""
  config = preset("fast", num_gaussians=5, num_steps=1)
  mask = np.full((20, 24), 0.25, np.float32)
  jobs = [
    ("with", Job.of(_picture(), config, mask=mask)),
    ("without", Job.of(_picture(), config)),
  ]
  seen = []

  def fit_together(keys, batch, config, **options):
    seen.append(batch.masks)
    raise ValueError("enough")

  monkeypatch.setattr("jaxgs.stream.fit_together", fit_together)
  list(compress_jobs(jobs))
  list(compress_jobs(jobs[1:]))
  both, none = seen
  assert none is None
  np.testing.assert_array_equal(both, np.stack([mask, np.ones_like(mask)]))
