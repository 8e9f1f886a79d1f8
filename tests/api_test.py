"""Conventions of the public API, by reflection."""

import ast
import dataclasses
import inspect
import subprocess
import sys
import types

import pytest

import jaxgs

# Arrays, states and configs that may be passed by position.
POSITIONAL = {
  "key",
  "keys",
  "image",
  "images",
  "maps",
  "masks",
  "num_gaussians",
  "gaussians",
  "splats",
  "bins",
  "state",
  "config",
  "symbols",
  "header",
  "data",
  "lattice",
  "num_bytes",
  "psnr_db",
  "channels",
  "transform",
  "name",
  "a",
  "b",
}


def public(kind):
  found = {
    name: value
    for module in (jaxgs, jaxgs.metrics)
    for name in module.__all__
    if isinstance(value := getattr(module, name), kind)
  }
  return {name: inspect.unwrap(value) for name, value in found.items()}


FUNCTIONS = {
  name: value
  for name, value in public(object).items()
  if inspect.isfunction(value)
}
CLASSES = public(type)


def test_there_is_an_api_to_check():
  assert len(FUNCTIONS) > 20
  assert len(CLASSES) > 10


def test_exports_are_sorted_unique_and_complete():
  assert jaxgs.__all__ == sorted(set(jaxgs.__all__))
  assert {*jaxgs._HOMES, "metrics"} == set(jaxgs.__all__) <= set(dir(jaxgs))
  # What type checkers read is what is looked up.
  tree = ast.parse(inspect.getsource(jaxgs))
  said = {
    alias.name: node.module
    for node in ast.walk(tree)
    if isinstance(node, ast.ImportFrom) and node.module.startswith("jaxgs.")
    for alias in node.names
  }
  assert said == {k: f"jaxgs.{home}" for k, home in jaxgs._HOMES.items()}
  for name, value in vars(jaxgs).items():
    if name.startswith("_") or isinstance(value, types.ModuleType):
      continue
    assert name in jaxgs.__all__, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
  function = FUNCTIONS[name]
  doc = inspect.getdoc(function)
  assert doc, "no docstring"
  parameters = list(inspect.signature(function).parameters.values())
  if parameters:
    assert "Args:" in doc
  assert "Returns:" in doc
  seen = [p.name for p in parameters]
  empty = inspect.Parameter.empty
  if "key" in seen and parameters[seen.index("key")].default is empty:
    assert seen[0] == "key", "a required key comes first"
  for parameter in parameters:
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
      continue
    assert f"{parameter.name}:" in doc, f"{parameter.name} is not documented"
    if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
      assert parameter.name in POSITIONAL, f"{parameter.name}: keyword-only"


@pytest.mark.parametrize("name", CLASSES)
def test_class(name):
  cls = CLASSES[name]
  doc = inspect.getdoc(cls)
  assert doc, "no docstring"
  fields = getattr(cls, "_fields", ())
  if dataclasses.is_dataclass(cls):
    fields = [f.name for f in dataclasses.fields(cls)]
    assert cls.__dataclass_params__.frozen, "configs are hashable"
  for field in fields:
    assert field in doc, f"{field} is not documented"


def run(code):
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  return out.stdout.strip()


def test_import_loads_nothing_heavy():
  found = run("import sys, jaxgs; print(*sys.modules)").split()
  assert "jaxgs" in found
  assert not {"jax", "numpy", "jaxgs.codec"}.intersection(found)
  # All that is public, with jax.
  code = "import sys, jaxgs; [getattr(jaxgs, n) for n in jaxgs.__all__];"
  found = run(code + "print(*sys.modules)").split()
  heavy = (
    *("flax", "triton", "imageio", "PIL", "tifffile", "imagecodecs"),
    *("matplotlib", "tqdm", "ml_collections"),
  )
  assert "jaxgs.fit" in found
  assert not set(heavy).intersection(found)


def test_functions_are_not_hidden_by_modules():
  code = """
import sys, jaxgs
from jaxgs import codec
import jaxgs.fit, jaxgs.compress, jaxgs.decompress, jaxgs.quantize
names = [n for n in jaxgs._HOMES if f"jaxgs.{n}" in sys.modules]
print(*names, *(getattr(jaxgs, n).__name__ for n in names), codec.__name__)
"""
  found = run(code).split()
  assert found.pop() == "jaxgs.codec"
  names, functions = found[: len(found) // 2], found[len(found) // 2 :]
  assert names == functions
  assert {"fit", "compress", "decompress", "project", "quantize"} <= set(names)
  with pytest.raises(AttributeError, match="no attribute 'fits'"):
    _ = jaxgs.fits
