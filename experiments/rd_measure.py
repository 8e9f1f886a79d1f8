"""Measures rate and distortion, image by image, and goes on after a kill."""

import hashlib
import pathlib
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from absl import logging

from experiments import rd_curves, rd_report
from experiments.anchors import Anchor
from experiments.gaussian_codec import GaussianCodec
from experiments.rd_images import choose_images, read_rgb
from experiments.results_file import ResultsFile, key_of
from jaxgs import metrics
from jaxgs.io import write_atomic

# Of a picture without any error: a number keeps means and curves finite.
_EXACT_DB = 100.0


@jax.jit
def _figures(image, original) -> tuple[jax.Array, jax.Array]:
  image, original = (x.astype(jnp.float32) / 255.0 for x in (image, original))
  return metrics.psnr(image, original), metrics.ms_ssim(image, original)


def measure(codec, encode, point, pixels: np.ndarray) -> dict:
  """Encodes at one point, decodes, and compares.

  Args:
    codec: An Anchor or a GaussianCodec.
    encode: Its encoder of the picture.
    point: One of its points.
    pixels: The picture.

  Returns:
    The figures; without a file, those are NaN.
  """
  coded = encode(point)
  row = {"reached": coded.reached, "setting": coded.setting}
  row["version"] = codec.version
  if not coded.data:
    names = ("bytes", "bpp", "psnr_db", "ms_ssim", "encode_s", "decode_s")
    return row | dict.fromkeys(names, float("nan"))
  began = time.perf_counter()
  decoded = codec.decode(coded.data)
  seconds = time.perf_counter() - began
  psnr_db, ms_ssim = _figures(decoded, pixels)
  return row | {
    "bytes": len(coded.data),
    "bpp": 8 * len(coded.data) / (pixels.shape[0] * pixels.shape[1]),
    "psnr_db": min(float(psnr_db), _EXACT_DB),
    "ms_ssim": float(ms_ssim),
    "encode_s": coded.seconds,
    "decode_s": seconds,
  }


def collect(paths, codecs: dict, rates, results: ResultsFile) -> list[dict]:
  """The rows of all images, codecs and points; measures what is missing."""
  rows = []
  for path in tqdm.tqdm(paths, unit="image", disable=None):
    pixels = read_rgb(path)
    digest = hashlib.sha256(pixels.tobytes() + str(pixels.shape).encode())
    for name, codec in codecs.items():
      encode = codec.encoder(pixels)
      for label, point in codec.points(rates).items():
        key = key_of(path.stem, digest.hexdigest(), name, codec.options, label)
        if key not in results:
          row = {"image": path.stem, "codec": name, "point": label}
          results.append(key, row | measure(codec, encode, point, pixels))
        rows.append(results[key])
        if rows[-1]["version"] != codec.version:
          message = "%s: some rows are of %s, this is %s; not done again"
          versions = name, rows[-1]["version"], codec.version
          logging.log_first_n(logging.WARNING, message, 1, *versions)
  return rows


def run(
  settings: Mapping, folder: pathlib.Path, workdir: pathlib.Path, subset=None
) -> str:
  """Measures what is missing, and writes what is known.

  Args:
    settings: As in `configs/kodak.py`, plain nested dicts.
    folder: Of the images.
    workdir: Made if it does not exist. Gets rows.jsonl, tables.md, rd.png and
      rd.svg.
    subset: See `choose_images`.

  Returns:
    The tables.

  Raises:
    ValueError: A setting, an image or a line of rows.jsonl is bad.
    OSError: A folder cannot be read or written.
  """
  codecs = {
    name: GaussianCodec(settings["jaxgs"])
    if name == "jaxgs"
    else Anchor(name, **settings["anchors"])
    for name in settings["codecs"]
  }
  published = rd_curves.read_published(
    settings["curves"], settings["published"]
  )
  paths = choose_images(folder, settings["images"], subset)
  results = ResultsFile(workdir / "rows.jsonl")
  rows = collect(paths, codecs, settings["rates"], results)
  means = rd_curves.mean_points(rows)
  tables = rd_report.means_table(means) + "\n\n"
  tables += rd_report.gaps_table(rows, means, published) + "\n"
  write_atomic(workdir / "tables.md", tables.encode())
  pictures = [workdir / name for name in ("rd.png", "rd.svg")]
  rd_report.plot(means, published, pictures)
  return tables
