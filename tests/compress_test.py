import dataclasses
import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgs
from jaxgs import checkpoint, codec
from jaxgs.config import CompressConfig, FieldBits, QuantConfig, RasterSpec
from jaxgs.job import Job
from tests.pictures import blobs

CONFIG = jaxgs.preset("fast", num_gaussians=30, num_steps=40)


def pixels(seed=0, dtype=np.uint8):
  peak = np.iinfo(dtype).max
  return np.rint(np.asarray(blobs(seed)) * peak).astype(dtype)


def psnr_db(a, b):
  peak = np.iinfo(a.dtype).max
  error = (a.astype(float) - b.astype(float)) / peak
  return -10 * np.log10(np.mean(error**2))


def test_there_and_back():
  data = jaxgs.compress(pixels(), CONFIG)
  out = jaxgs.decompress(data)
  assert out.dtype == np.uint8
  assert psnr_db(out, pixels()) > 19  # 40 steps.
  header, _ = jaxgs.decode(data)
  assert (header.height, header.width, header.channels) == (24, 32, 3)
  assert header.num_gaussians == 30


def test_same_key_same_file():
  first = jaxgs.compress(pixels(), CONFIG, key=jax.random.key(1))
  assert jaxgs.compress(pixels(), CONFIG, key=jax.random.key(1)) == first
  assert jaxgs.compress(pixels(), CONFIG, key=jax.random.key(2)) != first


def test_backends_agree_within_a_level():
  data = jaxgs.compress(pixels(), CONFIG)
  a = jaxgs.decompress(data, backend="reference").astype(int)
  b = jaxgs.decompress(data, backend="xla").astype(int)
  assert np.abs(a - b).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_channels_and_sixteen_bits(channels):
  image = np.concatenate([pixels(s, np.uint16) for s in (0, 1)], -1)
  image = image[..., :channels]
  data = jaxgs.compress(image, CONFIG, alpha="straight")
  header, _ = jaxgs.decode(data)
  assert header.bit_depth == 16
  assert header.has_alpha == (channels in (2, 4))
  out = jaxgs.decompress(data)
  assert out.shape == image.shape
  assert out.dtype == np.uint16
  assert psnr_db(out, image) > 18


def test_decoding_rounds():
  """A flat value between two levels comes back as the nearer."""
  for level in (0.4, 200.4, 200.6, 254.6):
    step = round(level / 255 * 65536)
    header = codec.Header(
      height=3,
      width=3,
      channels=1,
      num_gaussians=1,
      lattice=codec.Lattice(65536, 768, 256, 65536, (step,)),
    )
    splat = codec.Symbols(
      *(np.int32(x) for x in ([[0, 0]], [[9, 0]], [0], [0], [[1]]))
    )
    out = jaxgs.decompress(codec.encode(header, splat))
    np.testing.assert_array_equal(out, round(level))


def test_gamma_is_undone():
  config = dataclasses.replace(CONFIG, gamma=2.2)
  data = jaxgs.compress(pixels(), config)
  assert (
    abs(
      psnr_db(jaxgs.decompress(data), pixels())
      - psnr_db(jaxgs.decompress(jaxgs.compress(pixels(), CONFIG)), pixels())
    )
    < 4
  )


def test_sum_blend_stores_no_weights():
  fit = dataclasses.replace(
    CONFIG.fit, raster=RasterSpec(blend="sum"), use_weight=False
  )
  data = jaxgs.compress(pixels(), dataclasses.replace(CONFIG, fit=fit))
  assert codec.section_sizes(data)["weight"] == 0
  assert psnr_db(jaxgs.decompress(data), pixels()) > 12


def test_bits_per_field():
  quant = QuantConfig(bits=FieldBits(weight=3, feature=5))
  data = jaxgs.compress(pixels(), dataclasses.replace(CONFIG, quant=quant))
  _, symbols = jaxgs.decode(data)
  assert np.ptp(symbols.weight) <= 2**3 + 1
  assert psnr_db(jaxgs.decompress(data), pixels()) > 18


def test_size_and_window():
  data = jaxgs.compress(pixels(), CONFIG)
  large = jaxgs.decompress(data, scale=2.5)
  assert large.shape == (60, 80, 3)
  part = jaxgs.decompress(data, scale=2.5, crop=(11, 7, 40, 30))
  difference = part.astype(int) - large[7:37, 11:51].astype(int)
  assert np.abs(difference).max() <= 1
  for bad in ((0, 0, 81, 60), (-1, 0, 5, 5), (0, 0, 0, 5)):
    with pytest.raises(ValueError, match="crop"):
      jaxgs.decompress(data, scale=2.5, crop=bad)
  for scale in (0.0, -1.0, float("nan")):
    with pytest.raises(ValueError, match="scale"):
      jaxgs.decompress(data, scale=scale)
  with pytest.raises(ValueError, match="limit"):
    jaxgs.decompress(data, scale=1e4)


