import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from configs import image as image_config
from experiments import fit_image, record, workdir
from jaxgs import compress, decompress, plots
from jaxgs.config import CompressConfig, config_from_dict, preset
from jaxgs.io import ImageError, read_image, write_image
from jaxgs.job import to_float

ROOT = pathlib.Path(__file__).parents[1]
PARROT = ROOT / "tests/data/parrot.png"

# 20 chunks, saved at 15, 30, 45 and 60; quantised from step 36 on.
OVERRIDES = {
  "fit.num_gaussians": 30,
  "fit.num_steps": 60,
  "fit.chunk_steps": 3,
  "fit.raster.top_k": 4,
  "run.save_every_steps": 15,
  "run.frame_every_steps": 30,
  "run.ellipses": True,
  "run.error": True,
}


class Killed(Exception):
  pass


def _settings(quantizer="steps", **changes):
  config = image_config.get_config(quantizer)
  config.update_from_flattened_dict({**OVERRIDES, **changes})
  return config.to_dict()


def _run(crop, path, settings=None):
  return fit_image.run(
    settings or _settings(), str(crop), path, animate="film.gif"
  )


def _compress_config(settings):
  return config_from_dict(
    CompressConfig, {k: v for k, v in settings.items() if k != "run"}
  )


def _metrics(path):
  lines = (path / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def _metrics_of_torn(path):
  lines = (path / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines[:-1]]


def _results(path):
  """All that a run leaves, without times and archive dates."""
  pictures = {
    str(p.relative_to(path)): p.read_bytes()
    for folder in ("pictures", "frames")
    for p in (path / folder).iterdir()
  }
  with np.load(path / "checkpoint.npz", allow_pickle=False) as archive:
    arrays = {name: archive[name].tobytes() for name in archive.files}
  lines = [
    {k: v for k, v in line.items() if k != "seconds"} for line in _metrics(path)
  ]
  files = {
    p.name: p.read_bytes()
    for p in path.iterdir()
    if p.suffix in (".jgs", ".png", ".json", ".gif") or p.name == "growth.jsonl"
  }
  return {"pictures": pictures, "arrays": arrays, "lines": lines, **files}


def _kill_at(monkeypatch, step):
  """Ends a run in the midst of its report of a step."""
  report = record.Recorder.report

  def report_and_die(self, state):
    report(self, state)
    if int(state.step) == step:
      for name in ("metrics.jsonl", "growth.jsonl"):
        with (self._workdir / name).open("a") as file:
          file.write('{"step": 6')  # As if it died while it wrote.
      raise Killed

  monkeypatch.setattr(record.Recorder, "report", report_and_die)


@pytest.fixture(scope="module", autouse=True)
def _jax_options():
  """Compiles fast; what is compared is compiled the same way."""
  name = "jax_disable_most_optimizations"
  before = jax.config.read(name)
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)


@pytest.fixture(scope="module")
def crop(tmp_path_factory):
  path = tmp_path_factory.mktemp("image") / "crop.png"
  write_image(path, read_image(PARROT).pixels[60:100, 100:148])
  return path


@pytest.fixture(scope="module")
def whole(crop, tmp_path_factory):
  """A run that nothing interrupts."""
  path = tmp_path_factory.mktemp("whole") / "run"
  return path, _run(crop, path)


def test_config_is_the_preset():
  settings = image_config.get_config().to_dict()
  wanted = preset("default", num_gaussians=5000, num_steps=5000)
  assert _compress_config(settings) == wanted
  options = config_from_dict(workdir.RunConfig, settings["run"])
  assert options == workdir.RunConfig()
  workdir.check_steps(wanted.fit, options)


def test_periods_follow_the_steps():
  config = image_config.get_config().lock()
  config.update_from_flattened_dict({"fit.num_steps": 3000})
  assert config.fit.growth_every == 100
  config.update_from_flattened_dict({"fit.chunk_steps": 10})
  assert config.fit.growth_every == 80
  assert config.run.to_dict() == {
    "seed": 0,
    "save_every_steps": 100,
    "picture_every_steps": 100,
    "frame_every_steps": 10,
    "ellipses": False,
    "error": False,
    "tensorboard": False,
  }
  config.update_from_flattened_dict({"fit.growth_every": 40})
  assert config.fit.growth_every == 40


