import os

import imagecodecs
import numpy as np
import pytest

from jaxgs.io import ImageError, read_image, write_image, write_samples

LOSSLESS = (".png", ".tif", ".tiff", ".webp", ".bmp")
SIZES = ((1, 1), (1, 7), (5, 3), (17, 32))


def _random_levels(shape, bit_depth, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 2**bit_depth, shape)


def _smooth(height, width, channels):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 17) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bit_depth", (8, 16))
@pytest.mark.parametrize("channels", (1, 2, 3, 4))
@pytest.mark.parametrize("suffix", (".png", ".tif", ".TIFF"))
def test_round_trip_keeps_every_level(
  tmp_path, suffix, channels, bit_depth, size
):
  levels = _random_levels((*size, channels), bit_depth)
  pixels = (levels / (2**bit_depth - 1)).astype(np.float32)
  path = tmp_path / f"a{suffix}"
  has_alpha = channels in (2, 4)
  write_image(path, pixels, bit_depth=bit_depth, has_alpha=has_alpha)
  image = read_image(path)
  assert image.pixels.dtype == np.float32
  assert image.pixels.flags.c_contiguous
  np.testing.assert_array_equal(image.pixels, pixels)
  assert (image.bit_depth, image.has_alpha) == (bit_depth, has_alpha)


def test_all_levels_of_16_bits(tmp_path):
  pixels = (np.arange(65536) / 65535).astype(np.float32).reshape(256, 256, 1)
  write_image(tmp_path / "a.png", pixels, bit_depth=16)
  back = read_image(tmp_path / "a.png").pixels
  np.testing.assert_array_equal(back, pixels)
  stored = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
  np.testing.assert_array_equal(stored.ravel(), np.arange(65536))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
  ("suffix", "channels", "read_channels"),
  (
    (".webp", 1, 3),
    (".webp", 2, 4),
    (".webp", 3, 3),
    (".webp", 4, 4),
    (".bmp", 1, 1),
    (".bmp", 3, 3),
  ),
)
def test_round_trip_of_8_bit_formats(
  tmp_path, suffix, channels, read_channels, size
):
  levels = _random_levels((*size, channels), 8)
  # Colours under full transparency must survive too.
  if channels in (2, 4):
    levels[0, 0, -1] = 0
  if channels == 4:
    levels[-1, -1, -1] = 128  # A WebP that is opaque everywhere drops alpha.
  pixels = (levels / 255).astype(np.float32)
  path = tmp_path / f"a{suffix}"
  write_image(path, pixels, has_alpha=channels in (2, 4), bit_depth=16)
  image = read_image(path)
  expected = pixels
  if read_channels > channels:
    expected = np.concatenate(
      [np.repeat(pixels[..., :1], 3, -1), pixels[..., 1:]], -1
    )
  np.testing.assert_array_equal(image.pixels, expected)
  assert image.bit_depth == 8


@pytest.mark.parametrize("suffix", (".jpg", ".jpeg"))
@pytest.mark.parametrize("channels", (1, 3))
def test_jpeg_is_close(tmp_path, suffix, channels):
  pixels = _smooth(33, 50, channels)
  path = tmp_path / f"a{suffix}"
  write_image(path, pixels, bit_depth=16)
  image = read_image(path)
  assert image.pixels.shape == pixels.shape
  assert (image.bit_depth, image.has_alpha) == (8, False)
  assert np.abs(image.pixels - pixels).mean() < 0.01
  size = path.stat().st_size
  write_image(path, pixels, jpeg_quality=10)
  assert path.stat().st_size < size


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_levels_are_rounded_and_clipped(tmp_path, suffix):
  values = np.array([-1.0, 0.4 / 255, 0.6 / 255, 99.6 / 255, 254.6 / 255, 2.0])
  pixels = np.repeat(values.reshape(1, -1, 1), 3, -1)
  write_image(tmp_path / f"a{suffix}", pixels)
  back = read_image(tmp_path / f"a{suffix}").pixels[0, :, 0]
  np.testing.assert_array_equal(np.rint(back * 255), [0, 0, 1, 100, 255, 255])


