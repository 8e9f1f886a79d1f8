import dataclasses
import json
import pathlib
import sys
import types

import numpy as np
import pytest
from PIL import Image

from jaxgs import cli, codec
from jaxgs.cli import plot
from jaxgs.config import preset
from jaxgs.decompress import decompress
from jaxgs.io import read_image, write_image
from jaxgs.job import Job
from jaxgs.plots import Film, panels, progress

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"
RGBA = str(GOLDEN / "axis_rgba.jgs")  # 64x64
GREY_SUM = str(GOLDEN / "sum_gray.jgs")  # 33x100
SIX_CHANNELS = str(GOLDEN / "six_channels.jgs")


def _run(capsys, *argv):
  code = cli.main(["plot", *map(str, argv)])
  out, err = capsys.readouterr()
  assert (code, err) == (0, "")
  return out


def _refusal(capsys, *argv):
  code = cli.main(["plot", *map(str, argv)])
  out, err = capsys.readouterr()
  assert (code, out) == (1, "")
  assert err.count("\n") == 1
  return err


@pytest.fixture
def reference(tmp_path):
  """The decoded picture of RGBA, darkened."""
  pixels = decompress(pathlib.Path(RGBA).read_bytes()) / np.float32(255)
  write_image(tmp_path / "ref.png", 0.9 * pixels, has_alpha=True)
  return tmp_path / "ref.png"


@pytest.mark.parametrize(
  "kind", ("ellipses", "centers", "ids", "error", "gradient", "sheet")
)
def test_kinds(capsys, tmp_path, reference, kind):
  out = tmp_path / "a.png"
  text = _run(capsys, RGBA, out, "--kind", kind, "--image", reference)
  drawn = read_image(out).pixels
  assert f"{kind}, {drawn.shape[1]}x{drawn.shape[0]} pixels" in text
  assert drawn[..., :3].std() > 0.05


@pytest.mark.parametrize(
  ("file", "kind"),
  ((GREY_SUM, "ellipses"), (GREY_SUM, "gradient"), (SIX_CHANNELS, "centers")),
)
def test_other_channels(capsys, tmp_path, file, kind):
  out = tmp_path / "a.png"
  _run(capsys, file, out, "--kind", kind, "--scale", "2")
  assert read_image(out).pixels.std() > 0.05


def test_scale_and_window(capsys, tmp_path):
  out = tmp_path / "a.png"
  bare = (RGBA, out, "--bare", "--background", "image", "--alpha", "0")
  _run(capsys, *bare, "--scale", "1")
  pixels = decompress(pathlib.Path(RGBA).read_bytes()) / np.float32(255)
  rgb = panels.to_rgb(pixels, has_alpha=True)
  drawn = read_image(out).pixels[..., :3]
  np.testing.assert_allclose(drawn, rgb, atol=1.01 / 255)
  # The file is drawn anew: at a scale it is finer than its pixels.
  _run(capsys, *bare, "--scale", "4", "--crop", "10,20,30,16")
  fine = decompress(
    pathlib.Path(RGBA).read_bytes(), scale=4, crop=(40, 80, 120, 64)
  )
  rgb = panels.to_rgb(fine / np.float32(255), has_alpha=True)
  drawn = read_image(out).pixels[..., :3]
  np.testing.assert_allclose(drawn, rgb, atol=1.01 / 255)


@pytest.mark.parametrize(
  ("name", "options", "suffix"),
  (
    ("premultiplied_rgba", (), ".png"),
    ("linear_rgb", (), ".exr"),
    ("stack", ("--map", "albedo"), ".png"),
    ("stack", ("--map", "leaf-Ä"), ".png"),
    ("stack", ("--map", "glow"), ".exr"),
  ),
)
@pytest.mark.parametrize("kind", ("sheet", "flip", "ids"))
def test_maps(capsys, tmp_path, name, options, suffix, kind):
  file = GOLDEN / f"{name}.jgs"
  if suffix == ".exr":
    pytest.importorskip("OpenEXR", reason="OpenEXR files")
  (tmp_path / "maps").mkdir()
  decoded = tmp_path / "maps" / f"a{suffix}"
  if options:
    assert cli.main(["decode", str(file), str(tmp_path / "maps")]) == 0
    decoded = decoded.with_stem(options[1])
  else:
    assert cli.main(["decode", str(file), str(decoded)]) == 0
  capsys.readouterr()
  out = tmp_path / "a.png"
  seen = (*options, "--image", decoded, "--kind", kind)
  _run(capsys, file, out, *seen, "--scale", "1")
  assert np.ptp(read_image(out).pixels) > 0.5


def test_colours_of_maps_are_those_of_their_pictures(capsys, tmp_path):
  # One splat all over a picture: it has the colour of the picture.
  for name in ("premultiplied_rgba", "linear_rgb", "stack"):
    header, _ = codec.decode((GOLDEN / f"{name}.jgs").read_bytes())
    lattice = header.lattice._replace(
      geometry_power=0, feature_power=0, feature_weight_power=0
    )
    header = dataclasses.replace(
      header, num_gaussians=1, gamma=512, lattice=lattice
    )
    values = np.linspace(0.5, 0.9, header.channels) * 2**16
    one = codec.Symbols(
      position=np.zeros((1, 2), int),
      scale=np.array([[60, 0]]),
      angle=np.array([0]),
      weight=np.array([0]),
      feature=np.rint(values / lattice.feature_step).astype(int)[None],
    )
    file = tmp_path / f"{name}.jgs"
    file.write_bytes(codec.encode(header, one))
    seen = []
    for options in ((), ("--background", "image", "--alpha", "0")):
      bare = ("--bare", "--scale", "1", "--sigmas", "9", *options)
      _run(capsys, file, tmp_path / "a.png", *bare)
      seen.append(read_image(tmp_path / "a.png").pixels[8, 8, :3])
    np.testing.assert_allclose(*seen, atol=0.02, err_msg=name)
    assert np.ptp(seen[0]) > 0.1


