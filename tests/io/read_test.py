import io
import os
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from jaxgs.io import ImageError, read_image, write_image


def _random_levels(shape, bit_depth, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 2**bit_depth, shape)


def _smooth(height, width, channels):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 17) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


def _chunk(kind, body):
  crc = zlib.crc32(kind + body)
  return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _png(width, height, bits, colour_type, raw, extra=b""):
  header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", header)
    + extra
    + _chunk(b"IDAT", zlib.compress(raw))
    + _chunk(b"IEND", b"")
  )


def _pillow_bytes(image, kind, **options):
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def _read_bytes(folder, data):
  path = folder / "picture"  # No suffix: the content decides.
  path.write_bytes(data)
  return read_image(path)


def _refusal(folder, data):
  """The message with which these bytes are refused."""
  path = folder / "wrong.png"
  path.write_bytes(data)
  with pytest.raises(ImageError) as caught:
    read_image(path)
  message = str(caught.value)
  assert message.startswith(f"{path}: ")
  assert "\n" not in message
  assert "BytesIO" not in message
  return message


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ("PNG", "JPEG", "WEBP", "TIFF"))
def test_orientation_is_applied(tmp_path, kind, orientation):
  grey = np.zeros((24, 40), np.uint8)
  grey[:8, :8], grey[:8, 32:], grey[16:, :8] = 255, 180, 90
  stored = PIL.Image.fromarray(grey)
  exif = PIL.Image.Exif()
  exif[0x0112] = orientation
  options = {"lossless": True} if kind == "WEBP" else {}
  data = _pillow_bytes(stored, kind, exif=exif, **options)
  # EXIF 2.32, 4.6.4: where row 0 and column 0 are, so what turns them upright.
  turned = {
    1: grey,
    2: grey[:, ::-1],
    3: grey[::-1, ::-1],
    4: grey[::-1],
    5: grey.T,
    6: np.rot90(grey, -1),
    7: grey[::-1, ::-1].T,
    8: np.rot90(grey, 1),
  }[orientation]
  pixels = _read_bytes(tmp_path, data).pixels
  assert pixels.shape[:2] == turned.shape
  assert pixels.flags.c_contiguous
  np.testing.assert_allclose(pixels[..., 0], turned / 255, atol=0.02)


@pytest.mark.parametrize("kind", ("PNG", "JPEG", "WEBP"))
def test_damaged_exif_is_ignored(tmp_path, kind):
  levels = np.full((6, 9, 3), 50, np.uint8)
  picture = PIL.Image.fromarray(levels)
  data = _pillow_bytes(picture, kind, exif=b"Exif\0\0neither II nor MM")
  assert b"neither" in data
  pixels = _read_bytes(tmp_path, data).pixels
  np.testing.assert_allclose(pixels, levels / 255, atol=0.02)


@pytest.mark.parametrize("kind", ("PNG", "BMP", "TIFF"))
@pytest.mark.parametrize("mode", ("P", "1"))
def test_palette_and_bilevel_are_expanded(tmp_path, kind, mode):
  if mode == "P":
    levels = _random_levels((9, 13, 1), 2) * np.array([80, 40, 7])
    rgb = PIL.Image.fromarray(levels.astype(np.uint8))
    stored = rgb.quantize(8)
    expected = np.asarray(stored.convert("RGB"))
  else:
    stored = PIL.Image.fromarray(_random_levels((9, 13), 1) > 0)
    expected = np.asarray(stored.convert("L"))[..., None]
  image = _read_bytes(tmp_path, _pillow_bytes(stored, kind))
  np.testing.assert_array_equal(
    image.pixels, expected.astype(np.float32) / np.float32(255)
  )
  assert (image.bit_depth, image.has_alpha) == (8, False)


