import json
import os
import pathlib
import re
import subprocess
import sys
import types

import jax
import numpy as np
import OpenEXR
import pytest

from jaxgs import cli, kernels
from jaxgs.cli import encode, jgs_file
from jaxgs.config import preset
from jaxgs.io import read_image, write_image
from jaxgs.transfer import premultiply

DATA = pathlib.Path(__file__).parents[1]
GOLDEN = DATA / "golden" / "v1"
RGBA = str(GOLDEN / "axis_rgba.jgs")  # 64x64
GREY_16_BIT = str(GOLDEN / "sum_gray.jgs")  # 33x100
SIX_CHANNELS = str(GOLDEN / "six_channels.jgs")

# Compiling the steps takes the time of these tests: one step compiles one
# program, more steps a second one for the quantised part.
FEW = ("--num_gaussians", "12", "--steps", "12")
ONE = ("--num_gaussians", "12", "--steps", "1")


def _picture(channels, height=20, width=24):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 9) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


@pytest.fixture
def rgb(tmp_path):
  write_image(tmp_path / "rgb.png", _picture(3))
  return str(tmp_path / "rgb.png")


def _run(capsys, *argv):
  """What a command that works prints."""
  code = cli.main([str(arg) for arg in argv])
  out, err = capsys.readouterr()
  assert (code, err) == (0, "")
  return out


def _refusal(capsys, *argv):
  """The line and the exit code of a command that does not."""
  try:
    code = cli.main([str(arg) for arg in argv])
  except SystemExit as exit:
    code = exit.code
  out, err = capsys.readouterr()
  assert out == ""
  assert err.count("\n") == 1
  assert err.endswith("\n")
  assert re.match(r"jaxgs( \w+)?: error: ", err)
  return code, err


def _command(*argv, **options):
  return subprocess.run(
    [sys.executable, "-m", "jaxgs.cli", *argv],
    capture_output=True,
    text=True,
    check=False,
    **options,
  )


def test_what_a_reader_says_is_one_line(tmp_path):
  path = str(tmp_path / "a.exr")
  channel = np.full((8, 8), 0.5, np.float32)
  header = {"type": OpenEXR.scanlineimage}
  # A copy for each: it puts its own objects in the place of the arrays.
  channels = {name: channel.copy() for name in "RGBZ"}
  OpenEXR.File(header, channels).write(path)
  done = _command("saliency", path, str(tmp_path / "a.png"))
  assert done.returncode == 0
  assert f"jaxgs saliency: {path}: channels left out: Z\n" in done.stderr
  assert "WARNING:absl:" not in done.stderr


# Encode and back.


def test_encode_decode_eval(capsys, tmp_path, rgb):
  jgs, png = tmp_path / "a.jgs", tmp_path / "a.png"
  text = _run(capsys, "encode", rgb, jgs, *FEW)
  size = jgs.stat().st_size
  assert text.startswith(f"{jgs}: {size} bytes, {size / 60:.3f} bpp, 12 Gauss")
  facts = json.loads(_run(capsys, "encode", rgb, jgs, *FEW, "--json"))
  assert facts["bytes"] == size == jgs.stat().st_size
  assert facts["num_gaussians"] == 12
  assert f"PSNR {facts['psnr_db']:.2f} dB" in text
  of_file = json.loads(_run(capsys, "eval", rgb, jgs, "--json"))
  assert of_file["bytes"] == size
  assert of_file["psnr_db"] == facts["psnr_db"] > 12
  _run(capsys, "decode", jgs, png)
  of_image = json.loads(_run(capsys, "eval", rgb, png, "--json"))
  for name in ("psnr_db", "ssim", "ms_ssim"):
    assert of_image[name] == of_file[name]
  assert of_image["bytes"] == png.stat().st_size
  assert f"{of_file['ms_ssim']:.4f}" in _run(capsys, "eval", rgb, jgs)


def test_seed_and_steps_and_preset(capsys, tmp_path, rgb):
  def encode(*options):
    _run(capsys, "encode", rgb, tmp_path / "a.jgs", *options)
    return (tmp_path / "a.jgs").read_bytes()

  first = encode(*FEW)
  assert encode(*FEW) == first
  assert encode(*FEW, "--seed", "1") != first
  assert encode(*FEW, "--preset", "fast") == first  # --steps wins.
  assert encode(*FEW, "--preset", "best") != first  # It also shakes.


