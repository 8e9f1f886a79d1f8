import json
import pathlib
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jaxgs import cli, convert
from tests.convert.checkpoints import malicious, of_pickle

TESTS = pathlib.Path(__file__).parents[1]
DATA = TESTS / "data"
GOLDEN = TESTS / "golden" / "v1"
IMAGE_GS = DATA / "image_gs.pt"
SIZE = ("--height", "20", "--width", "30")


def _run(capsys, *argv):
  """What a command that works prints."""
  code = cli.main([str(arg) for arg in argv])
  out, err = capsys.readouterr()
  assert (code, err) == (0, "")
  return out


def _refusal(capsys, *argv):
  """The line of a command that does not."""
  assert cli.main([str(arg) for arg in argv]) == 1
  out, err = capsys.readouterr()
  assert out == ""
  assert err.count("\n") == 1
  assert err.startswith(f"jaxgs {argv[0]}: error: ")
  return err


@pytest.mark.parametrize(
  ("name", "options"),
  (
    ("image_gs.pt", ()),
    ("image_gs.pt", ("--from", "image-gs", "--disable_topk_norm")),
    ("gaussian_image_cholesky.pth.tar", ()),
    ("gaussian_image_rs.pth.tar", ("--from", "gaussian-image")),
  ),
)
def test_import_of_checkpoints(capsys, tmp_path, name, options):
  jgs = tmp_path / "a.jgs"
  imported = ("import", DATA / name, jgs, *SIZE, *options)
  facts = json.loads(_run(capsys, *imported, "--json"))
  assert facts["bytes"] == jgs.stat().st_size
  assert 6 <= facts["num_gaussians"] <= 12
  # Half of the centres are far outside.
  assert facts["psnr_db"] > (20 if name == "image_gs.pt" else 38)
  text = _run(capsys, *imported)
  assert re.search(r"\d+ of 12 Gaussians of .* 30x20 pixels, .* dB", text)
  info = json.loads(_run(capsys, "info", jgs, "--json"))
  blend = "norm" if name == "image_gs.pt" and not options else "sum"
  assert (info["height"], info["width"], info["blend"]) == (20, 30, blend)
  coarse = _run(capsys, *imported, "--coarseness", "1", "--json")
  assert json.loads(coarse)["bytes"] < facts["bytes"]


def test_options_of_image_gs(capsys, tmp_path):
  npz = tmp_path / "a.npz"
  options = ("--disable_inverse_scale", "--gamma", "2")
  _run(capsys, "import", IMAGE_GS, npz, *SIZE, *options)
  size = {"height": 20, "width": 30}
  found = convert.read_npz(npz)
  wanted = convert.read_image_gs(IMAGE_GS, **size, inverse_scale=False, gamma=2)
  np.testing.assert_array_equal(
    found.gaussians.log_scale, wanted.gaussians.log_scale
  )
  assert found.gamma == 2


def test_arrays_and_back(capsys, tmp_path):
  npz, jgs, again = (tmp_path / name for name in ("a.npz", "a.jgs", "b.npz"))
  text = _run(capsys, "import", IMAGE_GS, npz, *SIZE)
  assert text == f"{npz}: 12 Gaussians, 30x20 pixels\n"
  _run(capsys, "import", npz, jgs)
  direct = tmp_path / "direct.jgs"
  _run(capsys, "import", IMAGE_GS, direct, *SIZE)
  assert jgs.read_bytes() == direct.read_bytes()
  text = _run(capsys, "export", jgs, again)
  assert "Gaussians, 30x20 pixels" in text
  _run(capsys, "import", again, jgs, "--from", "npz")
  assert jgs.read_bytes() == direct.read_bytes()


def test_vector_graphics(capsys, tmp_path):
  svg = tmp_path / "a.svg"
  sum_gray = GOLDEN / "sum_gray.jgs"
  text = _run(capsys, "export", sum_gray, svg)
  assert text == f"{svg}: 150 Gaussians, 33x100 pixels\n"
  assert ET.parse(svg).getroot().get("viewBox") == "0 0 33 100"
  assert "radialGradient" in svg.read_text()
  options = ("--mode", "ellipses", "--sigmas", "1")
  _run(capsys, "export", sum_gray, svg, *options)
  wanted = convert.to_svg(sum_gray.read_bytes(), mode="ellipses", sigmas=1.0)
  assert svg.read_text() == wanted


@pytest.mark.parametrize(
  ("argv", "reason"),
  (
    (
      ("import", IMAGE_GS, "a.jgs"),
      "image_gs.pt: a checkpoint of image-gs does",
    ),
    (("import", IMAGE_GS, "a.jgs", "--height", 9), "give --height and --width"),
    (("import", IMAGE_GS, "a.png", *SIZE), "unknown suffix '.png'"),
    (("import", IMAGE_GS, "x/a.jgs", *SIZE), "no such folder"),
    (("import", "missing.pt", "a.jgs", *SIZE), "missing.pt: No such file"),
    (("import", DATA / "views.pt", "a.jgs"), "not those of Image-GS"),
    (("import", DATA / "parrot.png", "a.jgs"), "no zip archive"),
    (
      ("import", IMAGE_GS, "a.jgs", *SIZE, "--from", "gaussian-image"),
      "no xyz, cholesky, features_dc among its arrays",
    ),
    (("import", IMAGE_GS, "a.jgs", "--from", "npz"), "no value version"),
    (("import", "far.npz", "a.jgs"), "none of the Gaussians reaches"),
    (("import", "far.npz", "a.jgs", "--height", 9), "says its size: no --heig"),
    (("export", "missing.jgs", "a.npz"), "missing.jgs: No such file"),
    (("export", IMAGE_GS, "a.npz"), "not a .jgs file"),
    (("export", GOLDEN / "one.jgs", "a.png"), "unknown suffix '.png'"),
    (("export", GOLDEN / "six_channels.jgs", "a.svg"), "6 channels are not"),
    (
      ("export", GOLDEN / "one.jgs", "a.npz", "--mode", "ellipses"),
      "--mode ellipses is of an .svg file",
    ),
    (
      ("export", GOLDEN / "one.jgs", "a.svg", "--sigmas", 1),
      "--sigmas is of --mode ellipses",
    ),
  ),
)
def test_refusals_leave_nothing(capsys, monkeypatch, tmp_path, argv, reason):
  monkeypatch.chdir(tmp_path)
  drawing = convert.read_image_gs(IMAGE_GS, height=20, width=30)
  mean = drawing.gaussians.mean + 1e6
  far = drawing._replace(gaussians=drawing.gaussians._replace(mean=mean))
  convert.write_npz("far.npz", far)
  before = sorted(tmp_path.iterdir())
  assert reason in _refusal(capsys, *argv)
  assert sorted(tmp_path.iterdir()) == before


def test_nothing_of_a_checkpoint_is_run(capsys, tmp_path):
  made = tmp_path / "made"
  for data in malicious(made):
    path = of_pickle(tmp_path / "a.pt", data)
    line = _refusal(capsys, "import", path, tmp_path / "a.jgs", *SIZE)
    assert f"{path}: cannot be read: the pickle " in line
  assert sorted(tmp_path.iterdir()) == [tmp_path / "a.pt"]


def test_output_is_not_the_input(capsys, tmp_path):
  for source, command in ((IMAGE_GS, "import"), (GOLDEN / "one.jgs", "export")):
    path = tmp_path / "a.npz"
    path.write_bytes(source.read_bytes())
    options = SIZE if command == "import" else ()
    assert "is the input" in _refusal(capsys, command, path, path, *options)
    assert path.read_bytes() == source.read_bytes()