def test_png_transparency_of_palette_and_4_bit_grey(tmp_path):
  palette = _chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
  palette += _chunk(b"tRNS", b"\x07")
  image = _read_bytes(tmp_path, _png(2, 1, 8, 3, b"\0\0\1", palette))
  expected = [[[10, 20, 30, 7], [40, 50, 60, 255]]]
  np.testing.assert_array_equal(np.rint(image.pixels * 255), expected)
  assert image.has_alpha
  # The transparent level is given in 4 bits, the picture is scaled to 8.
  level = _chunk(b"tRNS", struct.pack(">H", 1))
  image = _read_bytes(tmp_path, _png(2, 1, 4, 0, b"\0\x1f", level))
  expected = [[[17, 0], [255, 255]]]
  np.testing.assert_array_equal(np.rint(image.pixels * 255), expected)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
  rgb = PIL.Image.fromarray((_smooth(32, 32, 3) * 255).astype(np.uint8))
  data = _pillow_bytes(rgb.convert("CMYK"), "JPEG", quality=98)
  image = _read_bytes(tmp_path, data)
  assert image.pixels.shape == (32, 32, 3)
  np.testing.assert_allclose(image.pixels, np.asarray(rgb) / 255, atol=0.06)


def test_mpo_gives_its_main_picture(tmp_path):
  first = PIL.Image.new("RGB", (16, 16), (255, 0, 0))
  other = PIL.Image.new("RGB", (16, 16), (0, 0, 255))
  data = _pillow_bytes(first, "MPO", save_all=True, append_images=[other])
  pixels = _read_bytes(tmp_path, data).pixels
  assert pixels[..., 0].min() > 0.9
  assert pixels[..., 2].max() < 0.1


def test_bmp_upside_down_and_with_alpha(tmp_path):
  levels = _random_levels((6, 5, 4), 8).astype(np.uint8)
  data = _pillow_bytes(PIL.Image.fromarray(levels), "BMP")
  image = _read_bytes(tmp_path, data)
  np.testing.assert_array_equal(np.rint(image.pixels * 255), levels[..., :3])
  flipped = bytearray(data)  # A negative height: rows go downwards.
  struct.pack_into("<i", flipped, 22, -6)
  image = _read_bytes(tmp_path, bytes(flipped))
  np.testing.assert_array_equal(
    np.rint(image.pixels * 255), levels[::-1, :, :3]
  )


def _tiff(samples, **options):
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, samples, metadata=None, **options)
  return buffer.getvalue()


@pytest.mark.parametrize(
  ("dtype", "sample", "bit_depth"),
  (
    (np.float16, "half", 16),
    (np.float32, "float", 32),
    (np.float64, "float", 32),
  ),
)
@pytest.mark.parametrize("options", ({}, {"compression": "zlib"}))
def test_float_tiff_keeps_its_range(
  tmp_path, dtype, sample, bit_depth, options
):
  samples = np.linspace(0, 900, 60).reshape(4, 5, 3).astype(dtype)
  data = _tiff(samples, photometric="rgb", **options)
  image = _read_bytes(tmp_path, data)
  np.testing.assert_array_equal(image.pixels, samples.astype(np.float32))
  assert (image.sample, image.bit_depth) == (sample, bit_depth)


def test_tiff_planar_tiled_jpeg_and_inverted(tmp_path):
  levels = _random_levels((20, 30, 3), 8).astype(np.uint8)
  expected = levels / np.float32(255)
  planes = np.moveaxis(levels, -1, 0)
  data = _tiff(planes, photometric="rgb", planarconfig="separate")
  np.testing.assert_array_equal(_read_bytes(tmp_path, data).pixels, expected)
  data = _tiff(levels, photometric="rgb", tile=(16, 16), compression="lzw")
  np.testing.assert_array_equal(_read_bytes(tmp_path, data).pixels, expected)
  data = _tiff(levels[..., 0], photometric="miniswhite")
  back = _read_bytes(tmp_path, data).pixels[..., 0]
  np.testing.assert_allclose(back, 1 - expected[..., 0], atol=1e-6)
  smooth = (_smooth(32, 48, 3) * 255).astype(np.uint8)
  data = _tiff(smooth, photometric="rgb", compression="jpeg")
  back = _read_bytes(tmp_path, data).pixels
  np.testing.assert_allclose(back, smooth / 255, atol=0.06)