@pytest.mark.parametrize("suffix", (".png", ".tif"))
def test_16_bit_levels_are_rounded(tmp_path, suffix):
  values = np.array([0.6, 1.4, 999.6, 65534.7]).reshape(1, 4, 1) / 65535
  write_image(tmp_path / f"a{suffix}", values, bit_depth=16)
  back = read_image(tmp_path / f"a{suffix}").pixels.ravel()
  np.testing.assert_array_equal(np.rint(back * 65535), [1, 1, 1000, 65535])


@pytest.mark.parametrize("suffix", (".png", ".tif", ".webp"))
@pytest.mark.parametrize(("channels", "bit_depth"), ((1, 16), (3, 8), (4, 16)))
def test_samples_are_written_as_they_are(tmp_path, suffix, channels, bit_depth):
  samples = _random_levels((9, 7, channels), bit_depth)
  samples = samples.astype(f"uint{bit_depth}")
  ours, theirs = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
  has_alpha = channels == 4
  write_samples(ours, samples, has_alpha=has_alpha)
  pixels = samples / np.float32(np.iinfo(samples.dtype).max)
  write_image(theirs, pixels, bit_depth=bit_depth, has_alpha=has_alpha)
  assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("suffix", (".tif", ".exr"))
@pytest.mark.parametrize("channels", (1, 2, 3, 4))
@pytest.mark.parametrize(
  ("dtype", "bits"), ((np.float16, 16), (np.float32, 32))
)
def test_round_trip_of_linear_light(tmp_path, suffix, channels, dtype, bits):
  rng = np.random.default_rng(0)
  samples = np.exp(rng.normal(0, 3, (5, 9, channels))).astype(dtype)
  samples[0, 0] = [0, 65504, 6e-8, 1][:channels]  # The limits of a half.
  has_alpha = channels in (2, 4)
  if has_alpha:  # OpenEXR multiplies by it: powers of two lose nothing.
    samples[..., -1] = 0.5 ** rng.integers(0, 3, (5, 9))
    samples[0, 0] = 1
  path = tmp_path / f"a{suffix}"
  write_samples(path, samples, has_alpha=has_alpha)
  image = read_image(path)
  np.testing.assert_array_equal(image.pixels, samples.astype(np.float32))
  sample = "half" if bits == 16 else "float"
  assert (image.sample, image.bit_depth) == (sample, bits)
  assert image.has_alpha == has_alpha
  written = path.read_bytes()
  pixels = image.pixels
  write_image(path, pixels, sample=sample, has_alpha=has_alpha)
  assert path.read_bytes() == written


@pytest.mark.parametrize("suffix", (".tif", ".exr", ".hdr"))
def test_linear_light_is_clipped(tmp_path, suffix):
  values = np.array([-1, 0, 1e6, 70_000], np.float32).reshape(1, 4, 1)
  write_image(tmp_path / f"a{suffix}", values, sample="half")
  back = read_image(tmp_path / f"a{suffix}").pixels[0, :, 0]
  # The nearest that has 8 bits is 65536.
  rtol = 1e-3 if suffix == ".hdr" else 0
  np.testing.assert_allclose(back, [0, 0, 65504, 65504], rtol=rtol)
  if suffix != ".hdr":
    pixels = np.full((1, 1, 2), 3, np.float32)
    path = tmp_path / f"b{suffix}"
    write_image(path, pixels, sample="float", has_alpha=True)
    np.testing.assert_array_equal(read_image(path).pixels, [[[3, 1]]])


