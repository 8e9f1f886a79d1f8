"""Builds the native library; everything else is in pyproject.toml.

`jaxgs._native` is a plain shared library, loaded with ctypes and handed to XLA:
no Python extension module, so one file serves every version of Python. Without
a working compiler it is left out, and `jaxgs.native` says so at run time.
"""

import glob
import importlib.util
import os

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


def ffi_headers() -> list[str]:
  """The folder of XLA's FFI headers, which jaxlib ships."""
  spec = importlib.util.find_spec("jaxlib")
  folders = spec.submodule_search_locations if spec else []
  return [os.path.join(folder, "include") for folder in folders]


class BuildNative(build_ext):
  """A build of a library that has no PyInit and no Python in its name."""

  def get_ext_filename(self, fullname: str) -> str:
    """The same name for every version of Python."""
    return os.path.join(*fullname.split(".")) + ".so"

  def get_export_symbols(self, ext: Extension) -> list[str]:
    """Without the PyInit that setuptools would add."""
    return ext.export_symbols


class Wheel(bdist_wheel):
  """A wheel for this platform and any Python 3."""

  def get_tag(self) -> tuple[str, str, str]:
    """Python, ABI, platform."""
    return "py3", "none", super().get_tag()[2]


native = Extension(
  "jaxgs._native",
  sources=sorted(glob.glob("kernels/*/cpu.cc")),
  depends=sorted(glob.glob("kernels/*/*.h")),
  include_dirs=["kernels"],
  language="c++",
  # No -march: the sources make copies for several instruction sets. errno
  # after sqrt keeps a loop from being vectorised. Without visible symbols the
  # templates of XLA's headers cannot mix with those of other libraries.
  extra_compile_args=[
    # Not ours to see warnings of.
    *(f"-isystem{folder}" for folder in ffi_headers()),
    "-std=c++17",
    "-O3",
    "-g0",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-pthread",
  ],
  extra_link_args=["-pthread"],
  optional=True,
)

setup(
  ext_modules=[native],
  cmdclass={"build_ext": BuildNative, "bdist_wheel": Wheel},
)