def test_bits_can_be_set():
  settings = _settings("bits", **{"quant.bits.scale": 9})
  bits = _compress_config(settings).quant.bits
  assert (bits.scale, bits.position) == (9, 12)
  assert _compress_config(_settings()).quant.bits is None


def test_results(crop, whole):
  path, line = whole
  settings = _settings()
  image = read_image(crop)
  data = (path / "image.jgs").read_bytes()
  assert data == compress(
    image.pixels, _compress_config(settings), key=jax.random.key(0)
  )
  decoded = read_image(path / "decoded.png").pixels
  np.testing.assert_array_equal(decoded, to_float(decompress(data))[0])
  lines = _metrics(path)
  assert lines[-1] == line
  assert [entry["step"] for entry in lines] == [*range(3, 61, 3), 60]
  psnr_db = -10 * np.log10(np.mean(np.square(decoded - image.pixels)))
  np.testing.assert_allclose(line["psnr_db"], psnr_db, atol=1e-3)
  assert line["psnr_db"] > lines[0]["psnr_db"] + 5
  # Rounding costs little; a wrong picture would be far away.
  assert abs(line["unquantized_psnr_db"] - line["psnr_db"]) < 1
  assert abs(line["unquantized_psnr_db"] - lines[-2]["psnr_db"]) < 1
  assert 0.5 < line["ssim"] < 1
  assert 0.5 < line["ms_ssim"] < 1
  assert line["bytes"] == len(data)
  assert line["bpp"] == 8 * len(data) / (40 * 48)
  assert line["bits_per_gaussian"] == 8 * len(data) / 30
  names = sorted(p.name for p in (path / "pictures").iterdir())
  assert names == [
    f"{kind}-{step}.png"
    for kind in ("ellipses", "error", "step")
    for step in ("00030", "00060")
  ]
  last = read_image(path / "pictures/step-00060.png").pixels
  assert np.mean(np.abs(last - decoded)) < 0.02
  facts = json.loads((path / "config.json").read_text())
  assert facts["config"]["fit"]["num_gaussians"] == 30
  assert facts["versions"]["jax"] == jax.__version__
  assert facts["device"].startswith(jax.default_backend())
  if (ROOT / ".git").exists() and shutil.which("git"):
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", facts["versions"]["commit"])


def test_what_grew_and_moved(whole):
  placed = plots.read_placed(whole[0] / "growth.jsonl")
  fit = _compress_config(_settings()).fit
  assert placed[0].step == 0
  assert placed[0].slots.tolist() == list(range(fit.num_initial))
  added = [len(p.slots) for p in placed[1:] if not p.moved.any()]
  rest = fit.num_gaussians - fit.num_initial
  assert added[:-1] == [fit.num_grown] * (len(added) - 1)
  assert sum(added) == rest
  moves = [p for p in placed if p.moved.any()]
  assert moves
  for p in moves:
    assert p.moved.all()
    assert len(p.slots) == fit.num_relocated
    assert p.step % fit.growth_every == 0
    assert p.step <= fit.relocate_step


def test_film(crop, whole, tmp_path):
  with Image.open(whole[0] / "film.gif") as film:
    assert film.n_frames == 3
    size = film.size
  frame = read_image(whole[0] / "frames" / "step-00000.png").pixels
  assert frame.shape == (*size[::-1], 3)
  # Not of a run that kept no frames.
  (tmp_path / "config.json").write_bytes(
    (whole[0] / "config.json").read_bytes()
  )
  with pytest.raises(ValueError, match="fitted without --animate"):
    record.write_animation(tmp_path, tmp_path / "film.gif")
  with pytest.raises(ImageError, match="expected one of"):
    fit_image.run(_settings(), str(crop), tmp_path / "a", animate="film.avi")
  assert not (tmp_path / "a").exists()
  with pytest.raises(ImageError, match="no such folder"):
    fit_image.run(_settings(), str(crop), tmp_path / "b", animate="no/film.gif")
  assert not (tmp_path / "b" / "metrics.jsonl").exists()
  webp = tmp_path / "image.webp"
  write_image(webp, read_image(crop).pixels)
  with pytest.raises(ValueError, match="is the image"):
    fit_image.run(_settings(), str(webp), tmp_path / "c", animate=str(webp))


