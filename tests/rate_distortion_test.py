import io
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from configs import kodak as rate_distortion_config
from experiments import gaussian_codec, rd_curves, rd_measure
from experiments.anchors import Anchor
from experiments.gaussian_codec import GaussianCodec
from experiments.rd_images import choose_images, read_rgb
from experiments.results_file import ResultsFile
from jaxgs import compress, decompress
from jaxgs.config import CompressConfig, config_from_dict, preset
from jaxgs.io import read_image, write_image
from jaxgs.metrics import bd_psnr, bd_rate
from jaxgs.rate_control import TargetError

ROOT = pathlib.Path(__file__).parents[1]
PARROT = ROOT / "tests/data/parrot.png"

OPTIONS = {"choose": "nearest", "webp_method": 4, "avif_speed": 9}

# The headers alone are 200 to 300 bytes, a quarter of a bit per pixel.
RATES = (0.5, 1.0, 2.0)


class Killed(Exception):
  pass


def _settings(**changes):
  config = rate_distortion_config.get_config("fast")
  config.update_from_flattened_dict(
    {
      "rates": RATES,
      "anchors.webp_method": 4,
      "anchors.avif_speed": 9,
      "jaxgs.target": "points",
      # One N: one compilation.
      "jaxgs.points": ((240, 0.4), (240, 3.0)),
      "jaxgs.compress.fit.num_steps": 40,
      "jaxgs.compress.fit.chunk_steps": 10,
      "jaxgs.compress.fit.growth_rounds": 0,
      "jaxgs.compress.fit.raster.top_k": 4,
      **changes,
    }
  )
  return config.to_dict()


def _psnr_db(a, b):
  error = a.astype(float) - b.astype(float)
  return 10 * np.log10(255.0**2 / np.mean(error**2))


def _rows(workdir):
  lines = (workdir / "rows.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def _without_times(rows):
  # Nor versions: somebody may edit the sources while the tests run.
  others = ("encode_s", "decode_s", "version")
  return [{k: v for k, v in row.items() if k not in others} for row in rows]


@pytest.fixture(scope="module", autouse=True)
def _jax_options():
  """Compiles fast; what is compared is compiled the same way."""
  name = "jax_disable_most_optimizations"
  before = jax.config.read(name)
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)


@pytest.fixture(scope="module")
def pixels():
  return read_rgb(PARROT)[60:140, 80:176]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("images")
  picture = read_image(PARROT).pixels
  for i in range(2):
    crop = picture[60 - 40 * i : 140 - 40 * i, 80:176]
    write_image(path / f"crop{i}.png", crop)
  return path


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
  """A run that nothing interrupts, and what it says."""
  workdir = tmp_path_factory.mktemp("whole")
  return workdir, rd_measure.run(_settings(), folder, workdir)


def test_a_row_for_each(whole):
  rows = _rows(whole[0])
  found = [(row["image"], row["codec"], row["point"]) for row in rows]
  assert len(set(found)) == len(found) == 2 * (2 + 4 * 3)
  for row in rows:
    assert row["bpp"] == 8 * row["bytes"] / (80 * 96)
    assert 0 < row["ms_ssim"] < 1
    assert row["encode_s"] > 0 < row["decode_s"]


def test_figures_are_of_the_files(folder, whole):
  rows = [row for row in _rows(whole[0]) if row["image"] == "crop1"]
  original = read_rgb(folder / "crop1.png")
  row = next(r for r in rows if r["codec"] == "webp" and r["point"] == "2")
  buffer = io.BytesIO()
  quality = int(row["setting"].removeprefix("quality "))
  Image.fromarray(original).save(buffer, "webp", quality=quality, method=4)
  assert len(buffer.getvalue()) == row["bytes"]
  decoded = np.asarray(Image.open(buffer))
  assert row["psnr_db"] == pytest.approx(_psnr_db(decoded, original), abs=1e-3)

  row = next(r for r in rows if r["point"] == "N 240 x0.4")
  settings = _settings()["jaxgs"]["compress"]
  settings["fit"]["num_gaussians"] = 240
  settings["quant"]["coarseness"] = 0.4
  config = config_from_dict(CompressConfig, settings)
  data = compress(original, config, key=jax.random.key(0))
  assert len(data) == row["bytes"]
  psnr_db = _psnr_db(decompress(data), original)
  assert row["psnr_db"] == pytest.approx(psnr_db, abs=1e-3)


