"""`jaxgs encode-stack`, and what the other commands do with its files."""

import json
import pathlib
import re

import numpy as np
import pytest

from jaxgs import cli, decode
from jaxgs.cli import encode, folder, scoring
from jaxgs.io import Image, read_image, write_image

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"
STACK = str(GOLDEN / "stack.jgs")  # 64x48, 5 maps.
LINEAR = str(GOLDEN / "linear_rgb.jgs")
RGBA = str(GOLDEN / "axis_rgba.jgs")

ONE = ("--num_gaussians", "12", "--steps", "1")


def _picture(channels, height=20, width=24):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 9) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


@pytest.fixture(name="maps")
def _maps(tmp_path):
  """A folder of maps and other things."""
  source = tmp_path / "maps"
  source.mkdir()
  write_image(source / "albedo.jpg", _picture(3))
  write_image(source / "height.png", _picture(1), bit_depth=16)
  write_image(source / "leaf.png", _picture(4), has_alpha=True)
  write_image(source / "the normal.png", _picture(3, 10, 12))
  (source / ".hidden.png").write_text("?")
  (source / "notes.txt").write_text("?")
  (source / "old.png").mkdir()
  return source


def _run(capsys, *argv):
  code = cli.main([str(arg) for arg in argv])
  out, err = capsys.readouterr()
  assert code == 0, err
  return out, err


def _refusal(capsys, *argv):
  try:
    code = cli.main([str(arg) for arg in argv])
  except SystemExit as exit:
    code = exit.code
  out, err = capsys.readouterr()
  assert out == ""
  assert err.count("\n") == 1
  assert re.match(r"jaxgs( [\w-]+)?: error: ", err)
  return code, err


def _score(args, name, reference, pixels, one):
  """Instead of all scores, which take longer to compile than to compute."""
  psnr = -10 * np.log10(np.mean((reference - pixels) ** 2))
  return {"psnr_db": float(psnr)} if name == "psnr" else {}


def test_there_and_back(capsys, monkeypatch, tmp_path, maps):
  monkeypatch.setattr(scoring, "_score", _score)
  jgs, out = tmp_path / "a.jgs", tmp_path / "out.d"
  text, err = _run(capsys, "encode-stack", maps, jgs, *ONE, "--json")
  line = "jaxgs encode-stack: the normal: 12x10 is resized to 24x20\n"
  assert err == line
  facts = json.loads(text)
  assert facts["bytes"] == jgs.stat().st_size
  names = ["albedo", "height", "leaf", "the normal"]
  assert list(facts["maps"]) == names
  assert facts["psnr_db"] > 8

  described = json.loads(_run(capsys, "info", jgs, "--json")[0])
  assert [one["name"] for one in described["maps"]] == names
  assert not any(one["is_normal"] for one in described["maps"])
  text = _run(capsys, "info", jgs)[0]
  assert "map 'the normal'" in text
  assert "has_alpha  " not in text  # Each map says that for itself.

  # What else is in the folder stays.
  out.mkdir()
  (out / "mine.txt").write_text("?")
  (out / "height.png").write_text("?")
  text, _ = _run(capsys, "decode", jgs, out)
  assert "4 maps of 24x20" in text
  assert {p.name for p in out.iterdir()} == {
    "mine.txt",
    *(f"{name}.png" for name in names),
  }
  drawn = {name: read_image(out / f"{name}.png") for name in names}
  assert [i.bit_depth for i in drawn.values()] == [8, 16, 8, 8]
  assert [i.pixels.shape[2] for i in drawn.values()] == [3, 1, 4, 3]

  measured = json.loads(_run(capsys, "eval", maps, jgs, "--json")[0])
  assert measured["maps"] == facts["maps"]
  assert "height: PSNR" in _run(capsys, "eval", maps, jgs)[0]


def test_some_maps_at_another_size(capsys, tmp_path):
  out = tmp_path / "new"
  options = ("--map", "albedo", "--map", "height", "--height", "24")
  _run(capsys, "decode", STACK, out, *options)
  files = sorted(out.iterdir())
  assert [f.name for f in files] == ["albedo.png", "height.png"]
  assert read_image(files[1]).pixels.shape == (24, 32, 1)


def test_options_reach_the_fit(monkeypatch, tmp_path, maps):
  class Seen(Exception):
    pass

  def compress(args, job, watch):
    raise Seen(job)

  monkeypatch.setattr(encode, "_compress", compress)
  options = ("--height", "10", "--gamma", "2.2", "--normal", "albedo")
  options += ("--weight", "height=3")
  with pytest.raises(Seen) as caught:
    cli.main(
      ["encode-stack", str(maps), str(tmp_path / "a.jgs"), *ONE, *options]
    )
  (job,) = caught.value.args
  assert job.image.shape == (10, 12, 11)
  assert job.config.gamma == 2.2
  weights = job.config.fit.channel_weights
  assert weights == (1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1)
  assert [one.is_normal for one in job.maps] == [True, False, False, False]