def _events(path):
  """Step and tag of what is in the event files of a folder, file by file."""
  from tensorboardX.proto import event_pb2

  found = []
  for name in sorted(path.iterdir()):
    data, at = name.read_bytes(), 0
    while at < len(data):
      # A record: length, its checksum, the event, its checksum.
      (size,) = struct.unpack_from("<Q", data, at)
      event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
      found += [(event.step, value.tag) for value in event.summary.value]
      at += 16 + size
  return found


def test_tensorboard(crop, tmp_path, monkeypatch):
  pytest.importorskip("tensorboardX")
  settings = _settings(
    **{
      "run.tensorboard": True,
      "run.save_every_steps": 3,
      "run.picture_every_steps": 3,
    }
  )
  # Its first steps are enough.
  with monkeypatch.context() as patch, pytest.raises(Killed):
    _kill_at(patch, 6)
    fit_image.run(settings, str(crop), tmp_path / "a")
  tags = ["psnr_db", "num_gaussians", "picture", "ellipses", "error"]
  assert _events(tmp_path / "a" / "tensorboard") == [
    (step, tag) for step in (3, 6) for tag in tags
  ]
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  with pytest.raises(ValueError, match=r"pip install 'jaxgs\[tensorboard\]'"):
    fit_image.run(settings, str(crop), tmp_path / "b")
  assert not (tmp_path / "b").exists()


# Before the first checkpoint; at one; between two; quantised; at the end.
@pytest.mark.parametrize("kills", [(6,), (15, 33), (42,), (60,)])
def test_goes_on_after_an_interrupt(crop, whole, tmp_path, monkeypatch, kills):
  for step in kills:
    with monkeypatch.context() as patch, pytest.raises(Killed):
      _kill_at(patch, step)
      _run(crop, tmp_path)
    assert not (tmp_path / "image.jgs").exists()
  _run(crop, tmp_path)
  assert _results(tmp_path) == _results(whole[0])
  seconds = [line["seconds"] for line in _metrics(tmp_path)]
  assert seconds == sorted(seconds)


def test_a_finished_run_stays(crop, whole):
  before = _results(whole[0])
  assert _run(crop, whole[0])["step"] == 60
  assert _results(whole[0]) == before


# Measured ranges; killed before and after they are measured (at step 36).
@pytest.mark.parametrize("step", [33, 48])
def test_measured_steps_go_on(crop, tmp_path, monkeypatch, step):
  settings = _settings("bits")
  with monkeypatch.context() as patch, pytest.raises(Killed):
    _kill_at(patch, step)
    fit_image.run(settings, str(crop), tmp_path)
  fit_image.run(settings, str(crop), tmp_path)
  data = (tmp_path / "image.jgs").read_bytes()
  image = read_image(crop).pixels
  key = jax.random.key(0)
  assert data == compress(image, _compress_config(settings), key=key)


def test_goes_on_after_sigkill(crop, whole, tmp_path):
  command = [
    sys.executable,
    "-m",
    "experiments.fit_image",
    "--config=configs/image.py",
    f"--image={crop}",
    f"--workdir={tmp_path}",
    "--animate=film.gif",
    *(f"--config.{name}={value}" for name, value in OVERRIDES.items()),
  ]
  process = subprocess.Popen(
    command,
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
  )
  deadline = time.monotonic() + 60
  # Compiling the quantised steps takes seconds: there is time to kill it.
  while not (tmp_path / "checkpoint.npz").exists():
    assert process.poll() is None, process.stderr.read()
    assert time.monotonic() < deadline
    time.sleep(0.01)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  assert not (tmp_path / "image.jgs").exists()
  _run(crop, tmp_path)
  assert _results(tmp_path) == _results(whole[0])


