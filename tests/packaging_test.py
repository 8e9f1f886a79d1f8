"""What is installed: jaxgs.kernels, and no top-level name of others."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

from tests.native_test import find_compiler

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


def build(folder, **environment):
  """The wheel of an sdist of the checkout: what the sdist lacks, it lacks."""
  source = folder / "source"
  # A copy: the build leaves folders beside the sources.
  shutil.copytree(
    ROOT,
    source,
    ignore=shutil.ignore_patterns(
      ".*", "build", "*.egg-info", "__pycache__", "*.so"
    ),
  )
  # With what is installed, be it of other versions than isolation would fetch.
  subprocess.run(
    [
      sys.executable,
      *("-m", "build", "--no-isolation", "--skip-dependency-check"),
      *("--outdir", folder),
      source,
    ],
    check=True,
    capture_output=True,
    env=os.environ | environment,
  )
  return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_without_compiler(tmp_path_factory):
  folder = tmp_path_factory.mktemp("no_compiler")
  return build(folder, CC="/nowhere/cc", CXX="/nowhere/c++")


def names_in(wheel):
  with zipfile.ZipFile(wheel) as archive:
    return archive.namelist()


def run_installed(wheel, folder, code, *arguments):
  target = folder / "site"
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(target)
  out = subprocess.run(
    [sys.executable, "-c", code, *arguments],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
    env={"PYTHONPATH": str(target), "PATH": ""},
  )
  assert out.returncode == 0, out.stderr
  assert str(target) in out.stdout
  return out


def test_wheel(wheel):
  names = names_in(wheel)
  tops = {name.split("/")[0] for name in names}
  assert {t for t in tops if not t.endswith(".dist-info")} == {"jaxgs"}
  assert "jaxgs/kernels/rasterize/xla.py" in names
  assert "jaxgs/codec/rans.py" in names
  assert "jaxgs/codec/FORMAT.md" in names
  assert "jaxgs/kernels/tuning.json" in names
  assert not [name for name in names if name.endswith((".cc", ".h"))]
  if find_compiler():
    assert "jaxgs/_native.so" in names
  # Any Python 3, this platform.
  assert "-py3-none-" in wheel.name
  assert not wheel.name.endswith("-any.whl")


def test_installed_wheel_works_without_the_sources(wheel, tmp_path):
  code = (
    "import jaxgs, numpy as np;"
    "from jaxgs import native;"
    "d = jaxgs.compress(np.full((4, 5, 3), 90, np.uint8),"
    " jaxgs.preset('fast', num_gaussians=3, num_steps=2));"
    "print(jaxgs.__file__, jaxgs.decompress(d).shape, native.library())"
  )
  out = run_installed(wheel, tmp_path, code)
  assert "(4, 5, 3)" in out.stdout
  if find_compiler():
    assert str(tmp_path / "site" / "jaxgs" / "_native.so") in out.stdout


def test_install_without_a_compiler(wheel_without_compiler, tmp_path):
  assert "jaxgs/_native.so" not in names_in(wheel_without_compiler)
  code = (
    "import jaxgs, pathlib, sys;"
    "d = pathlib.Path(sys.argv[1]).read_bytes();"
    "pixels = jaxgs.decompress(d);"
    "print(jaxgs.__file__, pixels.shape, pixels.max())"
  )
  golden = ROOT / "tests" / "golden" / "v1" / "axis_rgba.jgs"
  out = run_installed(wheel_without_compiler, tmp_path, code, golden)
  assert "(64, 64, 4) 246" in out.stdout
  assert out.stderr.count("slower path: _native.so is not there") == 1
