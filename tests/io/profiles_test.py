import io
import logging
import struct
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from jaxgs.io import ImageError, icc_name, read_image, write_image

ADOBE = imagecodecs.cms_profile("adobergb")
SRGB = imagecodecs.cms_profile("srgb")
GREY = imagecodecs.cms_profile("gray", gamma=1.0)
SUFFIXES = (".png", ".jpg", ".webp", ".tif")


def _wide_profile():
  """Linear light of the primaries of Rec. 2020."""
  return imagecodecs.cms_profile(
    "rgb",
    whitepoint=(0.3127, 0.3290),
    primaries=(0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    gamma=1.0,
  )


def _smooth(channels=3):
  y, x = np.mgrid[:24, :40]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 17) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


def _adobe_to_srgb(pixels):
  """By the formulas of the two: Adobe RGB (1998) 4.3.4, IEC 61966-2-1."""
  light = pixels.astype(np.float64) ** (563 / 256)
  xyz = light @ np.transpose(
    [
      [0.57667, 0.18556, 0.18823],
      [0.29734, 0.62736, 0.07529],
      [0.02703, 0.07069, 0.99134],
    ]
  )
  light = xyz @ np.transpose(
    [
      [3.2406, -1.5372, -0.4986],
      [-0.9689, 1.8758, 0.0415],
      [0.0557, -0.2040, 1.0570],
    ]
  )
  light = np.clip(light, 0, 1)
  curve = 1.055 * light ** (1 / 2.4) - 0.055
  return np.where(light <= 0.0031308, 12.92 * light, curve)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", (3, 4))
def test_kept_and_converted(tmp_path, suffix, channels):
  has_alpha = channels == 4
  if has_alpha and suffix == ".jpg":
    pytest.skip("JPEG has no alpha")
  path = tmp_path / f"a{suffix}"
  write_image(path, _smooth(channels), has_alpha=has_alpha, icc=ADOBE)
  kept = read_image(path)
  assert kept.icc == ADOBE
  assert icc_name(kept.icc) == "Adobe RGB (compatible)"
  converted = read_image(path, profile="srgb")
  assert converted.icc is None
  assert converted.pixels.dtype == np.float32
  expected = _adobe_to_srgb(kept.pixels[..., :3])
  assert np.abs(expected - kept.pixels[..., :3]).max() > 0.05
  np.testing.assert_allclose(converted.pixels[..., :3], expected, atol=2e-3)
  np.testing.assert_array_equal(converted.pixels[..., 3:], kept.pixels[..., 3:])


@pytest.mark.parametrize("suffix", (".png", ".tif"))
def test_16_bits_are_converted_as_finely(tmp_path, suffix):
  ramp = np.linspace(0.2, 0.201, 40, dtype=np.float32)
  pixels = np.repeat(ramp[None, :, None], 3, axis=2)
  path = tmp_path / f"a{suffix}"
  write_image(path, pixels, bit_depth=16, icc=ADOBE)
  image = read_image(path, profile="srgb")
  assert image.bit_depth == 16
  assert (np.diff(image.pixels[0, :, 1]) > 0).all()


def test_pillow_agrees(tmp_path):
  picture = PIL.Image.fromarray((_smooth() * 255).astype(np.uint8))
  path = tmp_path / "a.png"
  picture.save(path, icc_profile=ADOBE)
  expected = PIL.ImageCms.profileToProfile(
    picture,
    PIL.ImageCms.ImageCmsProfile(io.BytesIO(ADOBE)),
    PIL.ImageCms.createProfile("sRGB"),
  )
  pixels = read_image(path, profile="srgb").pixels
  np.testing.assert_allclose(pixels, np.asarray(expected) / 255, atol=0.02)


def _with_exponent(exponent):
  """The profile of sRGB with another exponent than 2.4 in its curve."""
  exact = struct.pack(">i", 2 * 65536 + 26214)
  assert exact in SRGB
  return SRGB.replace(exact, struct.pack(">i", round(exponent * 65536)))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
  "icc", (SRGB, _with_exponent(2.403)), ids=("own", "near")
)
def test_srgb_says_nothing(tmp_path, caplog, suffix, icc):
  path = tmp_path / f"a{suffix}"
  write_image(path, _smooth(), icc=icc)
  with caplog.at_level(logging.INFO):
    image = read_image(path)
  assert image.icc is None
  assert not caplog.text
  converted = read_image(path, profile="srgb")
  np.testing.assert_allclose(converted.pixels, image.pixels, atol=1e-3)
  write_image(path, _smooth(), icc=_with_exponent(2.43))
  assert read_image(path).icc == _with_exponent(2.43)


