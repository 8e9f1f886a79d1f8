"""The native library: finding it, its threads, its C++ tests."""

import functools
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest
from jaxgs.kernels import ffi

from jaxgs import native

ROOT = pathlib.Path(__file__).parents[1]
DRIVERS = sorted((ROOT / "tests" / "native").glob("*.cc"))

# What each looks for, and at what level its build is quickest.
SANITIZERS = {
  "memory": ("address,undefined,float-cast-overflow", "-O0"),
  "threads": ("thread", "-O1"),
}

# Threads do the same whatever the instructions.
INSTRUCTIONS = {"memory": ("best", "avx2", "baseline"), "threads": ("best",)}


def find_compiler():
  names = (os.environ.get("CXX", "c++"), "g++", "clang++")
  return next(filter(None, map(shutil.which, names)), None)


# Whether it is there.


def test_library_is_there_where_a_compiler_is():
  if find_compiler() is None:
    pytest.skip("no C++ compiler")
  assert native.reason() == ""
  assert native.library() is not None
  assert native.instruction_set() in ("baseline", "avx2", "avx512")


def test_switched_off(monkeypatch):
  monkeypatch.setenv("JAXGS_NATIVE", "0")
  assert native.library() is None
  assert "JAXGS_NATIVE=0" in native.reason()
  assert native.instruction_set() == ""


def test_reasons(monkeypatch, tmp_path):
  monkeypatch.setattr(native, "_PATH", tmp_path / "_native.so")
  assert native.library() is None
  assert "no C++ compiler" in native.reason()

  broken = tmp_path / "broken.so"
  broken.write_bytes(b"not a library")
  monkeypatch.setattr(native, "_PATH", broken)
  assert native.library() is None
  assert "cannot load" in native.reason()


@pytest.mark.parametrize("kind", ("function", "handler"))
def test_library_of_other_sources(monkeypatch, kind):
  if native.library() is None:
    pytest.skip(native.reason())
  if kind == "function":
    monkeypatch.setitem(native._FUNCTIONS, "jaxgs_new", (None, ()))
  else:
    monkeypatch.setattr(native, "HANDLERS", (*native.HANDLERS, "jaxgs_new"))
  native._load.cache_clear()
  try:
    assert "has no jaxgs_new: install" in native.reason()
    with pytest.raises(NotImplementedError, match="has no jaxgs_new"):
      ffi.check("cpu")
  finally:
    native._load.cache_clear()


def test_slow_path_is_announced_once(tmp_path):
  code = """
import pathlib
from jaxgs import native
native._PATH = pathlib.Path("nowhere.so")
native.announce_slow_path()
native.announce_slow_path()
"""

  def said(**changes):
    out = subprocess.run(
      [sys.executable, "-c", code],
      capture_output=True,
      text=True,
      check=True,
      env=os.environ | changes,
    )
    return out.stderr

  assert said().count("slower path: nowhere.so is not there") == 1
  assert said(JAXGS_NATIVE="0") == ""


def test_pointers_are_checked():
  array = np.zeros((2, 3), np.float32)
  assert native.pointer(array, np.float32) == array.ctypes.data
  for wrong in (array.T, array.astype(np.float64)):
    with pytest.raises(ValueError, match="contiguous float32"):
      native.pointer(wrong, np.float32)


# Threads.


def test_threads_asked_for(monkeypatch):
  monkeypatch.setenv("JAXGS_NUM_THREADS", "7")
  assert native.num_threads() == 7
  for wrong in ("0", "-1", "x", "1025", "1.5"):
    monkeypatch.setenv("JAXGS_NUM_THREADS", wrong)
    with pytest.raises(ValueError, match="JAXGS_NUM_THREADS"):
      native.num_threads()


@pytest.mark.parametrize(
  ("cores", "quota", "threads"),
  ((8, math.inf, 8), (8, 2.5, 3), (2, 64.0, 2), (8, 0.1, 1)),
)
def test_threads_of_the_process(monkeypatch, cores, quota, threads):
  monkeypatch.delenv("JAXGS_NUM_THREADS", raising=False)
  monkeypatch.setattr(
    os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False
  )
  monkeypatch.setattr(native, "_quota", lambda: quota)
  assert native.num_threads() == threads


@pytest.mark.parametrize(
  ("own", "files", "quota"),
  (
    ("0::/", {"cpu.max": "max 100000"}, math.inf),
    ("0::/", {"cpu.max": "150000 100000"}, 1.5),
    # The limit is that of a group above.
    ("0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 1"}, 0.5),
    # Seen from inside a container.
    ("0::/docker/1", {"cpu.max": "300000 100000"}, 3.0),
    (
      "4:cpu,cpuacct:/x\n1:memory:/y",
      {"cpu/x/cpu.cfs_quota_us": "200000", "cpu/x/cpu.cfs_period_us": "50000"},
      4.0,
    ),
    (
      "1:cpu:/",
      {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
      math.inf,
    ),
    ("0::/", {}, math.inf),
    ("0::/", {"cpu.max": "nonsense"}, math.inf),
    (None, {}, math.inf),
  ),
)
def test_quota_of_control_groups(monkeypatch, tmp_path, own, files, quota):
  for name, text in files.items():
    path = tmp_path / "groups" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
  if own is not None:
    (tmp_path / "own").write_text(own + "\n")
  monkeypatch.setattr(native, "_CGROUPS", tmp_path / "groups")
  monkeypatch.setattr(native, "_OWN_CGROUPS", tmp_path / "own")
  native._quota.cache_clear()
  try:
    assert native._quota() == quota
  finally:
    native._quota.cache_clear()


# The tests in C++.


@functools.cache
def why_not(sanitizer):
  """Why nothing can be built with a sanitizer here, or an empty string."""
  compiler = find_compiler()
  if compiler is None:
    return "no C++ compiler"
  with tempfile.TemporaryDirectory() as folder:
    program = os.path.join(folder, "empty")
    build = [compiler, f"-fsanitize={sanitizer}", "-x", "c++", "-"]
    # The second command fails where the sanitizer does not know the kernel's
    # layout of the memory.
    for command in ([*build, "-o", program], [program]):
      out = subprocess.run(
        command,
        input="int main() { return 0; }",
        capture_output=True,
        text=True,
        check=False,
      )
      if out.returncode:
        return f"-fsanitize={sanitizer}: {out.stderr.strip()[-200:]}"
  return ""


@pytest.mark.parametrize("kind", SANITIZERS)
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda path: path.stem)
def test_under_sanitizers(tmp_path, driver, kind):
  sanitizer, level = SANITIZERS[kind]
  if why_not(sanitizer):
    pytest.skip(why_not(sanitizer))
  # What a driver is linked with is said in its first line.
  first, *_ = driver.read_text().splitlines()
  assert first.startswith("// Sources:"), driver
  sources = [ROOT / name for name in first.removeprefix("// Sources:").split()]
  program = tmp_path / driver.stem
  subprocess.run(
    [
      find_compiler(),
      "-std=c++17",
      level,
      "-g1",
      "-ffp-contract=off",
      f"-fsanitize={sanitizer}",
      "-fno-sanitize-recover=all",
      f"-I{ROOT / 'kernels'}",
      f"-isystem{jax.ffi.include_dir()}",
      driver,
      *sources,
      "-pthread",
      "-o",
      program,
    ],
    check=True,
  )
  for name in INSTRUCTIONS[kind]:
    env = os.environ | {"JAXGS_ISA": name}
    subprocess.run([program], check=True, timeout=300, env=env)
