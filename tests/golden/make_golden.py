"""Writes golden files of the current format version, never over old ones.

Run from the root of the repository as `python -m tests.golden.make_golden`.
Each `v1/<name>.jgs` comes with `v1/<name>.npz`: the symbols that it must decode
to, and the header's fields as JSON.
"""

import dataclasses
import json
import pathlib
import sys

import numpy as np

from jaxgs import codec
from tests.codec.conftest import angle_levels, make_splats, position_bits


def cases():
  """Yields (name, header, symbols)."""
  replace = dataclasses.replace
  header, symbols = make_splats(200, seed=1, height=96, width=128)
  yield "norm_rgb", replace(header, color_transform="ycocg", top_k=10), symbols

  header, symbols = make_splats(
    150, seed=2, height=100, width=33, channels=1, weighted=False
  )
  yield "sum_gray", replace(header, blend="sum", bit_depth=16), symbols

  header, symbols = make_splats(
    220, seed=3, height=64, width=64, channels=4, lanes=3
  )
  levels = angle_levels(header.lattice, symbols.scale)
  along = symbols._replace(angle=np.arange(220) % 2 % levels)
  header = replace(header, has_alpha=True, gamma=2253, epsilon=17)
  yield "axis_rgba", header, along

  header, symbols = make_splats(1, seed=4, height=1, width=1)
  yield "one", header, symbols

  header, symbols = make_splats(
    1500, seed=5, height=700, width=500, channels=6, precision=0
  )
  flat = symbols.feature.copy()
  heavy = np.random.default_rng(6).standard_t(2, 1500) * 6
  flat[:, 2] = np.clip(np.rint(heavy), -9999, 9999)
  flat[:, 3] = -4
  flat[:, 4] = np.where(flat[:, 4] > 0, 9, 0)
  flat[:, 5] = flat[:, 5] ** 3
  bits = position_bits(header.lattice, symbols.scale, symbols.angle)
  levels = angle_levels(header.lattice, symbols.scale)
  point = symbols.position / np.exp2(bits)
  turn = (point.sum(1) / 2000) % 1
  angle = np.minimum((turn * levels).astype(np.int64), levels - 1)
  yield "six_channels", header, symbols._replace(feature=flat, angle=angle)

  header, symbols = make_splats(
    300, seed=7, height=120, width=150, adaptive=True
  )
  header = replace(header, color_transform="ycocg", top_k=10)
  yield "adaptive_rgb", header, symbols

  maps = (
    codec.Map(name="albedo", channels=3, color_transform="ycocg"),
    codec.Map(name="height", channels=1, bit_depth=16),
    codec.Map(name="normal gl", channels=3, is_normal=True),
    codec.Map(name="leaf-Ä", channels=4, alpha="straight"),
    codec.Map(
      name="glow",
      channels=3,
      sample="float",
      bit_depth=32,
      curve="log",
      curve_scale=-300,
      curve_peak=361,
      color_transform="ycocg",
    ),
  )
  header, symbols = make_splats(
    120, seed=8, height=48, width=64, channels=14, adaptive=True
  )
  yield "stack", replace(header, maps=maps, top_k=10), symbols

  linear = codec.Map(
    channels=3,
    sample="half",
    bit_depth=16,
    curve="pu",
    curve_scale=200,
    curve_peak=340,
    color_transform="ycocg",
  )
  header, symbols = make_splats(150, seed=9, height=60, width=50)
  yield "linear_rgb", replace(header, maps=(linear,), gamma=900), symbols

  leaf = codec.Map(
    channels=4, bit_depth=16, alpha="premultiplied", color_transform="ycocg"
  )
  header, symbols = make_splats(150, seed=10, height=40, width=50, channels=4)
  icc = bytes(range(256)) * 3  # No profile, but decoders do not look into it.
  header = replace(header, maps=(leaf,), icc=icc)
  yield "premultiplied_rgba", header, symbols


def _as_json(header: codec.Header) -> str:
  """The fields of a header, the newer ones only where they are used."""
  fields = dataclasses.asdict(header)
  icc = fields.pop("icc")
  if icc:
    fields["icc"] = icc.hex()
  if not fields["maps"]:
    del fields["maps"]
  return json.dumps(fields)


def main():
  """Writes what is missing."""
  folder = pathlib.Path(__file__).parent / "v1"
  folder.mkdir(exist_ok=True)
  for name, header, symbols in cases():
    path = folder / f"{name}.jgs"
    if path.exists():
      sys.stdout.write(f"{path.name}: exists, left as it is\n")
      continue
    rank = codec.order(header, symbols)
    fields = {
      key: np.asarray(value)[rank].astype(np.int32)
      for key, value in symbols._asdict().items()
    }
    text = _as_json(header)
    np.savez_compressed(path.with_suffix(".npz"), header=text, **fields)
    path.write_bytes(codec.encode(header, symbols))
    sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
  main()