@pytest.mark.parametrize("suffix", (".png", ".jpg", ".tif"))
@pytest.mark.parametrize("channels", (1, 2))
def test_grey(tmp_path, suffix, channels):
  if channels == 2 and suffix == ".jpg":
    pytest.skip("JPEG has no alpha")
  path = tmp_path / f"a{suffix}"
  pixels = _smooth(channels)
  write_image(path, pixels, has_alpha=channels == 2, icc=GREY)
  kept = read_image(path)
  assert kept.icc == GREY
  converted = read_image(path, profile="srgb").pixels
  assert converted.shape == pixels.shape
  # Linear light to the curve of sRGB.
  light = kept.pixels[..., 0]
  expected = 1.055 * light ** (1 / 2.4) - 0.055
  np.testing.assert_allclose(converted[..., 0], expected, atol=2e-3)
  np.testing.assert_array_equal(converted[..., 1:], kept.pixels[..., 1:])


def test_grey_picture_with_a_profile_of_rgb(tmp_path, caplog):
  picture = PIL.Image.fromarray((_smooth(1)[..., 0] * 255).astype(np.uint8))
  path = tmp_path / "a.tif"
  picture.save(path, icc_profile=ADOBE)
  with caplog.at_level(logging.WARNING):
    kept = read_image(path)
  assert kept.icc is None
  assert "of RGB colours, on a picture of grey: left out" in caplog.text
  converted = read_image(path, profile="srgb").pixels
  expected = _adobe_to_srgb(np.repeat(kept.pixels, 3, axis=2))
  assert converted.shape == kept.pixels.shape
  np.testing.assert_allclose(converted, expected[..., :1], atol=2e-3)


def test_grey_profile_on_rgb(tmp_path):
  picture = PIL.Image.fromarray((_smooth() * 255).astype(np.uint8))
  path = tmp_path / "a.tif"
  picture.save(path, icc_profile=GREY)
  assert read_image(path).icc is None
  with pytest.raises(ImageError, match="of GRAY colours, on a picture of RGB"):
    read_image(path, profile="srgb")


def test_linear_light(tmp_path):
  import tifffile

  path = tmp_path / "a.tif"
  pixels = np.array([[[4, 4, 4], [3, 0.5, 0], [0, 0, 5]]], np.float32)
  wide = _wide_profile()
  write_image(path, pixels, sample="float", icc=wide)
  assert read_image(path).icc == wide
  converted = read_image(path, profile="srgb").pixels
  # ITU-R BT.2087, Rec. 2020 to Rec. 709.
  matrix = [
    [1.6605, -0.5876, -0.0728],
    [-0.1246, 1.1329, -0.0083],
    [-0.0182, -0.1006, 1.1187],
  ]
  expected = np.clip(pixels @ np.transpose(matrix), 0, None)
  np.testing.assert_allclose(converted, expected, atol=0.01)
  # Floats with the curve of sRGB are not the linear light that is assumed.
  tifffile.imwrite(path, _smooth(), photometric="rgb", iccprofile=SRGB)
  assert read_image(path).icc == SRGB
  light = read_image(path, profile="srgb").pixels
  expected = ((_smooth() + 0.055) / 1.055) ** 2.4
  np.testing.assert_allclose(light, expected, atol=1e-3)


@pytest.mark.parametrize(
  "damage",
  (ADOBE[:200], b"x" * 300, ADOBE[:100]),
  # A profile tells when it was made: no name for a test.
  ids=("cut", "no profile", "header"),
)
@pytest.mark.parametrize("kind", ("PNG", "JPEG", "WEBP", "TIFF"))
def test_damaged_profile(tmp_path, caplog, damage, kind):
  picture = PIL.Image.fromarray((_smooth() * 255).astype(np.uint8))
  path = tmp_path / "picture"
  picture.save(path, kind, icc_profile=damage)
  with caplog.at_level(logging.WARNING):
    assert read_image(path).icc is None
  assert "left out" in caplog.text
  with pytest.raises(ImageError, match="colour profile") as caught:
    read_image(path, profile="srgb")
  assert "\n" not in str(caught.value)