def test_tables_and_plots(whole):
  workdir, tables = whole
  assert (workdir / "tables.md").read_text() == tables
  rows = [row for row in _rows(workdir) if row["reached"]]
  curves = {}
  for codec in ("jaxgs", "jpeg2000"):
    points = {}
    for row in rows:
      if row["codec"] == codec:
        points.setdefault(row["point"], []).append((row["bpp"], row["psnr_db"]))
    curves[codec] = [np.mean(values, axis=0) for values in points.values()]
  bpp, psnr_db = curves["jaxgs"][0]
  assert f"| jaxgs | N 240 x0.4 | {bpp:.4f} | {psnr_db:.2f} | " in tables
  gain = bd_psnr(anchor=curves["jpeg2000"], test=curves["jaxgs"])
  line = next(x for x in tables.splitlines() if x.startswith("| jpeg2000 | +"))
  assert f" {gain:+.2f} dB " in line
  rate = bd_rate(anchor=curves["jpeg2000"], test=curves["jaxgs"])
  assert f" {rate:+.1f} % " in line
  assert "published, of other images" in tables
  # The headers of one AVIF file are too large.
  (line,) = (x for x in tables.splitlines() if x.startswith("| avif | 0.5 |"))
  assert "| only 1 of 2 |" in line
  assert (workdir / "rd.png").read_bytes().startswith(b"\x89PNG")
  assert "</svg>" in (workdir / "rd.svg").read_text()


