"""Notebooks run from top to bottom, and equal the scripts beside them."""

import importlib.util
import json
import pathlib
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "experiments" / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
REGENERATE = (
  "pip install jupytext && jupytext --update --to ipynb"
  " experiments/notebooks/*.py"
)

scripts = pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)


def cells_of_script(script):
  """(kind, text) of each cell of a script in jupytext's percent format."""
  header, *parts = script.read_text().split("\n# %%")
  assert header.startswith("# ---\n# jupyter:")
  for part in parts:
    title, _, text = part.partition("\n")
    if title == "":
      yield "code", text.strip()
    else:
      assert title == " [markdown]", title
      lines = text.strip().split("\n")
      assert all(line == "#" or line.startswith("# ") for line in lines)
      yield "markdown", "\n".join(line[2:] for line in lines)


def notebook_of(script):
  return json.loads(script.with_suffix(".ipynb").read_text())


def test_there_are_pairs_only():
  assert SCRIPTS
  names = {p.stem for p in FOLDER.glob("*.ipynb")}
  assert names == {p.stem for p in SCRIPTS}, REGENERATE


@scripts
def test_notebook_is_the_script(script):
  notebook = notebook_of(script)
  cells = [
    (cell["cell_type"], "".join(cell["source"]).strip())
    for cell in notebook["cells"]
  ]
  assert cells == list(cells_of_script(script)), REGENERATE
  assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@scripts
def test_no_output_is_stored(script):
  for cell in notebook_of(script)["cells"]:
    if cell["cell_type"] == "code":
      assert cell["outputs"] == []
      assert cell["execution_count"] is None


@scripts
def test_first_cell_installs(script, monkeypatch):
  code = next(text for kind, text in cells_of_script(script) if kind == "code")
  ran = []
  monkeypatch.setattr(subprocess, "run", lambda *args, **_: ran.append(args))
  exec(code, {})
  assert not ran
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  exec(code, {})
  assert ran == [([sys.executable, "-m", "pip", "install", "jaxgs[plots]"],)]


@pytest.mark.parametrize("name", ["first_steps", "rate_and_distortion"])
def test_picture_far_from_the_repository(name, monkeypatch, tmp_path):
  cells = [text for _, text in cells_of_script(FOLDER / f"{name}.py")]
  (code,) = (text for text in cells if "def sample_picture" in text)
  monkeypatch.chdir(tmp_path)
  shapes = []
  for has_skimage in (True, False):
    if not has_skimage:
      monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names = {
      "PICTURE": None,
      "PIXELS_PER_GAUSSIAN": 80,
      "TINY": False,
      "Image": Image,
      "importlib": importlib,
      "np": np,
      "pathlib": pathlib,
    }
    exec(code, names)
    assert names["image"].dtype == np.uint8
    shapes.append(names["image"].shape)
  assert shapes == [(200, 210, 3), (192, 192, 3)]


@scripts
def test_runs(script, monkeypatch, tmp_path):
  """In this process: what one notebook compiles serves the next."""
  plt = pytest.importorskip("matplotlib.pyplot")
  data = tmp_path / "tests" / "data"
  data.mkdir(parents=True)
  shutil.copy(ROOT / "tests" / "data" / "parrot.png", data)
  here = tmp_path / "here"
  here.mkdir()
  monkeypatch.setenv("JAXGS_TINY", "1")
  monkeypatch.chdir(here)
  backend = plt.get_backend()
  plt.switch_backend("agg")
  try:
    runpy.run_path(str(script), run_name="__main__")
    assert plt.get_fignums()
    for number in plt.get_fignums():
      plt.figure(number).canvas.draw()
  finally:
    plt.close("all")
    plt.switch_backend(backend)
  assert not list(here.iterdir())
