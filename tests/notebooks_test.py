"""Notebooks run from top to bottom, and equal the scripts beside them."""

import importlib.util
import json
import pathlib
import runpy
import subprocess
import sys

import pytest

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


@scripts
def test_runs(script, monkeypatch, tmp_path):
  """In this process: what one notebook compiles serves the next."""
  plt = pytest.importorskip("matplotlib.pyplot")
  monkeypatch.setenv("JAXGS_TINY", "1")
  monkeypatch.chdir(tmp_path)
  backend = plt.get_backend()
  plt.switch_backend("agg")
  try:
    runpy.run_path(str(script), run_name="__main__")
    for number in plt.get_fignums():
      plt.figure(number).canvas.draw()
  finally:
    plt.close("all")
    plt.switch_backend(backend)
  assert not list(tmp_path.iterdir())
