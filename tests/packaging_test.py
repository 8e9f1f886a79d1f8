"""What is installed: jaxgs.kernels, and no top-level name of others."""

import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def packages_of_folders():
  for folder in ("jaxgs", "kernels"):
    for init in (ROOT / folder).rglob("__init__.py"):
      name = ".".join(init.parent.relative_to(ROOT).parts)
      yield name if folder == "jaxgs" else f"jaxgs.{name}"


def test_package_list_equals_the_folders():
  settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
  listed = settings["tool"]["setuptools"]["packages"]
  assert sorted(listed) == sorted(packages_of_folders())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  folder = tmp_path_factory.mktemp("wheel")
  source = folder / "source"
  # A copy: the build leaves folders beside the sources.
  shutil.copytree(
    ROOT,
    source,
    ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__"),
  )
  subprocess.run(
    [
      sys.executable,
      "-m",
      "build",
      "--wheel",
      "--no-isolation",
      "--outdir",
      folder,
      source,
    ],
    check=True,
    capture_output=True,
  )
  return next(folder.glob("*.whl"))


def test_wheel(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
  tops = {name.split("/")[0] for name in names}
  assert {t for t in tops if not t.endswith(".dist-info")} == {"jaxgs"}
  assert "jaxgs/kernels/rasterize/xla.py" in names
  assert "jaxgs/codec/rans.py" in names


def test_installed_wheel_works_without_the_sources(wheel, tmp_path):
  target = tmp_path / "site"
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(target)
  code = (
    "import jaxgs, numpy as np;"
    "d = jaxgs.compress(np.full((4, 5, 3), 90, np.uint8),"
    " jaxgs.preset('fast', num_gaussians=3, num_steps=2));"
    "print(jaxgs.__file__, jaxgs.decompress(d).shape)"
  )
  out = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=True,
    env={"PYTHONPATH": str(target), "PATH": ""},
  )
  assert str(target) in out.stdout
  assert "(4, 5, 3)" in out.stdout
