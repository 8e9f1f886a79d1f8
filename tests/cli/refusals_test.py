"""What `jaxgs` does about mistakes, damage and faults."""

import pathlib
import re

import jax
import numpy as np
import pytest

from jaxgs import cli, codec
from jaxgs.cli import encode, jgs_file
from jaxgs.io import write_image

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"
RGBA = str(GOLDEN / "axis_rgba.jgs")  # 64x64
GREY_16_BIT = str(GOLDEN / "sum_gray.jgs")  # 33x100
SIX_CHANNELS = str(GOLDEN / "six_channels.jgs")


def _picture(channels, height=20, width=24):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 9) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


@pytest.fixture
def rgb(tmp_path):
  write_image(tmp_path / "rgb.png", _picture(3))
  return str(tmp_path / "rgb.png")


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


# Decode.


@pytest.mark.parametrize(
  ("jgs", "name", "options", "reason"),
  (
    (RGBA, "a.jpg", (), "cannot store alpha"),
    (SIX_CHANNELS, "a.png", (), "6 channels"),
    (RGBA, "a.gif", (), "unknown suffix '.gif'"),
    (RGBA, "a.exr", (), ".exr stores linear light, the picture has integers"),
    (RGBA, "missing/a.png", (), "no such folder"),
    (RGBA, "a.png", ("--crop", "60,0,5,64"), "--crop 60,0,5,64 is not within"),
    (RGBA, "a.png", ("--crop", "0,0,0,1"), "not within the 64x64"),
    (RGBA, "a.png", ("--scale", "0.5", "--crop", "0,0,33,32"), "32x32"),
    (RGBA, "a.png", ("--scale", "1000"), "64000x64000 is over the limit"),
    (
      RGBA,
      "a.png",
      ("--max_pixels", "4095"),
      "64x64 is over the limit of 4095 pixels: see --crop, --max_pixels",
    ),
    (
      GREY_16_BIT,
      "a.webp",
      ("--height", "16384", "--crop", "0,0,9,16384"),
      "9x16384 is larger than .webp",
    ),
    ("missing.jgs", "a.png", (), "missing.jgs: No such file"),
  ),
)
def test_decode_refuses_before_it_draws(
  capsys, monkeypatch, tmp_path, jgs, name, options, reason
):
  monkeypatch.setattr(jgs_file, "draw", None)
  code, line = _refusal(capsys, "decode", jgs, tmp_path / name, *options)
  assert code == 1
  assert reason in line
  assert not list(tmp_path.iterdir())


def test_output_is_not_the_input(capsys, tmp_path):
  # The content decides what a file is, so names prove nothing.
  picture, jgs = tmp_path / "picture.jgs", tmp_path / "jgs.png"
  write_image(tmp_path / "a.png", _picture(3))
  (tmp_path / "a.png").rename(picture)
  jgs.write_bytes(pathlib.Path(RGBA).read_bytes())
  for command, path in (("encode", picture), ("decode", jgs)):
    before = path.read_bytes()
    code, line = _refusal(capsys, command, path, path)
    assert code == 1
    assert "is the input" in line
    assert path.read_bytes() == before