def test_resized_alpha_and_peaks_stay_in_range():
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 2, (9, 9, 4)).astype(np.float32)
  image = Image(pixels, 8, True)
  (out,) = folder.resize_maps({"a": image}, (30, 31), "eval").values()
  assert out.pixels.shape == (30, 31, 4)
  assert 0 <= out.pixels.min() <= out.pixels.max() <= 1
  flat = Image(np.full((4, 4, 4), 0.25, np.float32), 16, True)
  (out,) = folder.resize_maps({"a": flat}, (7, 5), "eval").values()
  np.testing.assert_allclose(out.pixels, 0.25, atol=1e-6)


@pytest.mark.parametrize(
  ("change", "options", "reason"),
  (
    ("clash", (), "albedo.jpg and albedo.png would be one map"),
    ("broken", (), "height.png: truncated PNG"),
    ("colon", (), "a:b.png: the name has a slash, a backslash or a colon"),
    ("none", (), "no images"),
    ("many", (), "maps: header channels: got 65, want 1..64"),
    ("missing", (), "No such file"),
    ("", ("--weight", "gloss=2"), "no map 'gloss', only albedo, height"),
    ("", ("--weight", "gloss"), "must be NAME=W"),
    ("", ("--weight", "albedo=0"), "must be NAME=W"),
    ("", ("--normal", "gloss"), "no map 'gloss'"),
    ("", ("--normal", "height"), "--normal height: has 1 channels"),
    ("", ("--num_gaussians", "481"), "481 is more than the 480 pixels"),
    ("", ("--gamma", "0"), "argument --gamma"),
  ),
)
def test_bad_folders(
  capsys, monkeypatch, tmp_path, maps, change, options, reason
):
  monkeypatch.setattr(encode, "_compress", None)
  if change == "clash":
    write_image(maps / "albedo.png", _picture(3))
  elif change == "broken":
    data = (maps / "height.png").read_bytes()
    (maps / "height.png").write_bytes(data[:-20])
  elif change == "colon":
    write_image(maps / "b.png", _picture(3))
    (maps / "b.png").rename(maps / "a:b.png")
  elif change == "many":
    (maps / "the normal.png").unlink()
    for i in range(57):
      write_image(maps / f"{i}.png", _picture(1))
  elif change == "none":
    maps = tmp_path / "empty"
    maps.mkdir()
  elif change == "missing":
    maps = tmp_path / "missing"
  output = tmp_path / "a.jgs"
  _, line = _refusal(capsys, "encode-stack", maps, output, *options)
  assert reason in line
  assert not output.exists()


@pytest.mark.parametrize(
  ("jgs", "out", "options", "reason"),
  (
    (STACK, "file.png", (), "is a stack of 5 maps, expected a folder"),
    (STACK, "new", ("--map", "gloss"), "no map 'gloss', it has albedo"),
    (RGBA, "a.png", ("--map", "a"), "no map 'a', it is one picture"),
    (LINEAR, "a.png", (), "a.png: "),
    (STACK, "new", ("--scale", "700"), "over the limit of"),
  ),
)
def test_decode_refuses(capsys, tmp_path, jgs, out, options, reason):
  (tmp_path / "file.png").write_text("?")
  code, line = _refusal(capsys, "decode", jgs, tmp_path / out, *options)
  assert code == 1
  assert reason in line
  assert [p.name for p in tmp_path.iterdir()] == ["file.png"]


def test_a_profile_that_a_file_cannot_hold_is_left_out(capsys, tmp_path):
  jgs = GOLDEN / "premultiplied_rgba.jgs"  # Its profile is none.
  _, err = _run(capsys, "decode", jgs, tmp_path / "a.png")
  assert err.count("\n") == 1
  assert "a.png: colour profile damaged of no known colours" in err
  assert read_image(tmp_path / "a.png").pixels.shape == (40, 50, 4)
  _, line = _refusal(capsys, "decode", jgs, tmp_path / "a.jpg")
  assert "cannot store alpha" in line


def test_eval_refuses(capsys, tmp_path, maps):
  picture = maps / "albedo.jpg"
  for pair, reason in (
    ((picture, STACK), "is a stack of 5 maps, expected a folder"),
    ((maps, RGBA), "is one picture, expected an image"),
    ((maps, picture), "is a folder, expected .jgs"),
    ((maps, STACK), "no image for the map"),
  ):
    code, line = _refusal(capsys, "eval", *pair)
    assert code == 1
    assert reason in line


def test_linear_light(capsys, monkeypatch, tmp_path):
  pixels = 40 * _picture(3) ** 3
  image = Image(pixels, 16, False, "half", b"colours")
  monkeypatch.setattr(encode, "read_image", lambda *_, **__: image)
  jgs = tmp_path / "a.jgs"
  jgs.write_text("old")
  (tmp_path / "in.exr").write_text("?")
  text, _ = _run(
    capsys, "encode", tmp_path / "in.exr", jgs, *ONE, "--curve", "pu"
  )
  assert re.search(r"log-PSNR \d+\.\d+ dB, PU-PSNR", text)
  header, _ = decode(jgs.read_bytes())
  (one,) = header.pictures
  assert (one.curve, one.sample, header.icc) == ("pu", "half", b"colours")