def test_bands_have_no_seams(monkeypatch):
  data = jaxgs.compress(pixels(), CONFIG)
  whole = jaxgs.decompress(data)
  monkeypatch.setattr(sys.modules["jaxgs.decompress"], "_BAND_PX", 32 * 5)
  banded = jaxgs.decompress(data)
  assert np.abs(whole.astype(int) - banded.astype(int)).max() <= 1


def test_a_file_that_is_costly_to_draw_is_refused():
  n = 3000
  lattice = jaxgs.lattice_of(QuantConfig(scale_step=0.01), 1, "none")
  header = codec.Header(
    height=8192, width=8192, channels=1, num_gaussians=n, lattice=lattice
  )
  symbols = codec.Symbols(
    position=np.zeros((n, 2), np.int32),
    scale=np.tile(np.int32([[1000, 0]]), (n, 1)),
    angle=np.zeros(n, np.int32),
    weight=np.zeros(n, np.int32),
    feature=np.zeros((n, 1), np.int32),
  )
  data = codec.encode(header, symbols)
  assert len(data) < 2000
  with pytest.raises(ValueError, match="over the limit"):
    jaxgs.decompress(data)


@pytest.mark.parametrize(
  ("image", "message"),
  [
    (np.zeros((0, 4, 3), np.uint8), "not empty"),
    (np.zeros((4, 4, 3, 1), np.uint8), r"\(H, W, C\)"),
    (np.zeros((4, 4), np.int32), "uint8, uint16 or float"),
    (np.full((4, 4), np.nan, np.float32), r"in \[0, 1\]"),
    (np.full((4, 4), 1.5), r"in \[0, 1\]"),
    (np.zeros((2, 2, 65), np.uint8), "channels"),
  ],
)
def test_bad_images(image, message):
  with pytest.raises(ValueError, match=message):
    jaxgs.compress(image, jaxgs.preset("fast", num_gaussians=1))


def test_bad_settings():
  with pytest.raises(ValueError, match="gamma must be"):
    CompressConfig(gamma=0.0)
  with pytest.raises(ValueError, match="preset must be"):
    jaxgs.preset("slow", num_gaussians=4)
  with pytest.raises(ValueError, match="bits of scale"):
    FieldBits(scale=0)


def test_float_images_and_reports():
  steps = []
  data = jaxgs.compress(
    jnp.asarray(blobs(0)), CONFIG, report=lambda s: steps.append(int(s.step))
  )
  assert steps[-1] == 40
  assert steps == sorted(set(steps))
  assert jaxgs.decode(data)[0].bit_depth == 8


class Enough(Exception):
  pass


def test_fit_image_passes_the_mask_on(monkeypatch):
  module = importlib.import_module("jaxgs.compress")
  seen = []

  def init_fit(*args, mask, **options):
    seen.append(mask)
    return jaxgs.init_fit(*args, mask=mask, **options)

  def fit_chunk(*args, mask, **options):
    seen.append(mask)
    raise Enough

  monkeypatch.setattr(module, "init_fit", init_fit)
  monkeypatch.setattr(module, "fit_chunk", fit_chunk)
  mask = np.full((24, 32), 0.5, np.float32)
  with pytest.raises(Enough):
    jaxgs.fit_image(jax.random.key(0), blobs(0), CONFIG.fit, mask=mask)
  np.testing.assert_array_equal(np.stack(seen), [mask, mask])


def test_the_mask_reaches_every_fit(monkeypatch, tmp_path):
  mask = np.full((24, 32), 0.5)
  key = jax.random.key(0)
  job = Job.of(pixels(), CONFIG, mask=mask)
  start = checkpoint.begin(key, job)
  calls = {
    "compress": lambda: jaxgs.compress(pixels(), CONFIG, mask=mask),
    "rate_control": lambda: jaxgs.compress_to_size(
      pixels(), 200, CONFIG, mask=mask
    ),
    "checkpoint": lambda: checkpoint.fit_with_checkpoints(
      key, job, start, tmp_path / "a.npz", fingerprint="", every_steps=20
    ),
  }
  seen = []

  def fit_image(*args, mask, **options):
    seen.append(mask)
    raise Enough

  for name, call in calls.items():
    module = importlib.import_module(f"jaxgs.{name}")
    monkeypatch.setattr(module, "fit_image", fit_image)
    with pytest.raises(Enough):
      call()
    np.testing.assert_array_equal(seen.pop(), mask.astype(np.float32))


@pytest.mark.parametrize(
  ("mask", "reason"),
  (
    (np.ones((24, 31)), r"mask must be \(H, W\) = \(24, 32\), got \(24, 31\)"),
    (np.zeros((24, 32)), r"mask must be in \(0, 1\], got 0.0 to 0.0"),
    (np.full((24, 32), 1.5), r"mask must be in \(0, 1\], got 1.5 to 1.5"),
    (np.full((24, 32), np.nan), r"mask must be in \(0, 1\], got nan"),
  ),
)
def test_refuses_a_mask(mask, reason):
  with pytest.raises(ValueError, match=reason):
    jaxgs.compress(pixels(), CONFIG, mask=mask)