def test_another_run_is_refused(crop, whole, tmp_path):
  path = whole[0]
  before = _results(path)
  with pytest.raises(
    ValueError, match=r"config\.fit\.raster\.top_k was 4 and is 5"
  ):
    fit_image.run(_settings(**{"fit.raster.top_k": 5}), str(crop), path)
  other = tmp_path / "other.png"
  write_image(other, 1.0 - read_image(crop).pixels)
  with pytest.raises(ValueError, match="the image is another one"):
    fit_image.run(_settings(), str(other), path)
  assert _results(path) == before
  foreign = tmp_path / "foreign"
  (foreign / "pictures").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"pictures but no config\.json"):
    fit_image.run(_settings(), str(crop), foreign)
  (foreign / "config.json").write_text("[]")
  with pytest.raises(ValueError, match="not of this program"):
    fit_image.run(_settings(), str(crop), foreign)


def test_overwrite(crop, whole, tmp_path, monkeypatch):
  path = tmp_path / "run"
  shutil.copytree(whole[0], path)
  (path / "notes.txt").write_text("mine")
  (path / "pictures" / "mine.png").write_text("mine")
  settings = _settings(**{"run.seed": 1})
  with pytest.raises(ValueError, match=r"seed was 0 and is 1 \(--overwrite"):
    fit_image.run(settings, str(crop), path)
  with monkeypatch.context() as patch, pytest.raises(Killed):
    _kill_at(patch, 6)
    fit_image.run(settings, str(crop), path, overwrite=True)
  assert sorted(p.name for p in path.iterdir()) == [
    "config.json",
    "film.gif",
    "growth.jsonl",
    "metrics.jsonl",
    "notes.txt",
    "pictures",
  ]
  assert [p.name for p in (path / "pictures").iterdir()] == ["mine.png"]
  facts = json.loads((path / "config.json").read_text())
  assert facts["config"]["run"]["seed"] == 1
  assert [line["step"] for line in _metrics_of_torn(path)] == [3, 6]
  # A folder that no run made is left alone.
  (path / "config.json").unlink()
  with pytest.raises(ValueError, match="not a run"):
    fit_image.run(settings, str(crop), path, overwrite=True)
  assert (path / "metrics.jsonl").exists()


def test_overwrite_goes_on_with_the_same_run(crop, whole):
  before = _results(whole[0])
  fit_image.run(
    _settings(), str(crop), whole[0], overwrite=True, animate="film.gif"
  )
  assert _results(whole[0]) == before


def test_names():
  assert workdir.folder_of("bird") == pathlib.Path("results/bird")
  for name in ("", ".", "..", "a/b", "/a"):
    with pytest.raises(ValueError, match="that of one folder"):
      workdir.folder_of(name)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"fit.growth_every": 15}, "less than num_steps"),
    ({"run.save_every_steps": 7}, r"multiple of fit\.chunk_steps \(3\), got 7"),
    ({"run.save_every_steps": 0}, r"run\.save_every_steps must be >= 1"),
    ({"run.picture_every_steps": 4}, r"picture_every_steps must be a multiple"),
    ({"fit.num_gaussians": 4000}, "num_gaussians"),
  ],
)
def test_bad_settings_leave_no_folder(crop, tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    fit_image.run(_settings(**changes), str(crop), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--image=nothing.png", "nothing.png"),
    ("--config.fit.nothing=3", "no setting of the name \"'nothing'\""),
    ("--config=configs/image.py:bats", "quantizer must be steps or bits"),
    ("--name=a", "--name and --workdir exclude each other"),
    ("--animate=a.avi", "expected one of .gif, .webp, .mp4"),
  ],
)
def test_a_mistake_is_one_line(tmp_path, argument, message):
  command = [
    sys.executable,
    "-m",
    "experiments.fit_image",
    "--config=configs/image.py",
    f"--image={PARROT}",
    f"--workdir={tmp_path / 'run'}",
    argument,
  ]
  done = subprocess.run(
    command, cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 1
  # Without a driver the CUDA plugin of jax, which the tests install, says so.
  plugin = re.compile(r"I0000 |WARNING: All log messages before absl::")
  (line,) = (x for x in done.stderr.splitlines() if not plugin.match(x))
  assert message in line


def test_every_setting_reaches_the_dataclasses():
  settings = _settings("bits")
  options = settings.pop("run")
  config = config_from_dict(CompressConfig, settings)
  filled = dataclasses.asdict(config)
  assert json.dumps(filled, sort_keys=True) == json.dumps(
    settings, sort_keys=True
  )
  assert set(options) == {f.name for f in dataclasses.fields(workdir.RunConfig)}