def test_refusals_of_maps(capsys, tmp_path, reference):
  stack, light = GOLDEN / "stack.jgs", GOLDEN / "linear_rgb.jgs"
  out = tmp_path / "a.png"
  line = _refusal(capsys, stack, out, "--map", "bump")
  assert "no map 'bump', it has albedo, height" in line
  line = _refusal(capsys, light, out, "--map", "bump")
  assert "no map 'bump', it is one picture" in line
  write_image(reference, np.zeros((60, 50, 3), np.float32))
  line = _refusal(capsys, light, out, "--kind", "error", "--image", reference)
  assert "linear_rgb.jgs is linear light (floats), " in line


def test_images_have_errors_too(capsys, tmp_path, reference):
  out = tmp_path / "a.png"
  same = ("--image", reference, "--kind", "error")
  _run(capsys, reference, out, *same, "--bare", "--scale", "1")
  assert np.ptp(read_image(out).pixels[..., :3], axis=(0, 1)).max() == 0
  _run(capsys, RGBA, out, *same, "--signed")
  _run(capsys, reference, out, "--kind", "gradient")


def test_maps_of_other_modules(capsys, tmp_path, reference):
  for kind in ("flip", "saliency"):
    out = tmp_path / f"{kind}.png"
    _run(capsys, RGBA, out, "--kind", kind, "--image", reference)
    assert np.ptp(read_image(out).pixels) > 0.5


@pytest.fixture
def folder(tmp_path):
  """Of a run."""
  path = tmp_path / "bird"
  path.mkdir()
  write_image(path / "decoded.png", np.full((8, 9, 3), 0.5, np.float32))
  row = {"step": 0, "slots": [0, 1], "x": [2, 3], "y": [4, 5], "moved": [0, 1]}
  (path / "growth.jsonl").write_text(json.dumps(row) + "\n")
  row = {"step": 50, "psnr_db": 20, "num_gaussians": 2}
  (path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
  return path


@pytest.mark.parametrize("kind", plot._OF_RUNS)
def test_runs(capsys, tmp_path, folder, kind):
  files = []
  for source in (folder, folder / plot._OF_RUNS[kind]):
    _run(capsys, source, tmp_path / "a.png", "--kind", kind)
    files.append((tmp_path / "a.png").read_bytes())
  assert files[0] == files[1]
  (folder / plot._OF_RUNS[kind]).unlink()
  line = _refusal(capsys, folder, tmp_path / "a.png", "--kind", kind)
  assert plot._OF_RUNS[kind] in line


def test_refusals(capsys, tmp_path, monkeypatch, reference):
  out = tmp_path / "a.png"
  line = _refusal(capsys, RGBA, tmp_path / "a.jpg")
  assert "expected one of .png, .svg, .pdf" in line
  assert "no such file" in _refusal(capsys, tmp_path / "no.jgs", out)
  line = _refusal(capsys, RGBA, out, "--kind", "error")
  assert "--kind error needs the original: --image REF" in line
  line = _refusal(capsys, reference, out)
  assert "not a .jgs file, which --kind ellipses needs" in line
  line = _refusal(
    capsys, GREY_SUM, out, "--kind", "error", "--image", reference
  )
  assert "is 33x100 with 1 channels" in line
  line = _refusal(capsys, RGBA, out, "--crop", "60,0,5,5")
  assert "--crop 60,0,5,5 is not within the 64x64 pixels" in line
  line = _refusal(capsys, RGBA, out, "--scale", "1000")
  assert "choose a smaller scale or window" in line
  line = _refusal(capsys, reference, reference, "--kind", "gradient")
  assert "is the input" in line
  line = _refusal(capsys, RGBA, reference, "--image", reference)
  assert "is the input" in line
  line = _refusal(capsys, tmp_path, out, "--kind", "ellipses")
  assert "directory" in line.lower()
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  assert "pip install 'jaxgs[plots]'" in _refusal(capsys, RGBA, out)
  assert not out.exists()


def test_encode_makes_a_film(capsys, tmp_path, reference):
  film = tmp_path / "film.webp"
  encode = ("encode", str(reference), str(tmp_path / "a.jgs"))
  # One step compiles one program.
  options = ("--num_gaussians", "12", "--steps", "1", "--animate")
  assert cli.main([*encode, *options, str(film)]) == 0
  capsys.readouterr()
  with Image.open(film) as opened:
    assert opened.n_frames == 1
    assert opened.width > 2 * 480
    assert np.asarray(opened.convert("RGB")).std() > 20
  # Before the fit.
  assert cli.main([*encode, *options, str(tmp_path / "a.avi")]) == 1
  assert "expected one of .gif, .webp, .mp4" in capsys.readouterr().err
  write_image(film, read_image(reference).pixels, has_alpha=True)
  encode = ("encode", str(film), str(tmp_path / "b.jgs"))
  assert cli.main([*encode, *options, str(film)]) == 1
  assert "is the input" in capsys.readouterr().err
  assert not (tmp_path / "b.jgs").exists()


def test_a_film_is_of_the_last_fit(monkeypatch):
  monkeypatch.setattr(
    progress, "draw_frame", lambda state, *_, **__: state.step
  )
  config = preset("fast", num_gaussians=9, num_steps=900)
  film = Film(Job.of(np.zeros((4, 5, 3), np.uint8), config))
  for step in (5, 900, *range(3, 901, 3), 901):
    film.report(types.SimpleNamespace(step=step))
  # At most about a hundred frames, the first and the last of them.
  assert film._frames == [*range(3, 901, 9), 900, 901]