@pytest.mark.parametrize(
  ("name", "channels", "bit_depth"),
  (("grey.png", 1, 16), ("grey.bmp", 1, 8), ("alpha.tif", 4, 16)),
)
def test_channels_and_depth(capsys, tmp_path, name, channels, bit_depth):
  source, jgs = tmp_path / name, tmp_path / "a.jgs"
  has_alpha = channels == 4
  write_image(
    source, _picture(channels), bit_depth=bit_depth, has_alpha=has_alpha
  )
  facts = json.loads(_run(capsys, "encode", source, jgs, *ONE, "--json"))
  described = json.loads(_run(capsys, "info", jgs, "--json"))
  assert described["channels"] == channels
  assert described["bit_depth"] == bit_depth
  assert described["has_alpha"] == has_alpha
  out = tmp_path / "out.png"
  _run(capsys, "decode", jgs, out)
  image = read_image(out)
  assert image.pixels.shape == (20, 24, channels)
  assert (image.bit_depth, image.has_alpha) == (bit_depth, has_alpha)
  error = image.pixels - read_image(source).pixels
  if has_alpha:  # Colours count by their alpha.
    error = premultiply(image.pixels) - premultiply(read_image(source).pixels)
  psnr = -10 * np.log10(np.mean(np.square(error)))
  np.testing.assert_allclose(psnr, facts["psnr_db"], atol=1e-3)
  assert psnr > 8


@pytest.mark.parametrize("size", ((1, 1), (70, 1)))
def test_small_pictures(capsys, tmp_path, size):
  source, jgs = tmp_path / "a.png", tmp_path / "a.jgs"
  write_image(source, _picture(3, *size))
  options = ("--steps", "1", "--json")
  facts = json.loads(_run(capsys, "encode", source, jgs, *options))
  assert 1 <= facts["num_gaussians"] <= size[0] * size[1]
  assert facts["psnr_db"] is None or facts["psnr_db"] > 8
  _run(capsys, "decode", jgs, source)
  assert read_image(source).pixels.shape == (*size, 3)


# Targets.


def test_size_and_quality(capsys, tmp_path):
  parrot = read_image(DATA / "data" / "parrot.png").pixels
  crop, jgs = tmp_path / "crop.png", tmp_path / "a.jgs"
  write_image(crop, parrot[100:156, 100:164])
  options = ("--steps", "60", "--json")
  encode = ("encode", crop, jgs, *options)
  facts = json.loads(_run(capsys, *encode, "--bpp", "1"))
  assert facts["bpp"] == 8 * jgs.stat().st_size / (56 * 64)
  np.testing.assert_allclose(facts["bpp"], 1, rtol=0.03)
  assert facts["psnr_db"] > 24
  # What its first try gives: every further one compiles. The search itself is
  # tested in rate_control_test.
  facts = json.loads(_run(capsys, *encode, "--psnr", "26.7"))
  assert 26.7 <= facts["psnr_db"] < 27.2
  evaluated = json.loads(_run(capsys, "eval", crop, jgs, "--json"))
  assert evaluated["psnr_db"] == facts["psnr_db"]


def test_targets_out_of_reach(capsys, tmp_path):
  source, jgs = tmp_path / "a.png", tmp_path / "a.jgs"
  write_image(source, _picture(3, 2, 3))
  encode = ("encode", source, jgs, "--steps", "1")
  code, line = _refusal(capsys, *encode, "--psnr", "100")
  assert code == 1
  assert "cannot reach 100.00 dB" in line
  assert "6 Gaussians" in line
  code, line = _refusal(capsys, *encode, "--bpp", "1000")
  assert code == 1
  assert "--bpp 1000 of 3x2: cannot reach 750 bytes" in line
  assert not jgs.exists()
  _run(capsys, *encode)
  _run(capsys, "decode", jgs, source)
  assert read_image(source).pixels.shape == (2, 3, 3)


# Decode.


def test_crop_is_that_window(capsys, tmp_path):
  whole, crop = tmp_path / "whole.png", tmp_path / "crop.png"
  _run(capsys, "decode", RGBA, whole, "--scale", "2")
  _run(capsys, "decode", RGBA, crop, "--scale", "2", "--crop", "37,5,30,21")
  expected = read_image(whole).pixels
  assert expected.shape == (128, 128, 4)
  expected = expected[5:26, 37:67]
  assert np.ptp(expected) > 0.1
  found = read_image(crop).pixels
  assert found.shape == (21, 30, 4)
  np.testing.assert_allclose(found, expected, atol=1.01 / 255)


@pytest.mark.parametrize(
  ("option", "value", "size"),
  (
    ("--scale", "0.5", (50, 16)),
    ("--height", "20", (20, 7)),
    ("--height", "1", (1, 1)),
  ),
)
def test_output_sizes(capsys, tmp_path, option, value, size):
  out = tmp_path / "a.png"
  text = _run(capsys, "decode", GREY_16_BIT, out, option, value)
  assert f"{size[1]}x{size[0]} pixels" in text
  assert read_image(out).pixels.shape == (*size, 1)
  assert read_image(out).bit_depth == 16