def test_tiff_multiplied_alpha_is_divided_out(tmp_path):
  samples = np.array([[[50, 100, 0, 100], [0, 0, 0, 0]]], np.uint8)
  data = _tiff(samples, photometric="rgb", extrasamples=["assocalpha"])
  back = np.rint(_read_bytes(tmp_path, data).pixels * 255)
  np.testing.assert_array_equal(back[0, 0], [128, 255, 0, 100])
  np.testing.assert_array_equal(back[0, 1], [0, 0, 0, 0])
  samples = np.array([[[1, 6, 0, 0.5], [3, 0, 0, 0]]], np.float16)
  data = _tiff(samples, photometric="rgb", extrasamples=["assocalpha"])
  image = _read_bytes(tmp_path, data)
  np.testing.assert_array_equal(image.pixels[0, 0], [2, 12, 0, 0.5])
  np.testing.assert_array_equal(image.pixels[0, 1], [0, 0, 0, 0])
  assert image.sample == "half"


# Refusals.


def test_not_a_file(tmp_path):
  with pytest.raises(ImageError, match="no such file"):
    read_image(tmp_path / "missing.png")
  with pytest.raises(ImageError, match="is a directory"):
    read_image(tmp_path)
  with pytest.raises(ImageError, match=r"no such file|Not a directory"):
    (tmp_path / "file").write_bytes(b"x")
    read_image(tmp_path / "file" / "below.png")
  os.mkfifo(tmp_path / "pipe.png")
  with pytest.raises(ImageError, match="not a regular file"):
    read_image(tmp_path / "pipe.png")


def test_not_an_image(tmp_path):
  assert "empty file" in _refusal(tmp_path, b"")
  assert "not a PNG" in _refusal(tmp_path, b"just some text\n")
  for option in ("nan", "profile"):
    with pytest.raises(ValueError, match=f"{option} must be"):
      read_image(tmp_path / "a.png", **{option: "other"})
  for head in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0"):
    _refusal(tmp_path, head + b"followed by nonsense" * 20)


def _whole_files():
  levels = _random_levels((37, 50, 3), 8).astype(np.uint8)
  picture = PIL.Image.fromarray(levels)
  wide = _random_levels((20, 21, 3), 16).astype(np.uint16)
  return {
    "png": _pillow_bytes(picture, "PNG"),
    "png16": imagecodecs.png_encode(wide),
    "jpeg": _pillow_bytes(picture, "JPEG", quality=95),
    "progressive": _pillow_bytes(picture, "JPEG", progressive=True),
    "webp": _pillow_bytes(picture, "WEBP"),
    "lossless": _pillow_bytes(picture, "WEBP", lossless=True),
    "bmp": _pillow_bytes(picture, "BMP"),
    "bmp8": _pillow_bytes(picture.convert("L"), "BMP"),
    "tiff": _tiff(levels, photometric="rgb"),
    "tiff16": _tiff(wide, photometric="rgb", compression="zlib"),
    "tiff_strips": _tiff(levels, photometric="rgb", rowsperstrip=5),
    "tiff_big": _tiff(levels, photometric="rgb", bigtiff=True),
    "tiff_motorola": _tiff(wide, photometric="rgb", byteorder=">"),
    "tiff_jpeg": _tiff(
      levels, photometric="rgb", compression="jpeg", tile=(16, 16)
    ),
    # The tags behind the pixels, and their long values last of all.
    "tiff_tail": _pillow_bytes(picture, "TIFF", compression="tiff_lzw"),
  }


