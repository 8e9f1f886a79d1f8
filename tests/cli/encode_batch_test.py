import json
import pathlib
import re
import sys

import numpy as np
import pytest

import jaxgs
from jaxgs import cli
from jaxgs.cli import encode_batch
from jaxgs.io import Image, read_image, write_image

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"

# One step compiles one program.
FEW = ("--num_gaussians", "12", "--steps", "1")


def picture(channels=3, height=20, width=24, phase=0.0):
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 9 + phase) for k in range(channels)]
  return np.stack(waves, -1).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
  """a.png, b.png (smaller), and what is left out."""
  source = tmp_path / "in"
  (source / "sub.png").mkdir(parents=True)
  write_image(source / "a.png", picture())
  write_image(source / "b.png", picture(height=17, width=22, phase=1))
  write_image(source / "sub.png" / "deep.png", picture())
  (source / ".c.png").write_bytes(b"hidden")
  (source / "notes.txt").write_text("no image")
  return source


def run(capsys, *argv, code=0):
  """The lines on stdout and on stderr."""
  assert cli.main(["encode-batch", *map(str, argv)]) == code
  out, err = capsys.readouterr()
  return out.splitlines(), err.splitlines()


def run_json(capsys, *argv, code=0):
  out, err = run(capsys, *argv, "--json", code=code)
  return [json.loads(line) for line in out], err


def names(path):
  return sorted(entry.name for entry in path.iterdir())


def test_folder_and_resume(capsys, tmp_path, folder):
  out = tmp_path / "new" / "out"
  *lines, summary = run(capsys, folder, out, *FEW)[0]
  assert names(out) == ["a.jgs", "b.jgs"]
  for line, name in zip(sorted(lines), "ab", strict=True):
    data = (out / f"{name}.jgs").read_bytes()
    image = read_image(folder / f"{name}.png").pixels
    height, width, _ = image.shape
    error = jaxgs.decompress(data) / 255.0 - image
    bpp = 8 * len(data) / (height * width)
    assert re.fullmatch(
      f"{out}/{name}.jgs: {len(data)} bytes, {bpp:.3f} bpp, 12 Gaussians, PSNR"
      rf" {-10 * np.log10(np.mean(error**2)):.2f} dB, \d+\.\d s",
      line,
    )
  assert re.match(r"2 written, 0 skipped, 0 failed, \d+ bytes, mean", summary)

  # Whole files stay, whatever their settings; others are made again.
  before = (out / "a.jgs").read_bytes()
  (out / "b.jgs").write_bytes(before)  # Of another size.
  a, b, summary = run_json(capsys, folder, out, *FEW, "--seed", "3")[0]
  assert (a["skipped"], a["bytes"]) == (True, len(before))
  assert b["file"] == str(out / "b.jgs")
  assert b["bytes"] == (out / "b.jgs").stat().st_size
  counts = {name: summary[name] for name in ("written", "skipped", "failed")}
  assert counts == {"written": 1, "skipped": 1, "failed": 0}
  assert summary["mean_psnr_db"] == b["psnr_db"]
  assert (out / "a.jgs").read_bytes() == before
  (out / "a.jgs").write_bytes(before[:-5])
  out_lines, _ = run(capsys, folder, out, *FEW)
  assert out_lines[0] == (
    f"{out / 'b.jgs'}: skipped, is there already, {b['bytes']} bytes"
  )
  assert (out / "a.jgs").read_bytes() == before


def test_bad_images_do_not_stop_the_rest(capsys, tmp_path, folder):
  (folder / "0_empty.png").write_bytes(b"")
  (folder / "aa_cut.png").write_bytes((folder / "a.png").read_bytes()[:-20])
  write_image(folder / "ab_small.tif", picture(1, 2, 3))
  (folder / "ac_lost.jpg").symlink_to("nowhere")
  write_image(folder / "ad.png", picture())
  out = tmp_path / "out"
  (out / "ad.jgs").mkdir(parents=True)
  facts, err = run_json(capsys, folder, out, *FEW, code=1)
  reasons = {
    "0_empty.png": "empty file",
    "aa_cut.png": "truncated PNG",
    "ab_small.tif": "--num_gaussians 12 is more than its 6 pixels",
    "ac_lost.jpg": "no such file",
  }
  expected = [f"{folder / name}: {why}" for name, why in reasons.items()]
  expected.append(f"{out / 'ad.jgs'}: is a directory")
  assert err == [f"jaxgs encode-batch: error: {line}" for line in expected]
  assert [x["error"] for x in facts if "error" in x] == expected
  assert names(out) == ["a.jgs", "ad.jgs", "b.jgs"]
  assert (facts[-1]["written"], facts[-1]["failed"]) == (2, 5)