@pytest.mark.parametrize(
  ("name", "samples", "options", "reason"),
  (
    ("a.png", np.zeros((4, 4, 3)), {}, "samples of float64"),
    ("a.png", np.zeros((4, 4), np.uint8), {}, r"shape \(4, 4\)"),
    ("a.png", np.zeros((4, 4, 5), np.uint8), {}, "5 channels"),
    ("a.gif", np.zeros((4, 4, 3), np.uint8), {}, "unknown suffix '.gif'"),
    ("a.jpg", np.zeros((4, 4, 3), np.uint8), {"jpeg_quality": 0}, "jpeg_qu"),
    ("a.hdr", np.zeros((4, 4, 3), np.uint8), {}, "stores linear light"),
    ("a.png", np.zeros((4, 4, 3), np.float16), {}, "cannot store linear"),
    ("a.tif", np.full((4, 4, 3), np.nan, np.float32), {}, "NaN"),
  ),
)
def test_write_samples_refuses(tmp_path, name, samples, options, reason):
  with pytest.raises(ImageError, match=reason):
    write_samples(tmp_path / name, samples, **options)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("name", "shape", "options", "reason"),
  (
    ("a.jpg", (4, 4, 4), {"has_alpha": True}, "alpha"),
    ("a.jpeg", (4, 4, 2), {"has_alpha": True}, "alpha"),
    ("a.bmp", (4, 4, 4), {"has_alpha": True}, "alpha"),
    ("a.png", (4, 4, 4), {}, "4 channels without alpha"),
    ("a.png", (4, 4, 3), {"has_alpha": True}, "3 channels with alpha"),
    ("a.png", (4, 4, 5), {}, "5 channels"),
    ("a.png", (4, 4), {}, "shape"),
    ("a.png", (0, 4, 3), {}, "zero-sized"),
    ("a.png", (4, 4, 3), {"bit_depth": 12}, "bit_depth"),
    ("a.jpg", (4, 4, 3), {"jpeg_quality": 0}, "jpeg_quality"),
    ("a.jpg", (65_501, 1, 1), {}, "65500"),
    ("a.hdr", (4, 4, 4), {"has_alpha": True, "sample": "half"}, "alpha"),
    ("a.exr", (4, 4, 3), {}, ".exr stores linear light"),
    ("a.jpg", (4, 4, 3), {"sample": "float"}, "expected one of .exr, .hdr"),
    ("a.tif", (4, 4, 3), {"sample": "double"}, "sample 'double', expected"),
    ("a.hdr", (4, 4, 3), {"sample": "half", "icc": b"x"}, "colour profile"),
    ("a.bmp", (4, 4, 3), {"icc": b"x"}, ".bmp cannot store a colour profile"),
    ("a.png", (4, 4, 3), {"icc": b"x"}, "profile damaged of no known colours"),
    ("a.gif", (4, 4, 3), {}, "unknown suffix '.gif'"),
    ("a", (4, 4, 3), {}, "no suffix"),
    ("a.webp", (1, 16_384, 3), {}, "16384x1 is larger than .webp's 16383"),
    ("missing/a.png", (4, 4, 3), {}, "no such folder"),
  ),
)
def test_write_refuses(tmp_path, name, shape, options, reason):
  with pytest.raises(ImageError, match=reason) as caught:
    write_image(tmp_path / name, np.zeros(shape, np.float32), **options)
  assert str(caught.value).startswith(str(tmp_path / name))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("name", "shape"),
  (("a.webp", (1, 16_383, 1)), ("a.jpg", (1, 65_500, 1))),
)
def test_the_longest_side_is_written(tmp_path, name, shape):
  write_image(tmp_path / name, np.zeros(shape, np.float32))


def test_faults_of_a_codec_are_one_line(tmp_path, monkeypatch):
  def fail(*args, **options):
    raise ValueError("too\nodd")

  monkeypatch.setattr(imagecodecs, "png_encode", fail)
  with pytest.raises(ImageError, match=r"cannot encode as \.png: too odd"):
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3)))


def test_write_refuses_bad_values(tmp_path):
  for value in (np.nan, np.inf):
    with pytest.raises(ImageError, match="NaN or infinite"):
      write_image(tmp_path / "a.png", np.full((2, 2, 1), value))
  with pytest.raises(ImageError, match="expected floats"):
    write_image(tmp_path / "a.png", np.zeros((2, 2, 1), np.uint8))


@pytest.mark.parametrize("fault", ("png_encode", "fsync", "replace"))
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, fault):
  path = tmp_path / "a.png"
  path.write_bytes(b"old")

  def fail(*args, **options):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(imagecodecs if fault == "png_encode" else os, fault, fail)
  with pytest.raises(ImageError, match="No space left"):
    write_image(path, np.zeros((4, 4, 3)))
  assert path.read_bytes() == b"old"
  assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
