"""Several maps of one size in one file: all channels share their Gaussians.

A texture's albedo, normals and roughness change at the same places, so that
one set of centres and shapes serves all of them.
"""

import dataclasses
from collections.abc import Collection, Mapping

import jax
import numpy as np

from jaxgs import codec
from jaxgs.compress import Report, compress_job
from jaxgs.config import CompressConfig
from jaxgs.io import Image
from jaxgs.job import Job, default_config, map_of

# A map whose name has this word holds vectors, not colours.
_NORMAL = "normal"


def compress_stack(
  maps: Mapping[str, np.ndarray | Image],
  config: CompressConfig | None = None,
  *,
  key: jax.Array | None = None,
  weights: Mapping[str, float] | None = None,
  normals: Collection[str] = (),
  curve: str | None = None,
  alpha: str | None = None,
  report: Report | None = None,
) -> bytes:
  """Turns named maps of one size into the bytes of one `.jgs` file.

  Args:
    maps: By name, in the order of the file: as for `compress`, or as read from
      a file. Arrays of floats come back as floats.
    config: Settings; when None the default of `compress`.
    key: PRNG key; a fixed one when None.
    weights: What an error in a map costs, by name, positive: 1 for the others.
      The fit and the quantiser's steps follow.
    normals: Names of normal maps whose vectors are to get length 1 when
      decoded. Where detail is lost they come out too short, which is nearer to
      the original on average (1 dB for a rough texture) and a cue for shading.
    curve: "log" or "pu", of maps of floats over 1; "log" when None. Other
      maps have none.
    alpha: See `compress`.
    report: Called with the FitState after every chunk of steps.

  Returns:
    The file.

  Raises:
    ValueError: A map, a name or a setting is out of range, or sizes differ.
  """
  job = stack_job(
    maps, config, weights=weights, normals=normals, curve=curve, alpha=alpha
  )
  return compress_job(job, key=key, report=report)


def stack_job(
  maps: Mapping[str, np.ndarray | Image],
  config: CompressConfig | None = None,
  *,
  weights: Mapping[str, float] | None = None,
  normals: Collection[str] = (),
  curve: str | None = None,
  alpha: str | None = None,
) -> Job:
  """`compress_stack` up to the fit; its arguments and errors."""
  if not maps:
    raise ValueError("maps must be one or more, got none")
  weights = weights or {}
  for name in (*weights, *normals):
    if name not in maps:
      raise ValueError(f"there is no map {name!r}, only {list(maps)}")
  pictures = [
    _stored(name, value, normals, curve, alpha) for name, value in maps.items()
  ]
  sizes = {coded.shape[:2] for coded, _ in pictures}
  if len(sizes) > 1:
    sides = {
      one.name: "{1}x{0}".format(*coded.shape) for coded, one in pictures
    }
    raise ValueError(f"maps must have one size, got {sides}")
  config = config or default_config(*next(iter(sizes)))
  if weights:
    channel_weights = tuple(
      float(weights.get(one.name, 1.0))
      for _, one in pictures
      for _ in range(one.channels)
    )
    fit = dataclasses.replace(config.fit, channel_weights=channel_weights)
    config = dataclasses.replace(config, fit=fit)
  return Job.of_maps(
    np.concatenate([coded for coded, _ in pictures], axis=-1),
    tuple(one for _, one in pictures),
    config,
    icc=_profile(maps),
  )


def _stored(
  name: str,
  value: np.ndarray | Image,
  normals: Collection[str],
  curve: str | None,
  alpha: str | None,
) -> tuple[np.ndarray, codec.Map]:
  """What is stored of a map, and what the file says about it."""
  if isinstance(value, Image):
    pixels, depth, has_alpha, sample = value[:4]
  else:
    pixels = np.asarray(value)
    depth = has_alpha = None
    sample = "float" if pixels.dtype.kind == "f" else "integer"
  is_high = sample != "integer" and bool((pixels > 1).any())
  try:
    return map_of(
      pixels,
      name=name,
      bit_depth=depth,
      has_alpha=has_alpha,
      sample=sample,
      curve=(curve or "log") if is_high else "none",
      alpha=alpha,
      is_vector=_NORMAL in name.lower(),
      is_normal=name in normals,
    )
  except ValueError as error:
    raise ValueError(f"map {name!r}: {error}") from error


def _profile(maps: Mapping[str, np.ndarray | Image]) -> bytes | None:
  """The profile of the coloured maps, if they agree."""
  found = {
    value.icc
    for value in maps.values()
    if isinstance(value, Image) and value.pixels.shape[-1] >= 3
  }
  return found.pop() if len(found) == 1 else None
