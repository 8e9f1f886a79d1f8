"""Decoding without jax, and that it shows what the way through jax shows."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import jaxgs
from jaxgs import codec, native
from jaxgs.decompress import _to_levels, decompress, own_pixels, spec_of
from jaxgs.painters import uses_native
from tests.codec.conftest import make_splats

GOLDEN = pathlib.Path(__file__).parent / "golden" / "v1"
needs_library = pytest.mark.skipif(
  native.library() is None, reason=native.reason() or "library"
)


def read(name):
  return (GOLDEN / f"{name}.jgs").read_bytes()


@needs_library
@pytest.mark.parametrize(
  ("name", "scale"),
  (
    ("norm_rgb", 1.0),
    ("norm_rgb", 0.6),
    ("sum_gray", 1.7),
    ("axis_rgba", 1.0),
    ("one", 5.0),
    ("six_channels", 1.0),
  ),
)
def test_same_picture_as_through_jax(name, scale):
  data = read(name)
  got = decompress(data, scale=scale)
  want = decompress(data, scale=scale, backend="xla")
  assert got.dtype == want.dtype
  assert got.shape == want.shape
  assert name == "one" or np.ptp(got) > 50
  # One of the ten largest weights may be another where two are equal but for
  # rounding; elsewhere the last digit may round to the other side. Of 65535
  # levels many do.
  error = np.abs(got.astype(int) - want.astype(int))
  deep = got.dtype == np.uint16
  assert (error > (8 if deep else 1)).mean() < 1e-3
  assert (error > (2 if deep else 0)).mean() < (0.02 if deep else 0.005)


@needs_library
def test_window_of_the_picture():
  data = read("axis_rgba")
  whole = decompress(data, scale=2.0)
  part = decompress(data, scale=2.0, crop=(37, 5, 30, 21))
  assert np.ptp(part) > 50
  want = whole[5:26, 37:67].astype(int)
  assert np.abs(part.astype(int) - want).max() <= 1


@needs_library
def test_bands_make_one_picture(monkeypatch):
  data = read("norm_rgb")
  whole = decompress(data)
  # By name, `jaxgs.decompress` is the function.
  monkeypatch.setattr(sys.modules["jaxgs.decompress"], "_BAND_PX", 7 * 128)
  assert np.abs(decompress(data).astype(int) - whole).max() <= 1


# Who draws.


@needs_library
def test_choice(monkeypatch):
  monkeypatch.delenv("JAXGS_BACKEND", raising=False)
  assert uses_native()
  assert uses_native("cpu")
  assert not uses_native("xla")
  with jaxgs.use_backend("xla"):
    assert not uses_native()
    assert uses_native("cpu")
  monkeypatch.setenv("JAXGS_BACKEND", "reference")
  assert not uses_native()
  with jaxgs.use_backend("cpu"):
    assert uses_native()
  monkeypatch.setenv("JAXGS_NATIVE", "0")
  assert not uses_native("cpu")


def test_without_the_library(monkeypatch):
  data = read("norm_rgb")
  want = decompress(data, backend="xla")
  monkeypatch.setenv("JAXGS_NATIVE", "0")
  monkeypatch.delenv("JAXGS_BACKEND", raising=False)
  np.testing.assert_array_equal(decompress(data), want)
  with pytest.raises(NotImplementedError, match="JAXGS_NATIVE=0"):
    decompress(data, backend="cpu")


def test_unknown_backend():
  with pytest.raises(ValueError, match="'abacus'"):
    decompress(read("one"), backend="abacus")


@needs_library
def test_decoding_imports_no_jax(tmp_path):
  golden = GOLDEN / "norm_rgb.jgs"
  commands = [
    ["--help"],
    ["info", str(golden)],
    ["decode", str(golden), str(tmp_path / "a.png")],
  ]
  code = """
import sys
from jaxgs import cli
try:
  code = cli.main(sys.argv[1:])
except SystemExit as exit:
  code = exit.code
heavy = ("jax", "optax", "imageio", "PIL", "tqdm", "absl", "scipy")
print(code, [name for name in heavy if name in sys.modules])
"""
  environment = {k: v for k, v in os.environ.items() if k != "JAXGS_BACKEND"}
  for command in commands:
    out = subprocess.run(
      [sys.executable, "-c", code, *command],
      capture_output=True,
      text=True,
      check=True,
      env=environment,
    )
    assert out.stdout.splitlines()[-1] == "0 []", command
  assert (tmp_path / "a.png").exists()


# Limits.


@pytest.mark.parametrize("backend", ["auto", "xla"])
def test_limits(backend):
  header, symbols = make_splats(300, height=8192, width=8192, channels=1)
  zeros = np.zeros(300, np.int64)
  wide = symbols._replace(
    position=np.zeros((300, 2), np.int64),
    scale=np.stack([zeros + 180, zeros], -1),
    angle=zeros,
  )
  with pytest.raises(codec.BitstreamError, match=r"touch 7\.86e"):
    decompress(codec.encode(header, wide), backend=backend)
  data = read("six_channels")  # 500x700
  with pytest.raises(ValueError, match="over the limit of 500000 px"):
    decompress(data, backend=backend, max_pixels=500_000)
  with pytest.raises(ValueError, match="crop must lie within"):
    decompress(data, backend=backend, crop=(400, 0, 101, 5))
  with pytest.raises(ValueError, match="scale must be positive"):
    decompress(data, backend=backend, scale=float("nan"))


def test_more_pixels_may_have_more_pairs(monkeypatch):
  header, _ = codec.decode(read("six_channels"))
  # Over four channels, pixels count more.
  assert own_pixels(header) == 500 * 700 * 6 // 4
  data = read("norm_rgb")
  picture = decompress(data)
  pixels = picture.shape[0] * picture.shape[1]
  module = sys.modules["jaxgs.decompress"]
  monkeypatch.setattr(module, "MAX_PAIRS", 40)
  with pytest.raises(codec.BitstreamError, match="over the limit of 40:"):
    decompress(data)
  # As if it were a thousand times the usual largest picture.
  monkeypatch.setattr(module, "MAX_PIXELS", pixels // 1000)
  np.testing.assert_array_equal(decompress(data), picture)


def test_settings_that_no_backend_has():
  header, symbols = make_splats(5)
  for change in ({"cutoff": 81 * 256}, {"epsilon": 1 << 25}):
    asks = dataclasses.replace(header, **change)
    with pytest.raises(codec.BitstreamError, match=next(iter(change))):
      spec_of(asks)
    with pytest.raises(codec.BitstreamError, match="section header"):
      decompress(codec.encode(asks, symbols))


def test_values_to_levels():
  nan, inf = np.nan, np.inf
  values = np.array([nan, -inf, -1, 0, 0.4999 / 255, 0.5001 / 255, 0.5, 9, inf])
  values = np.tile(values.astype(np.float32)[:, None, None], (1, 9000, 1))
  levels = [0, 0, 0, 0, 0, 1, 128, 255, 255]
  out = np.zeros(values.shape, np.uint8)
  _to_levels(values, 1024, out)
  np.testing.assert_array_equal(out[:, 0, 0], levels)
  np.testing.assert_array_equal(out, out[:, :1].repeat(9000, 1))
  out = np.zeros(values.shape, np.uint16)
  _to_levels(values, 512, out)
  assert out[6, 0, 0] == 16384  # A gamma of 1/2: squares.