def test_damaged_files(capsys, tmp_path, rgb):
  data = pathlib.Path(RGBA).read_bytes()
  flipped = bytearray(data)
  flipped[len(data) // 2] ^= 1
  cases = {
    b"": "empty file",
    b"GIF89a": "not a .jgs file",
    data[:-9]: "section container, byte",
    bytes(flipped): r"checksum of section \w+ does not match",
    data + b"?": "byte",
  }
  path, out = tmp_path / "a.jgs", tmp_path / "a.png"
  for content, reason in cases.items():
    path.write_bytes(content)
    commands = [("info", path), ("decode", path, out)]
    if content.startswith(data[:4]):  # Else it is taken for an image.
      commands.append(("eval", rgb, path))
    for command in commands:
      code, line = _refusal(capsys, *command)
      assert code == 1
      assert f"{path}: " in line
      assert re.search(reason, line)
  assert not out.exists()


def test_file_that_would_take_too_long(capsys, tmp_path):
  n = 300
  header = codec.Header(
    height=8192,
    width=8192,
    channels=1,
    num_gaussians=n,
    lattice=codec.Lattice(3277, 0, 2133, 9830, (786,)),
  )
  zeros = np.zeros(n, np.int64)
  symbols = codec.Symbols(
    position=np.zeros((n, 2), np.int64),
    scale=np.stack([zeros + 200, zeros], -1),  # 10 nat: 22 thousand pixels.
    angle=zeros,
    weight=zeros,
    feature=zeros[:, None],
  )
  path = tmp_path / "a.jgs"
  path.write_bytes(codec.encode(header, symbols))
  code, line = _refusal(capsys, "decode", path, tmp_path / "a.png")
  assert code == 1
  assert f"{path}: the splats touch" in line
  assert not (tmp_path / "a.png").exists()


# Eval.


def test_eval_of_other_shapes(capsys, monkeypatch, tmp_path, rgb):
  monkeypatch.setattr(jgs_file, "draw", None)
  code, line = _refusal(capsys, "eval", rgb, RGBA)
  assert code == 1
  assert f"{RGBA} is 64x64 with 4 channels, {rgb} is 24x20 with 3" in line
  write_image(tmp_path / "grey.png", _picture(1))
  code, line = _refusal(capsys, "eval", rgb, tmp_path / "grey.png")
  assert code == 1
  assert "with 1 channels" in line


# Encode.


@pytest.mark.parametrize(
  ("source", "output", "options", "reason"),
  (
    ("missing.png", "a.jgs", (), "missing.png: no such file"),
    (".", "a.jgs", (), "is a directory"),
    ("empty.png", "a.jgs", (), "empty.png: empty file"),
    ("text.png", "a.jgs", (), "text.png: not a PNG, JPEG, WebP, BMP, TIFF, "),
    ("cut.png", "a.jgs", (), "cut.png: truncated PNG"),
    ("rgb.png", "a.png", (), "a.png: unknown suffix '.png', expected"),
    ("rgb.png", "missing/a.jgs", (), "no such folder"),
    ("rgb.png", ".", (), "no suffix"),
    (
      "rgb.png",
      "a.jgs",
      ("--num_gaussians", "481"),
      "481 is more than the 480",
    ),
  ),
)
def test_encode_refuses_before_it_fits(
  capsys, monkeypatch, tmp_path, rgb, source, output, options, reason
):
  monkeypatch.setattr(encode, "_compress", None)
  (tmp_path / "empty.png").write_bytes(b"")
  (tmp_path / "text.png").write_text("just a line")
  (tmp_path / "cut.png").write_bytes(pathlib.Path(rgb).read_bytes()[:-20])
  before = sorted(tmp_path.iterdir())
  code, line = _refusal(
    capsys, "encode", tmp_path / source, tmp_path / output, *options
  )
  assert code == 1
  assert reason in line
  assert sorted(tmp_path.iterdir()) == before


def test_unknown_backend(capsys, monkeypatch, tmp_path, rgb):
  monkeypatch.setenv("JAXGS_BACKEND", "abacus")
  for command in (
    ("encode", rgb, tmp_path / "a.jgs"),
    ("decode", RGBA, tmp_path / "a.png"),
  ):
    code, line = _refusal(capsys, *command)
    assert code == 1
    assert "'abacus'" in line


def test_bad_number_of_threads(capsys, monkeypatch, tmp_path):
  monkeypatch.setenv("JAXGS_NUM_THREADS", "many")
  code, line = _refusal(capsys, "decode", RGBA, tmp_path / "a.png")
  assert code == 1
  assert "JAXGS_NUM_THREADS must be 1 to 1024, got 'many'" in line


@pytest.mark.parametrize(
  ("fault", "code", "message"),
  (
    (MemoryError(), 1, "error: out of memory"),
    (
      jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of\nmemory"),
      1,
      "error: RESOURCE_EXHAUSTED: Out of memory",
    ),
    (KeyboardInterrupt(), 130, "interrupted"),
  ),
)
def test_faults_leave_the_old_file(
  capsys, monkeypatch, tmp_path, rgb, fault, code, message
):
  def fail(*args, **options):
    raise fault

  monkeypatch.setattr(encode, "_compress", fail)
  path = tmp_path / "a.jgs"
  path.write_bytes(b"old")
  assert cli.main(["encode", rgb, str(path)]) == code
  out, err = capsys.readouterr()
  assert out == ""
  assert err.startswith(f"jaxgs encode: {message}")
  assert err.count("\n") == 1
  assert path.read_bytes() == b"old"
  assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
  "fault", (ValueError("bug"), TypeError("bug"), RuntimeError("bug"))
)
def test_faults_of_the_program_are_shown(monkeypatch, tmp_path, rgb, fault):
  def fail(*args, **options):
    raise fault

  monkeypatch.setattr(encode, "_compress", fail)
  with pytest.raises(type(fault), match="bug"):
    cli.main(["encode", rgb, str(tmp_path / "a.jgs")])
