"""How `--nan` and `--profile` reach the images that are encoded."""

import imagecodecs
import numpy as np
import pytest
import tifffile

from jaxgs import cli
from jaxgs.cli import encode, encode_batch
from jaxgs.cli.report import CliError
from jaxgs.io import write_image
from jaxgs.job import Job


@pytest.fixture
def folder(tmp_path):
  y, x = np.mgrid[:16, :20]
  pixels = np.stack([x / 20, y / 16, 0 * x + 0.5], -1).astype(np.float32)
  icc = imagecodecs.cms_profile("adobergb")
  write_image(tmp_path / "adobe.png", pixels, icc=icc)
  pixels[3, 4] = np.nan
  tifffile.imwrite(tmp_path / "nan.tif", pixels, photometric="rgb")
  return tmp_path


@pytest.fixture
def images(monkeypatch):
  """The images that get as far as the fit."""
  found = {}

  def job_of(pixels, config, **options):
    raise CliError("not here")

  monkeypatch.setattr(Job, "of", job_of)
  read_image = encode_batch.read_image

  def read(path, **options):
    found[path] = read_image(path, **options)
    return found[path]

  for module in (encode, encode_batch):
    monkeypatch.setattr(module, "read_image", read)
  return found


def _run(command, folder, name, *options):
  if command == "encode":
    source, target = folder / name, folder / "a.jgs"
  else:
    source, target = folder, folder / "out"
  assert cli.main([command, str(source), str(target), *options]) == 1


@pytest.mark.parametrize("command", ("encode", "encode-batch"))
def test_profile(folder, images, command):
  name = str(folder / "adobe.png")
  _run(command, folder, "adobe.png")
  kept = images.pop(name)
  _run(command, folder, "adobe.png", "--profile", "srgb")
  converted = images.pop(name)
  assert (kept.icc is None, converted.icc is None) == (False, True)
  assert np.abs(kept.pixels - converted.pixels).max() > 0.05


@pytest.mark.parametrize("command", ("encode", "encode-batch"))
def test_nan(folder, images, capsys, command):
  name = str(folder / "nan.tif")
  _run(command, folder, "nan.tif")
  assert name not in images
  expected = "nan.tif: 1 of 320 pixels (first at x=4, y=3) are NaN or infinite"
  assert expected in capsys.readouterr().err
  _run(command, folder, "nan.tif", "--nan", "zero")
  np.testing.assert_array_equal(images[name].pixels[3, 4], [0, 0, 0])