# Info and eval.


def test_info(capsys):
  facts = json.loads(_run(capsys, "info", RGBA, "--json"))
  assert (facts["height"], facts["width"], facts["channels"]) == (64, 64, 4)
  assert facts["num_gaussians"] == 220
  assert (facts["cutoff"], facts["top_k"]) == (9.0, 0)
  np.testing.assert_allclose(facts["gamma"], 2.2, atol=1e-3)
  size = os.path.getsize(RGBA)
  assert sum(facts["section_bytes"].values()) == facts["bytes"] == size
  bits = facts["section_bits_per_gaussian"]
  assert {"position", "scale", "angle", "weight", "feature"} < set(bits)
  np.testing.assert_allclose(sum(bits.values()), 8 * size / 220)
  text = _run(capsys, "info", RGBA)
  assert re.search(r"^num_gaussians +220$", text, re.MULTILINE)
  for name, count in facts["section_bytes"].items():
    pattern = rf"^{name} +{count} +{bits[name]:.2f}$"
    assert re.search(pattern, text, re.MULTILINE)


def test_backends(capsys, monkeypatch):
  facts = json.loads(_run(capsys, "info", "--backends", "--json"))
  assert set(facts["backends"]) == set(kernels.BACKENDS)
  assert facts["backends"]["reference"] == facts["backends"]["xla"] == ""
  assert facts["backends"][facts["default"]] == ""
  assert facts["jax"] == jax.__version__
  text = _run(capsys, "info", "--backends")
  assert re.search(rf"^{facts['default']} +available, the def", text, re.M)
  if not facts["native_library"]:
    assert facts["num_threads"] >= 1
    assert f"{facts['instruction_set']}, {facts['num_threads']} thr" in text

  monkeypatch.setenv("JAXGS_NATIVE", "0")
  facts = json.loads(_run(capsys, "info", "--backends", "--json"))
  assert facts["native_library"] == facts["backends"]["cpu"]
  assert "JAXGS_NATIVE=0" in facts["native_library"]
  text = _run(capsys, "info", "--backends")
  assert re.search("^cpu +switched off by JAXGS_NATIVE=0", text, re.M)


def test_eval_of_identical_pictures(capsys, rgb):
  facts = json.loads(_run(capsys, "eval", rgb, rgb, "--json"))
  assert facts["psnr_db"] is None
  np.testing.assert_allclose(facts["ms_ssim"], 1, atol=1e-5)
  assert "PSNR inf dB" in _run(capsys, "eval", rgb, rgb)


def test_progress_on_a_terminal_only(capsys, monkeypatch):
  config = preset("fast", num_gaussians=12, num_steps=40)

  def fit(quiet):
    bar, report = encode._progress(config, quiet)
    with bar:
      for step in (10, 40, 20, 40):  # The second fit of a search, too.
        active = np.arange(12) < step
        report(types.SimpleNamespace(step=step, mse=0.01, active=active))
    return capsys.readouterr().err

  assert fit(quiet=False) == ""
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
  assert fit(quiet=True) == ""
  bars = fit(quiet=False)
  assert "40/40" in bars
  assert "20.00 dB, 12 Gaussians" in bars


# As a process.


def test_exit_codes():
  version = _command("--version")
  assert version.returncode == 0
  assert re.fullmatch(r"jaxgs \d+\.\d+\.\d+\S*\n", version.stdout)
  wrong = _command("info", "missing.jgs")
  assert (wrong.returncode, wrong.stdout) == (1, "")
  assert wrong.stderr == (
    "jaxgs info: error: missing.jgs: No such file or directory\n"
  )


def test_reader_that_leaves():
  read_end, write_end = os.pipe()
  os.close(read_end)
  with os.fdopen(write_end, "wb") as pipe:
    info = [sys.executable, "-m", "jaxgs.cli", "info", RGBA]
    found = subprocess.run(
      info, stdout=pipe, stderr=subprocess.PIPE, check=False
    )
  assert (found.returncode, found.stderr) == (0, b"")


def test_names_that_are_no_text(capsys, monkeypatch, tmp_path):
  black = np.zeros((64, 64, 4), np.uint8)
  monkeypatch.setattr(jgs_file, "draw", lambda *parts, **options: black)
  out = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
  text = _run(capsys, "decode", RGBA, out)
  assert r"\udcff.png: 64x64 pixels" in text
  assert os.path.exists(out)
