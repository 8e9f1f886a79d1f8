"""Files of every format version keep decoding to the same symbols."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxgs import codec

FILES = sorted((pathlib.Path(__file__).parents[1] / "golden").glob("v*/*.jgs"))


def test_golden_files_are_there():
  assert {f.stem for f in FILES} >= {"norm_rgb", "sum_gray", "axis_rgba"}


@pytest.mark.parametrize(
  "path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}"
)
@pytest.mark.parametrize("library", ["1", "0"])
def test_golden_file(monkeypatch, path, library):
  monkeypatch.setenv("JAXGS_NATIVE", library)
  header, symbols = codec.decode(path.read_bytes())
  with np.load(path.with_suffix(".npz")) as want:
    fields = json.loads(str(want["header"]))
    lattice = fields["lattice"]
    lattice[4] = tuple(lattice[4])
    fields["lattice"] = codec.Lattice(*lattice)
    if "icc" in fields:
      fields["icc"] = bytes.fromhex(fields["icc"])
    fields["maps"] = tuple(fields.get("maps", ()))
    # A later header may know more; what was stored then must stay.
    got = dataclasses.asdict(header)
    assert {name: got[name] for name in fields} == fields
    for name, got in symbols._asdict().items():
      np.testing.assert_array_equal(got, want[name], err_msg=name)
