"""Who may import whom: types, math, config <- kernels <- ... <- cli."""

import ast
import functools
import pathlib
import symtable
import sys

import pytest

import jaxgs

ROOT = pathlib.Path(__file__).parents[1]

# A module may import those of its own layer (without cycles: Python says) and
# of the layers before it.
LAYERS = [
  {
    "types",
    "math",
    "config",
    "codec",
    "native",
    "compilation_cache",
    "bands",
    "weights",
  },
  {
    "placement",
    "dequantize",
    "transfer",
    "metrics",
    "io",
    "buckets",
    "saliency",
  },
  {"kernels"},
  {"backends"},
  {"binning", "project"},
  {
    "rasterize",
    "losses",
    "quantize",
    "noise",
    "init",
    "optim",
    "rate",
    "availability",
  },
  {"state"},
  {"picture"},
  {"growth", "step"},
  {"fit"},
  {
    "painters",
    "job",
    "compress",
    "decompress",
    "checkpoint",
    "stack",
    "plots",
  },
  {"rate_control", "fit_together", "convert"},
  {"batch"},
  {"stream"},
  {"", "cli"},
]
LEVEL = {name: i for i, layer in enumerate(LAYERS) for name in layer}


def module_of(path):
  parts = path.relative_to(ROOT).with_suffix("").parts
  if parts[0] == "kernels":
    return "kernels"
  return "" if parts[1:] == ("__init__",) else parts[1]


def files():
  return sorted([*ROOT.glob("jaxgs/**/*.py"), *ROOT.glob("kernels/**/*.py")])


def imports(path):
  """Dotted names that a file imports, within functions too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      for alias in node.names:
        yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize(
  "path", files(), ids=lambda p: str(p.relative_to(ROOT))
)
def test_layers(path):
  here = module_of(path)
  assert here in LEVEL, "a new module: give it a layer"
  for name in imports(path):
    parts = name.split(".")
    assert parts[0] not in ("kernels", "configs", "experiments", "tests"), name
    if parts[0] != "jaxgs":
      continue
    there = parts[1] if parts[1] in LEVEL else ""
    assert LEVEL[there] <= LEVEL[here], f"{here or 'jaxgs'} imports {name}"


def file_of(name):
  """Of a module of ours, None if there is no such module."""
  parts = name.split(".")
  parts = parts[1:] if parts[:2] == ["jaxgs", "kernels"] else parts
  path = ROOT.joinpath(*parts)
  found = (path / "__init__.py", path.with_suffix(".py"))
  return next((file for file in found if file.exists()), None)


@functools.cache
def names_in(path):
  """What a file binds at its top."""
  table = symtable.symtable(path.read_text(), str(path), "exec")
  return {
    symbol.get_name()
    for symbol in table.get_symbols()
    if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
  }


@pytest.mark.parametrize(
  "path",
  [*files(), *sorted(ROOT.glob("experiments/*.py"))],
  ids=lambda p: str(p.relative_to(ROOT)),
)
def test_what_is_imported_is_there(path):
  # Within functions Python finds out when they are called.
  for name in imports(path):
    if name.split(".")[0] in ("jaxgs", "experiments") and not file_of(name):
      module, _, last = name.rpartition(".")
      assert file_of(module), name
      lazy = module == "jaxgs" and hasattr(jaxgs, last)
      assert lazy or last in names_in(file_of(module)), name


@pytest.mark.parametrize(
  "path", sorted(ROOT.glob("jaxgs/codec/*.py")), ids=lambda p: p.name
)
def test_codec_imports_numpy_only(path):
  allowed = sys.stdlib_module_names | {"numpy"}
  for name in imports(path):
    if not name.startswith(("jaxgs.codec", "jaxgs.native")):
      assert name.split(".")[0] in allowed, name


def test_native_imports_numpy_only():
  allowed = sys.stdlib_module_names | {"numpy", "absl"}
  for name in imports(ROOT / "jaxgs" / "native.py"):
    assert name.split(".")[0] in allowed, name


@pytest.mark.parametrize(
  "path", sorted(ROOT.glob("jaxgs/io/*.py")), ids=lambda p: p.name
)
def test_files_and_formats_know_no_jax(path):
  assert not [n for n in imports(path) if n.split(".")[0] == "jax"]


def test_backends_are_reached_through_the_table_only():
  for path in sorted(ROOT.glob("jaxgs/**/*.py")):
    for name in imports(path):
      for op in ROOT.glob("kernels/*/__init__.py"):
        if name.startswith(f"jaxgs.kernels.{op.parent.name}"):
          raise AssertionError(f"{path.name} imports {name}")
