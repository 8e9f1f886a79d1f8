"""`jaxgs info`: what is in a `.jgs` file, or what can draw it."""

import dataclasses
import math

from jaxgs import codec
from jaxgs.cli.jgs_file import read_jgs, sizes
from jaxgs.cli.report import Report
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.codec.maps import OCTAVE


def run(args) -> Report:
  """Lists a header and its sections, or the backends."""
  if args.backends:
    return _describe_backends()
  jgs = read_jgs(args.input)
  data, header = jgs.data, jgs.header
  facts = _settings(header) | sizes(jgs)
  lines = [
    f"{name:20} {_shown(value)}"
    for name, value in facts.items()
    if name != "maps"
  ]
  for one in facts["maps"]:
    line = ", ".join(f"{k} {_shown(v)}" for k, v in one.items() if k != "name")
    lines.append(f"map {one['name']!r:16} {line}")
  sections = codec.section_sizes(data)
  bits = {k: 8 * v / header.num_gaussians for k, v in sections.items()}
  lines += ["", f"{'section':20} {'bytes':>8} {'bits per Gaussian':>18}"]
  lines += [f"{k:20} {v:8} {bits[k]:18.2f}" for k, v in sections.items()]
  facts["section_bytes"] = sections
  facts["section_bits_per_gaussian"] = bits
  return Report("\n".join(lines), facts)


def _settings(header: codec.Header) -> dict:
  """A header in the units of jaxgs.config, where the file has integers."""
  facts = dataclasses.asdict(header)
  lattice = facts.pop("lattice")
  # Of the picture, wherever the file says it; the maps of a stack differ.
  for name in ("bit_depth", "color_transform", "has_alpha"):
    if header.is_stack:
      del facts[name]
    else:
      facts[name] = getattr(header.pictures[0], name)
  return facts | {
    "maps": [_described(one) for one in header.maps],
    "icc": len(header.icc),
    "cutoff": header.cutoff / 256,
    "epsilon": header.epsilon / 2**24,
    "gamma": header.gamma / GAMMA_ONE,
    "scale_step": lattice.scale_step / 2**16,
    "position_precision": lattice.position_precision / 256,
    "angle_step": 256 / lattice.angle_precision,
    "weight_step": lattice.weight_step / 2**16,
    "feature_step": [step / 2**16 for step in lattice.feature_step],
    "adaptive": bool(lattice.aligned),
    "geometry_power": lattice.geometry_power / 256,
    "feature_power": lattice.feature_power / 256,
    "feature_weight_power": lattice.feature_weight_power / 256 * math.log(2),
  }


def _described(one: codec.Map) -> dict:
  """A map, with the parameters of its curve in its own units."""
  facts = dataclasses.asdict(one)
  scale, peak = facts.pop("curve_scale"), facts.pop("curve_peak")
  if one.curve != "none":
    facts |= {"scale": 2 ** (scale / OCTAVE), "peak": 2 ** (peak / OCTAVE)}
  return facts


def _describe_backends() -> Report:
  """Which backends of the rasteriser there are, and why not the others."""
  from jaxgs.availability import availability

  facts = availability()
  library = facts["native_library"]
  if not library:
    library = f"{facts['instruction_set']}, {facts['num_threads']} threads"
  lines = [
    f"{'jax':12} {facts['jax']} on {facts['platform']}",
    f"{'native code':12} {library}",
  ]
  for name, fault in facts["backends"].items():
    default = ", the default" if name == facts["default"] else ""
    lines.append(f"{name:12} {fault or 'available' + default}")
  return Report("\n".join(lines), facts)


def _shown(value) -> str:
  if isinstance(value, list):
    return ", ".join(_shown(item) for item in value)
  return f"{value:.4g}" if isinstance(value, float) else str(value)