@pytest.mark.parametrize("name", sorted(_whole_files()))
def test_every_truncation_is_refused(tmp_path, name):
  data = _whole_files()[name]
  _read_bytes(tmp_path, data)
  cuts = {*range(1, 34), *range(34, len(data), len(data) // 40)}
  for cut in sorted(cuts):
    message = _refusal(tmp_path, data[:-cut])
    if cut < 34:
      assert "truncated" in message


def test_damaged_png_is_refused(tmp_path):
  data = bytearray(_whole_files()["png16"])
  data[len(data) // 2] ^= 1
  assert "damaged PNG: IDAT" in _refusal(tmp_path, bytes(data))
  # One row is missing although the file is complete.
  short = _png(2, 2, 8, 0, b"\0\1\2")
  assert "truncated or damaged PNG" in _refusal(tmp_path, short)


def test_animations_and_pages_are_refused(tmp_path):
  frames = [PIL.Image.new("RGB", (8, 8), (50 * k, 0, 0)) for k in range(3)]
  for kind in ("PNG", "WEBP"):
    data = _pillow_bytes(
      frames[0], kind, save_all=True, append_images=frames[1:]
    )
    assert "animated: 3 frames" in _refusal(tmp_path, data)
  pages = np.zeros((3, 16, 16), np.uint8)
  data = _tiff(pages, photometric="minisblack")
  assert "3 pages" in _refusal(tmp_path, data)
  pages = [frame.convert("L") for frame in frames]
  data = _pillow_bytes(pages[0], "TIFF", save_all=True, append_images=pages[1:])
  assert "3 pages" in _refusal(tmp_path, data)
  assert "truncated" in _refusal(tmp_path, data[: len(data) // 3])


def test_tiff_thumbnails_do_not_count(tmp_path):
  buffer = io.BytesIO()
  with tifffile.TiffWriter(buffer) as writer:
    writer.write(np.full((32, 32), 255, np.uint8), metadata=None)
    writer.write(np.zeros((8, 8), np.uint8), subfiletype=1, metadata=None)
  image = _read_bytes(tmp_path, buffer.getvalue())
  assert image.pixels.shape == (32, 32, 1)
  assert image.pixels.min() == 1


def test_tiff_of_other_samples(tmp_path):
  cases = {
    "uint32": _tiff(np.zeros((4, 5), np.uint32)),
    "int16": _tiff(np.zeros((4, 5), np.int16)),
    "complex64": _tiff(np.zeros((4, 5), np.complex64)),
    "SEPARATED": _tiff(np.zeros((4, 5, 4), np.uint8), photometric="separated"),
    "6 samples": _tiff(
      np.zeros((4, 5, 6), np.uint8), photometric="rgb", planarconfig="contig"
    ),
  }
  for reason, data in cases.items():
    assert reason in _refusal(tmp_path, data)


def test_sizes_out_of_range(tmp_path):
  # A few bytes that declare a picture of many gigabytes.
  assert "zero-sized" in _refusal(tmp_path, _png(0, 2, 8, 0, b"\0"))
  assert "larger" in _refusal(tmp_path, _png(65537, 1, 8, 0, b"\0"))
  many = "65536x4097 is larger than 65536 pixels a side and 268435456 in all"
  assert many in _refusal(tmp_path, _png(65536, 4097, 8, 2, b""))
  assert "larger" in _refusal(tmp_path, _png(2**31 - 1, 2**31 - 1, 8, 2, b""))
  bmp = bytearray(_whole_files()["bmp"])
  struct.pack_into("<ii", bmp, 18, 0, 5)
  assert "zero-sized" in _refusal(tmp_path, bytes(bmp))
  struct.pack_into("<ii", bmp, 18, 100_000, 100_000)
  assert "larger" in _refusal(tmp_path, bytes(bmp))
  # Large enough for Pillow's own warning, and its error.
  for side in (18_000, 60_000):
    jpeg = bytearray(_whole_files()["jpeg"])
    start = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, start + 5, side, side)
    assert "larger" in _refusal(tmp_path, bytes(jpeg))
  tall = np.zeros((65537, 1), np.uint8)
  assert "larger" in _refusal(tmp_path, _tiff(tall))


def test_largest_side_is_read(tmp_path):
  pixels = np.zeros((1, 65536, 1), np.float32)
  write_image(tmp_path / "a.png", pixels)
  assert read_image(tmp_path / "a.png").pixels.shape == pixels.shape


def test_import_is_light():
  code = (
    "import sys, jaxgs.io; "
    "print([m for m in ('PIL', 'imageio', 'tifffile', 'imagecodecs',"
    " 'OpenEXR', 'absl') if m in sys.modules])"
  )
  output = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert output.stdout.strip() == "[]"