def _png_with_chunk(body):
  file = io.BytesIO()
  PIL.Image.new("RGB", (4, 4)).save(file, "PNG")
  data = file.getvalue()
  chunk = b"iCCP" + body
  crc = struct.pack(">I", zlib.crc32(chunk))
  return data[:33] + struct.pack(">I", len(body)) + chunk + crc + data[33:]


@pytest.mark.parametrize(
  "body",
  (
    b"name\0\0no stream",
    b"name\0\0" + zlib.compress(ADOBE)[:-30],
    b"name\0\0" + zlib.compress(ADOBE + bytes(1 << 25)),  # A bomb.
    b"",
  ),
)
def test_damaged_chunk_of_png(tmp_path, body):
  path = tmp_path / "a.png"
  path.write_bytes(_png_with_chunk(body))
  assert read_image(path).icc is None


def test_names():
  assert icc_name(SRGB) == "sRGB built-in"
  assert icc_name(b"no profile") == "damaged"


def test_write_refuses_a_profile_of_other_colours(tmp_path):
  for name, channels, icc in (
    ("a.png", 1, ADOBE),
    ("a.png", 3, GREY),
    ("a.webp", 1, GREY),
  ):
    with pytest.raises(ImageError, match=r"colours, expected (RGB|GRAY)"):
      write_image(tmp_path / name, _smooth(channels), icc=icc)


def _ink_profile():
  """CMYK in which a picture's red is only what magenta leaves of it.

  A table (lut8Type of ICC.1:2001, 6.5.8) of the corners of the inks: any full
  ink of magenta is a Lab of (20, 0, 0), else (100, 0, 0).
  """
  ramp = bytes(range(256))
  corners = b"".join(
    bytes([51 if corner & 0b0100 else 255, 128, 128]) for corner in range(16)
  )
  identity = struct.pack(">9i", *[65536, 0, 0, 0, 65536, 0, 0, 0, 65536])
  table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
  table += ramp * 4 + corners + ramp * 3
  text = b"Inks\0"
  name = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
  name += bytes(-len(name) % 4)
  table += bytes(-len(table) % 4)
  white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
  tags, offset, bodies = b"", 128 + 4 + 3 * 12, b""
  for sign, body in ((b"desc", name), (b"wtpt", white), (b"A2B0", table)):
    tags += sign + struct.pack(">II", offset + len(bodies), len(body))
    bodies += body
  size = offset + len(bodies)
  head = struct.pack(">I4sI", size, b"lcms", 0x02400000)
  head += b"prtrCMYKLab " + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
  head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
  return head + struct.pack(">I", 3) + tags + bodies


def test_cmyk_jpeg(tmp_path):
  inks = np.zeros((16, 32, 4), np.uint8)
  inks[:, :16, 0] = 255  # Cyan, which this printer has not.
  inks[:, 16:, 1] = 255
  picture = PIL.Image.fromarray(inks, "CMYK")
  path = tmp_path / "a.jpg"
  picture.save(path, quality=100, icc_profile=_ink_profile())
  plain = read_image(path)
  assert plain.icc is None  # It is not of the RGB that came of the inks.
  np.testing.assert_allclose(plain.pixels[8, 4], [0, 1, 1], atol=0.02)
  converted = read_image(path, profile="srgb")
  assert converted.icc is None
  np.testing.assert_allclose(converted.pixels[8, 4], [1, 1, 1], atol=0.02)
  # Its black, which littleCMS makes that of sRGB.
  np.testing.assert_allclose(converted.pixels[8, 28], [0, 0, 0], atol=0.02)
  np.testing.assert_allclose(plain.pixels[8, 28], [1, 0, 1], atol=0.02)
  for wrong in (ADOBE, b"x" * 300):
    picture.save(path, quality=100, icc_profile=wrong)
    with pytest.raises(ImageError, match="not a profile of CMYK"):
      read_image(path, profile="srgb")
    assert read_image(path).pixels.shape == (16, 32, 3)
