import struct

import imagecodecs
import numpy as np
import pytest

from jaxgs.io import ImageError, read_image, write_image

HEAD = b"#?RADIANCE\n# a comment\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=2.0\n\n"


def _colours(height, width, seed=0):
  rng = np.random.default_rng(seed)
  return np.exp(rng.normal(0, 4, (height, width, 3))).astype(np.float32)


def _write(folder, pixels):
  path = folder / "a.hdr"
  write_image(path, pixels, sample="float")
  return path


def _read(folder, data):
  path = folder / "picture"
  path.write_bytes(data)
  return read_image(path)


def _refusal(folder, data):
  with pytest.raises(ImageError) as caught:
    _read(folder, data)
  message = str(caught.value)
  assert "\n" not in message
  return message


def _rgbe(*pixels):
  return bytes(value for pixel in pixels for value in pixel)


# The value of a colour c with exponent e is c * 2**(e - 136).


@pytest.mark.parametrize("width", (1, 7, 8, 50, 300))
def test_round_trip_is_the_nearest_level(tmp_path, width):
  pixels = _colours(9, width)
  pixels[0, 0] = 0
  pixels[1, 0] = [255.9, 5.4, 0]  # Rounds up to the next exponent.
  image = read_image(_write(tmp_path, pixels))
  assert (image.sample, image.bit_depth, image.has_alpha) == (
    "float",
    32,
    False,
  )
  # 255.5 of 256 is already in the next exponent.
  peak = pixels.max(-1, keepdims=True) * (256 / 255.5) + 1e-30
  step = 2.0 ** (np.floor(np.log2(peak)) - 7)
  assert (np.abs(image.pixels - pixels) <= step / 2).all()
  np.testing.assert_array_equal(image.pixels[1, 0], [256, 6, 0])
  # What was read is of such levels.
  again = read_image(_write(tmp_path, image.pixels)).pixels
  np.testing.assert_array_equal(again, image.pixels)


def test_largest_value(tmp_path):
  pixels = np.full((1, 1, 3), np.finfo(np.float32).max)
  back = read_image(_write(tmp_path, pixels)).pixels
  np.testing.assert_allclose(back, 2.0**127, rtol=1 / 128)


def test_grey_becomes_rgb(tmp_path):
  pixels = np.full((2, 9, 1), 3, np.float32)
  back = read_image(_write(tmp_path, pixels)).pixels
  np.testing.assert_array_equal(back, np.full((2, 9, 3), 3))


def test_runs_and_literals(tmp_path):
  # One row of 8 pixels: per component runs (above 128) or literals.
  row = bytes([2, 2, 0, 8])
  row += bytes([128 + 8, 128])  # Red: 8 times 128.
  row += bytes([4, 1, 2, 3, 4, 128 + 4, 0])
  row += bytes([8, *range(8)])
  row += bytes([128 + 8, 136])
  image = _read(tmp_path, HEAD + b"-Y 1 +X 8\n" + row)
  np.testing.assert_array_equal(image.pixels[0, :, 0], [128] * 8)
  np.testing.assert_array_equal(image.pixels[0, :, 1], [1, 2, 3, 4, 0, 0, 0, 0])
  np.testing.assert_array_equal(image.pixels[0, :, 2], range(8))


@pytest.mark.parametrize("signature", (b"#?RADIANCE", b"#?RGBE"))
def test_pixels_without_runs(tmp_path, signature):
  data = signature + b"\n\n-Y 1 +X 2\n" + _rgbe((1, 2, 3, 136), (0, 0, 8, 140))
  image = _read(tmp_path, data)
  np.testing.assert_array_equal(image.pixels, [[[1, 2, 3], [0, 0, 128]]])


@pytest.mark.parametrize(
  ("size", "expected"),
  (
    (b"-Y 2 +X 3", [[1, 2, 3], [4, 5, 6]]),
    (b"+Y 2 +X 3", [[4, 5, 6], [1, 2, 3]]),
    (b"-Y 2 -X 3", [[3, 2, 1], [6, 5, 4]]),
    (b"+X 3 -Y 2", [[1, 3, 5], [2, 4, 6]]),
    (b"-X 3 +Y 2", [[6, 4, 2], [5, 3, 1]]),
  ),
)
def test_directions(tmp_path, size, expected):
  body = _rgbe(*((value, 0, 0, 136) for value in range(1, 7)))
  image = _read(tmp_path, HEAD + size + b"\n" + body)
  np.testing.assert_array_equal(image.pixels[..., 0], expected)


def test_other_readers_agree(tmp_path):
  path = _write(tmp_path, _colours(9, 50))
  # imagecodecs reads the whole file, header and all.
  other = imagecodecs.rgbe_decode(path.read_bytes())
  np.testing.assert_array_equal(other, read_image(path).pixels)


def test_refusals(tmp_path):
  pixel = _rgbe((1, 2, 3, 136))
  cases = {
    "no end of the header": HEAD[:-1] + b"-Y 1 +X 1\n",
    "no size": HEAD + b"-Y 1 -Y 1\n" + pixel,
    "damaged HDR: no size": HEAD + b"-Y one +X 1\n" + pixel,
    "'32-bit_rle_xyze' is not supported": (
      HEAD.replace(b"rgbe", b"xyze") + b"-Y 1 +X 1\n" + pixel
    ),
    "zero-sized": HEAD + b"-Y 0 +X 1\n" + pixel,
    "65537x1 is larger": HEAD + b"-Y 1 +X 65537\n" + pixel,
    "1x999999999 is larger": HEAD + b"-Y 999999999 +X 1\n" + pixel,
    "truncated HDR": HEAD + b"-Y 8192 +X 8192\n" + pixel,
  }
  for reason, data in cases.items():
    assert reason in _refusal(tmp_path, data)
  marked = bytes([2, 2, *struct.pack(">H", 8192)])
  data = HEAD + b"-Y 8192 +X 8192\n" + marked * 100
  assert "truncated HDR" in _refusal(tmp_path, data)


@pytest.mark.parametrize("width", (5, 50))
def test_every_truncation_is_refused(tmp_path, width):
  data = _write(tmp_path, _colours(9, width)).read_bytes()
  cuts = {*range(1, 20), *range(20, len(data) - 2, len(data) // 40)}
  for cut in sorted(cuts):
    message = _refusal(tmp_path, data[:-cut])
    assert "truncated" in message or "not a PNG" in message


def test_flipped_bytes(tmp_path):
  data = _write(tmp_path, _colours(9, 50)).read_bytes()
  rng = np.random.default_rng(0)
  outcomes = set()
  for trial in range(200):
    damaged = bytearray(data)
    most = 60 if trial % 2 else len(data)  # The header, or anywhere.
    for place in rng.integers(0, most, rng.integers(1, 4)):
      damaged[place] = rng.integers(256)
    try:
      assert np.isfinite(_read(tmp_path, bytes(damaged)).pixels).all()
      outcomes.add("read")
    except ImageError as error:
      assert "\n" not in str(error)
      outcomes.add("refused")
  assert outcomes == {"read", "refused"}