def test_faults_while_fitting_and_writing(
  capsys, monkeypatch, tmp_path, folder
):
  out = tmp_path / "out"
  write = encode_batch.write_atomic

  def write_some(path, data):
    if path.endswith("a.jgs"):
      raise ValueError("no\nway")
    write(path, data)

  monkeypatch.setattr(encode_batch, "write_atomic", write_some)
  lines, err = run(capsys, folder, out, *FEW, code=1)
  assert err == [
    f"jaxgs encode-batch: error: {folder / 'a.png'}: ValueError: no way"
  ]
  assert lines[-1].startswith("1 written, 0 skipped, 1 failed")
  assert names(out) == ["b.jgs"]


def test_interrupt_leaves_whole_files(capsys, monkeypatch, tmp_path, folder):
  write_image(folder / "c.png", picture(1))  # Another program.
  take = encode_batch._Folder.take

  def stop(self, done):
    take(self, done)
    raise KeyboardInterrupt

  monkeypatch.setattr(encode_batch._Folder, "take", stop)
  out = tmp_path / "out"
  lines, err = run(capsys, folder, out, *FEW, code=130)
  assert err == ["jaxgs encode-batch: interrupted"]
  assert len(lines) == 1
  assert names(out)
  for path in out.iterdir():
    jaxgs.decode(path.read_bytes())


def test_channels_and_depth(capsys, tmp_path):
  source, out = tmp_path / "in", tmp_path / "out"
  source.mkdir()
  write_image(source / "a.png", picture(2), bit_depth=16, has_alpha=True)
  run(capsys, source, out, *FEW)
  header, _ = jaxgs.decode((out / "a.jgs").read_bytes())
  (one,) = header.pictures
  assert (one.channels, one.bit_depth, one.has_alpha) == (2, 16, True)


def test_files_of_one_name():
  assert encode_batch._file_names(["a.png", "b.jpg"]) == ["a.jgs", "b.jgs"]
  assert encode_batch._file_names(["a.png", "A.jpg", "b.c.png"]) == [
    *("a.png.jgs", "A.jpg.jgs", "b.c.jgs")
  ]
  assert encode_batch._file_names(["a.jpg", "a.png", "a.png.png"]) == [
    *("a.jpg.jgs", "a.png.jgs", "a.png.png.jgs")
  ]


def test_nothing_to_do(capsys, monkeypatch, tmp_path, folder):
  empty, file = tmp_path / "empty", tmp_path / "file"
  empty.mkdir()
  file.write_bytes(b"x")
  for source, target, reason in (
    (empty, tmp_path / "out", f"{empty}: no images (.png, "),
    (tmp_path / "none", tmp_path / "out", f"{tmp_path / 'none'}: No such file"),
    (file, tmp_path / "out", f"{file}: Not a directory"),
    (folder, file, f"{file}: File exists"),
  ):
    out, err = run(capsys, source, target, code=1)
    assert out == []
    assert len(err) == 1
    assert err[0].startswith(f"jaxgs encode-batch: error: {reason}")
  assert not (tmp_path / "out").exists()
  monkeypatch.setenv("JAXGS_BACKEND", "abacus")
  _, err = run(capsys, folder, tmp_path / "out", code=1)
  assert "'abacus'" in err[0]


def test_bar_on_a_terminal_only(capsys, monkeypatch, tmp_path, folder):
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
  (folder / "b.png").write_bytes(b"")
  _, err = run(capsys, folder, tmp_path / "out", *FEW, code=1)
  assert "1/1" in "".join(err)  # The empty one is no longer counted.
  _, err = run_json(capsys, folder, tmp_path / "out", *FEW, code=1)
  assert len(err) == 1


def test_help_says_what_is_left_out(capsys):
  with pytest.raises(SystemExit):
    cli.main(["encode-batch", "--help"])
  text = " ".join(capsys.readouterr().out.split())
  for words in ("Sub-folders, hidden files", "a.png.jgs", "is skipped"):
    assert words in text


def test_a_stack_is_not_the_file_of_an_image():
  stack = GOLDEN / "stack.jgs"
  pixels = np.zeros((48, 64, 14), np.float32)
  assert encode_batch._size_of_file(stack, Image(pixels, 8, False)) is None
  one = GOLDEN / "linear_rgb.jgs"
  image = Image(np.zeros((60, 50, 3), np.float32), 8, False)
  assert encode_batch._size_of_file(one, image) == one.stat().st_size
