"""How well pictures can be drawn larger than what was fitted.

A picture is made smaller (Lanczos with antialiasing, 8 bits), Gaussians are
fitted to the small one and drawn at the full size. What comes out is compared
with the original, as are bicubic and Lanczos enlargements of the same small
picture.
"""

import json
import math
import pathlib
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from experiments.rd_images import choose_images, read_rgb
from jaxgs import metrics
from jaxgs.compress import fit_image
from jaxgs.config import preset
from jaxgs.io import write_atomic, write_image
from jaxgs.rasterize import render


def enlarge(small: jax.Array, factor: int, settings: Mapping) -> dict:
  """Pictures of the full size from a small one.

  Args:
    small: (H, W, 3) float32 in [0, 1].
    factor: How many times larger they are.
    settings: As in `configs/super_resolution.py`.

  Returns:
    By method, (factor H, factor W, 3) float32, 8 bits in [0, 1].
  """
  height, width, channels = small.shape
  size = (factor * height, factor * width, channels)
  n = max(1, int(height * width / settings["pixels_per_gaussian"]))
  config = preset(
    "default", num_gaussians=n, num_steps=settings["num_steps"]
  ).fit
  state = fit_image(jax.random.key(settings["seed"]), small, config)
  drawn = render(
    state.gaussians,
    height=size[0],
    width=size[1],
    active=state.active,
    scale=float(factor),
    spec=config.raster,
  ).image
  return {
    "bicubic": _round(jax.image.resize(small, size, "cubic")),
    "lanczos": _round(jax.image.resize(small, size, "lanczos3")),
    "gaussians": _round(drawn),
  }


def measure(
  original: np.ndarray,
  settings: Mapping,
  weights: metrics.LpipsWeights | None,
) -> Iterator[tuple[list[dict], np.ndarray]]:
  """Enlarges a picture that was made smaller, by every factor.

  Args:
    original: (H, W, 3) uint8.
    settings: As in `configs/super_resolution.py`.
    weights: Of LPIPS, or None.

  Yields:
    A row of scores per method, and the pictures side by side.

  Raises:
    ValueError: The picture is smaller than a factor.
  """
  for factor in settings["factors"]:
    least = min(original.shape[:2])
    if not 1 <= factor <= least:
      raise ValueError(
        f"factors must be 1 to {least}, the smaller side, got {factor}"
      )
    height, width = (side // factor for side in original.shape[:2])
    full = jnp.asarray(original[: height * factor, : width * factor])
    full = full.astype(jnp.float32) / 255.0
    # Antialiased: resize does so when it makes a picture smaller.
    small = _round(jax.image.resize(full, (height, width, 3), "lanczos3"))
    pictures = enlarge(small, factor, settings)
    rows = []
    for method, picture in pictures.items():
      psnr_db = float(metrics.psnr(full, picture))
      row = {
        "factor": factor,
        "method": method,
        # JSON has no infinity.
        "psnr_db": psnr_db if math.isfinite(psnr_db) else None,
        "ssim": float(metrics.ssim(full, picture)),
        "flip": float(metrics.flip(full, picture)),
      }
      if weights is not None:
        row["lpips"] = float(metrics.lpips(full, picture, weights=weights))
      rows.append(row)
    yield rows, np.concatenate([full, *pictures.values()], axis=1)


def run(
  settings: Mapping, folder: pathlib.Path, workdir: pathlib.Path
) -> Iterator[dict]:
  """Measures the images of a folder.

  Args:
    settings: As in `configs/super_resolution.py`.
    folder: Of the images.
    workdir: Gets results.jsonl and pictures/.

  Yields:
    The rows.

  Raises:
    ValueError: An image or a setting is bad.
  """
  try:
    weights = metrics.load_lpips_weights()
  except (FileNotFoundError, ImportError) as error:
    logging.info("LPIPS is left out: %s", error)
    weights = None
  (workdir / "pictures").mkdir(parents=True, exist_ok=True)
  lines = b""
  for path in choose_images(folder, settings["images"], None):
    original = _middle(read_rgb(path), settings["crop_px"])
    for rows, picture in measure(original, settings, weights):
      name = f"{path.stem}-x{rows[0]['factor']}.png"
      write_image(workdir / "pictures" / name, picture)
      for row in rows:
        row = {"image": path.stem, **row}
        lines += json.dumps(row).encode() + b"\n"
        yield row
      write_atomic(workdir / "results.jsonl", lines)


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
  if not side:
    return pixels
  y, x = (max(0, (length - side) // 2) for length in pixels.shape[:2])
  return pixels[y : y + side, x : x + side]


def _round(image: jax.Array) -> jax.Array:
  """What a file of 8 bits would hold."""
  return jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0) / 255.0