@pytest.mark.parametrize("codec", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("choose", ["nearest", "below"])
def test_search(pixels, codec, choose):
  anchor = Anchor(codec, **(OPTIONS | {"choose": choose}))
  sizes = {}
  save = anchor._save

  def counting(picture, setting, quality):
    coded = save(picture, setting, quality)
    sizes[quality] = len(coded.data)
    return coded

  anchor._save = counting
  encode = anchor.encoder(pixels)
  coded = encode(2.0)
  assert coded.reached
  quality = int(coded.setting.removeprefix("quality "))
  assert len(coded.data) == sizes[quality]
  tried = len(sizes)
  assert tried <= 9
  wanted = 2.0 * 80 * 96 / 8
  below = max(s for s in sizes.values() if s <= wanted)
  above = min(s for s in sizes.values() if s > wanted)
  nearest = min((below, above), key=lambda size: abs(np.log(size / wanted)))
  assert len(coded.data) == (below if choose == "below" else nearest)
  # What was tried serves the next rate.
  encode(2.01)
  assert len(sizes) <= tried + 3


def test_what_cannot_be_reached(pixels):
  for codec in ("jpeg", "webp", "avif", "jpeg2000"):
    encode = Anchor(codec, **OPTIONS).encoder(pixels)
    assert not encode(0.01).reached, codec
    assert not encode(60.0).reached, codec
    assert encode(2.5).reached, codec


def test_jpeg_2000_codes_colours_together(pixels):
  anchor = Anchor("jpeg2000", **OPTIONS)
  coded = anchor.encoder(pixels)(1.5)
  assert abs(len(coded.data) / (1.5 * 80 * 96 / 8) - 1) < 0.03
  good = _psnr_db(anchor.decode(coded.data), pixels)
  anchor._fixed["mct"] = 0
  data = anchor.encoder(pixels)(1.5).data
  assert good > _psnr_db(anchor.decode(data), pixels) + 1


def test_gaussians_of_a_size(pixels):
  settings = _settings(**{"jaxgs.target": "size"})["jaxgs"]
  codec = GaussianCodec(settings)
  assert codec.points(RATES) == {"0.5": 0.5, "1": 1.0, "2": 2.0}
  encode = codec.encoder(pixels)
  # A rate that begins with the N of the run above: it is compiled.
  coded = encode(1.5)
  assert coded.reached
  assert abs(len(coded.data) / 1440 - 1) <= 0.03
  assert codec.decode(coded.data).shape == pixels.shape


def test_a_size_that_no_gaussians_have(pixels, monkeypatch):
  def refuse(image, num_bytes, config, *, key):
    raise TargetError(f"cannot reach {num_bytes} bytes")

  monkeypatch.setattr(gaussian_codec, "compress_to_size", refuse)
  codec = GaussianCodec(_settings(**{"jaxgs.target": "size"})["jaxgs"])
  row = rd_measure.measure(codec, codec.encoder(pixels), 1.0, pixels)
  assert not row["reached"]
  assert row["setting"] == "cannot reach 960 bytes"
  assert np.isnan(row["psnr_db"])


def test_goes_on_after_a_kill(folder, whole, tmp_path, monkeypatch):
  measure, made = rd_measure.measure, []

  def counting(*arguments):
    if len(made) == 9:
      raise Killed
    made.append(1)
    return measure(*arguments)

  monkeypatch.setattr(rd_measure, "measure", counting)
  with pytest.raises(Killed):
    rd_measure.run(_settings(), folder, tmp_path)
  assert len(_rows(tmp_path)) == 9
  with (tmp_path / "rows.jsonl").open("a") as file:
    file.write('{"image": "crop0", "codec": "we')  # As if it died there.
  made.clear()
  monkeypatch.setattr(
    rd_measure, "measure", lambda *a: made.append(1) or measure(*a)
  )
  rd_measure.run(_settings(), folder, tmp_path)
  assert len(made) == 28 - 9
  assert _without_times(_rows(tmp_path)) == _without_times(_rows(whole[0]))

  # What changed is measured, and nothing else; what is not asked for is kept.
  made.clear()
  changes = {"rates": (2.0, 3.0), "codecs": ("jpeg", "jaxgs")}
  tables = rd_measure.run(_settings(**changes), folder, tmp_path)
  assert len(made) == 2
  assert "webp" not in tables
  made.clear()
  changes = {"anchors.choose": "below", "rates": (2.0,), "codecs": ("jpeg",)}
  rd_measure.run(_settings(**changes), folder, tmp_path)
  assert len(made) == 2


def test_another_picture_is_measured(folder, whole, tmp_path, monkeypatch):
  (tmp_path / "rows.jsonl").write_bytes((whole[0] / "rows.jsonl").read_bytes())
  other = tmp_path / "images"
  other.mkdir()
  write_image(other / "crop0.png", 1 - read_image(folder / "crop0.png").pixels)
  settings = _settings(codecs=("jpeg",))
  rd_measure.run(settings, other, tmp_path)
  assert len(_rows(tmp_path)) == 28 + 3


def test_results_file(tmp_path):
  path = tmp_path / "deep" / "rows.jsonl"
  results = ResultsFile(path)
  results.append("a", {"value": 1.5, "nothing": float("nan")})
  results.append("b", {"value": 2})
  assert ResultsFile(path)["a"] == {"value": 1.5, "nothing": None, "key": "a"}
  good = path.read_bytes()
  # Whole but for its end: the next row would stand on the same line.
  path.write_bytes(good[:-1])
  again = ResultsFile(path)
  assert "b" not in again
  again.append("b", {"value": 2})
  assert path.read_bytes() == good
  path.write_bytes(b"{}\n" + good)
  with pytest.raises(ValueError, match="line 1: not a row"):
    ResultsFile(path)


def _row(image, codec, point, bpp, psnr_db, reached=True):
  row = {"image": image, "codec": codec, "point": point, "reached": reached}
  figures = {"bpp": bpp, "psnr_db": psnr_db, "ms_ssim": 0.9}
  return row | figures | {"encode_s": bpp, "decode_s": 1.0}


def test_means_are_over_what_is_reached():
  rows = [
    _row("a", "x", "high", 1.0, 33.0),
    _row("b", "x", "high", 1.2, 35.0),
    _row("a", "x", "low", 0.5, 30.0),
    _row("b", "x", "low", None, None, reached=False),
    _row("a", "x", "none", None, None, reached=False),
  ]
  low, high, none = rd_curves.mean_points(rows)["x"]
  assert (low.point, low.num_images, low.num_all) == ("low", 1, 2)
  assert (low.psnr_db, low.is_complete) == (30.0, False)
  assert (high.bpp, high.psnr_db, high.encode_s) == (1.1, 34.0, 1.1)
  assert none.num_images == 0
  # Only what all images reach makes a curve.
  assert rd_curves.curve_of([low, high]) == [(1.1, 34.0)]


def test_rising():
  points = [(1.0, 30.0), (2.0, 29.0), (0.5, 28.0), (1.0, 31.0), (3.0, 33.0)]
  assert rd_curves.rising(points) == [(0.5, 28.0), (1.0, 31.0), (3.0, 33.0)]


def test_gaps():
  line = [(2.0**k, 30.0 + k) for k in range(4)]
  half = [(rate / 2, psnr_db) for rate, psnr_db in line]
  gap = rd_curves.gap_between(line, half)
  assert gap == pytest.approx((-50.0, 1.0, 30.0, 33.0))
  gap = rd_curves.gap_between(line[:3], half[1:])
  assert gap == pytest.approx((-50.0, 1.0, 31.0, 32.0))
  assert rd_curves.gap_between(line, [(1.0, 40.0), (2.0, 41.0)]) is None
  high = rd_curves.gap_between(line, [(100.0, 30.0), (200.0, 31.0)])
  assert high.rate == pytest.approx(9900)
  assert np.isnan(high.psnr_db)
  rows = []
  for image, curve in (("a", half), ("b", line)):
    rows += [_row(image, "x", str(p), *p) for p in line]
    rows += [_row(image, "y", str(p), *p) for p in curve]
  rows += [_row("c", "x", "1", 1.0, 30.0), _row("c", "y", "1", 1.0, 30.0)]
  own = rd_curves.gaps_of_images(rows, "x", "y")
  assert own == pytest.approx([-50.0, 0.0])


def test_published_curves():
  for path in (ROOT / "experiments/curves").glob("*.json"):
    content = json.loads(path.read_text())
    assert len(set(content["images"])) == len(content["images"])
    for curve in content["curves"]:
      assert curve["source"] and curve["note"], curve["name"]
      assert rd_curves.rising(map(tuple, curve["points"])) == [
        tuple(point) for point in curve["points"]
      ]
  names = ("VTM", "C3", "BPG 4:4:4", "JPEG 2000")
  vtm, c3, bpg, jpeg_2000 = rd_curves.read_published("kodak", names)
  # With C3 these are +5 and +22 %, over rates from 0.05 to 4 bits per pixel.
  assert 3 < rd_curves.gap_between(vtm.points, c3.points).rate < 9
  assert 18 < rd_curves.gap_between(vtm.points, bpg.points).rate < 30
  assert dict(jpeg_2000.points)[0.3] == 29.21
  assert len(vtm.images) == 24
  with pytest.raises(ValueError, match="no curve of \\['VTN'\\]"):
    rd_curves.read_published("kodak", ["VTN"])


def test_choice_of_images(tmp_path):
  for name in ("d.png", "a.png", "c.jpg", "b.png", "notes.txt"):
    (tmp_path / name).touch()

  def names(*arguments):
    return "".join(p.stem for p in choose_images(tmp_path, *arguments))

  assert names((), None) == "abcd"
  assert names((), 2) == "ac"
  assert names((), 9) == "abcd"
  assert names(("d", "b"), None) == "db"
  with pytest.raises(ValueError, match="no image e, f"):
    names(("a", "e", "f"), None)
  (tmp_path / "a.jpg").touch()
  with pytest.raises(ValueError, match="name of its own"):
    names((), None)


def test_pictures_become_rgb(tmp_path):
  path = tmp_path / "picture.png"
  half = np.full((4, 5, 4), 128, np.uint8)
  half[..., :3] = (255, 0, 51)
  Image.fromarray(half).save(path)
  assert read_rgb(path)[0, 0].tolist() == [255, 127, 153]
  Image.fromarray(half[..., 2]).save(path)
  assert read_rgb(path).shape == (4, 5, 3)
  assert (read_rgb(path) == 51).all()
  Image.fromarray(np.full((4, 5), 999, np.uint16)).save(path)
  with pytest.raises(ValueError, match="16 bits"):
    read_rgb(path)


def test_default_settings_are_those_of_the_library():
  settings = rate_distortion_config.get_config().to_dict()
  found = config_from_dict(CompressConfig, settings["jaxgs"]["compress"])
  assert found == preset("default", num_gaussians=5000)
  fast = rate_distortion_config.get_config("fast").to_dict()
  assert fast["jaxgs"]["compress"]["fit"]["num_steps"] == 440
  codec = GaussianCodec(settings["jaxgs"])
  assert list(codec.points(settings["rates"])) == [
    *("0.15", "0.2", "0.3", "0.5", "1")
  ]
  rd_curves.read_published(settings["curves"], settings["published"])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"codecs": ("gif",)}, "must be one of .* got 'gif'"),
    ({"anchors.choose": "above"}, "nearest or below, got 'above'"),
    ({"jaxgs.target": "rate"}, "size or points, got 'rate'"),
    ({"images": ("crop7",)}, "no image crop7"),
    ({"published": ("C4",)}, "no curve of"),
  ],
)
def test_bad_settings_leave_no_folder(folder, tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    rd_measure.run(_settings(**changes), folder, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_command(folder, tmp_path):
  command = [
    sys.executable,
    "-m",
    "experiments.rate_distortion",
    "--config=configs/kodak.py:fast",
    f"--data_dir={folder}",
    f"--workdir={tmp_path}",
    "--subset=1",
    "--config.codecs=('jpeg', 'jpeg2000')",
    "--config.rates=(1.5, 3.0)",
  ]
  done = subprocess.run(
    command, cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == (tmp_path / "tables.md").read_text()
  assert {row["image"] for row in _rows(tmp_path)} == {"crop0"}
  assert len(_rows(tmp_path)) == 4
