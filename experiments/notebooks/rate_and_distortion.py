# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rate and distortion
#
# A codec is not one number. More bytes give a better picture, and the question
# is always: how good at how many bytes? This notebook draws that curve for
# `jaxgs` on one small picture, beside JPEG and WebP, and sums the gap between
# curves up in a BD-rate.
#
# It needs no GPU: a minute or two on a CPU with a C++ compiler.

# %%
# Install jaxgs where it is not there yet.
import importlib.util
import subprocess
import sys

SOURCE = "jaxgs[plots]"  # What pip takes: a name, a folder or a git URL.
if importlib.util.find_spec("jaxgs") is None:
  subprocess.run([sys.executable, "-m", "pip", "install", SOURCE], check=True)

# %%
import io
import os
import pathlib

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import jaxgs

# %% [markdown]
# ## Settings
#
# `TINY` is for the tests of this repository: it runs everything within seconds,
# and the results mean nothing.

# %%
TINY = bool(os.environ.get("JAXGS_TINY"))
PICTURE = None  # The path of a picture of yours; None takes a sample.
STEPS = 8 if TINY else 2000
# Pixels per Gaussian of the files: the fewer, the larger the file.
PIXELS_PER_GAUSSIAN = (80, 20) if TINY else (320, 160, 80, 40)


# %%
def sample_picture() -> np.ndarray:
  """A small picture, (H, W, 3) uint8, without the network."""
  here = pathlib.Path.cwd()
  for folder in (here, *here.parents):
    path = folder / "tests" / "data" / "parrot.png"
    if path.exists():
      return np.asarray(Image.open(path).convert("RGB"))
  if importlib.util.find_spec("skimage"):
    from skimage import data

    return data.astronaut()[0:200, 120:330]
  y, x = np.mgrid[:192, :192]
  waves = np.sin(x[..., None] / 9 + y[..., None] / 13 + np.arange(3))
  disc = (x - 110) ** 2 + (y - 80) ** 2 < 50**2
  return np.where(disc[..., None], [230, 120, 40], 128 + 90 * waves).astype(
    np.uint8
  )


if PICTURE:
  image = np.asarray(Image.open(PICTURE).convert("RGB"))
else:
  image = sample_picture()
if TINY:
  image = image[40:80, 80:128]
height, width, _ = image.shape
num_pixels = height * width

# %% [markdown]
# ## Files of jaxgs
#
# A point of the curve is a real file: its rate is the length in bytes, headers
# and all, and its distortion that of the decoded picture, rounded to 8 bits.
# The number of Gaussians moves along the curve. (`compress_to_size` and
# `compress_to_psnr` look for the number that meets a target.)


# %%
def psnr_db(drawn: np.ndarray) -> float:
  """PSNR of an 8-bit picture against the original."""
  peak = np.float32(255)
  return float(jaxgs.metrics.psnr(image / peak, drawn / peak))


decoded = {"jaxgs": []}
points = {"jaxgs": []}  # (bits per pixel, PSNR in dB) of every file.
for pixels_per_gaussian in PIXELS_PER_GAUSSIAN:
  num_gaussians = num_pixels // pixels_per_gaussian
  config = jaxgs.preset("default", num_gaussians=num_gaussians, num_steps=STEPS)
  data = jaxgs.compress(image, config)
  drawn = jaxgs.decompress(data)
  decoded["jaxgs"].append(drawn)
  points["jaxgs"].append((8 * len(data) / num_pixels, psnr_db(drawn)))
  rate, quality = points["jaxgs"][-1]
  print(f"{num_gaussians} Gaussians: {rate:.3f} bpp, {quality:.2f} dB")

# %% [markdown]
# ## JPEG and WebP
#
# Pillow writes them in each of its qualities, with the options that give the
# smallest files.

# %%
CODECS = {
  "JPEG": ("jpeg", {"optimize": True}, range(1, 96)),
  "WebP": ("webp", {"method": 6}, range(0, 101)),
}
for name, (kind, options, qualities) in CODECS.items():
  decoded[name], points[name] = [], []
  for setting in qualities:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=setting, **options)
    drawn = np.asarray(Image.open(buffer).convert("RGB"))
    decoded[name].append(drawn)
    rate = 8 * len(buffer.getvalue()) / num_pixels
    points[name].append((rate, psnr_db(drawn)))

# %% [markdown]
# ## The curves
#
# Higher and further left is better. JPEG brings its tables with every file,
# which a small picture feels: its curve cannot start further left.

# %%
COLORS = {"jaxgs": "#D55E00", "JPEG": "#0072B2", "WebP": "#009E73"}
figure, axis = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
for name, curve in points.items():
  rates, quality = np.transpose(curve)
  if name == "jaxgs":
    axis.plot(rates, quality, color=COLORS[name], marker="o", label=name)
  else:
    axis.plot(rates, quality, color=COLORS[name], marker=".", label=name)
largest = max(rate for rate, _ in points["jaxgs"])
axis.set_xlim(0, 1.1 * largest)
seen = [q for curve in points.values() for r, q in curve if r < 1.1 * largest]
axis.set_ylim(min(seen) - 1, max(seen) + 1)
axis.set(
  xlabel="rate, bits per pixel",
  ylabel="PSNR, dB",
  title=f"One picture of {width}x{height} pixels",
)
axis.legend()
axis.grid(True, linewidth=0.4)

# %% [markdown]
# ## At the same size
#
# For each file of `jaxgs`, the file of JPEG and WebP that is nearest in size.
# Where a codec cannot make files that small, its smallest is shown: look at the
# rates. PSNR is not the eye. JPEG shows blocks, Gaussians leave out grain and
# smooth what is fine.


# %%
def nearest(name: str, rate: float) -> int:
  """The number of the file whose rate is nearest."""
  rates = np.array([rate for rate, _ in points[name]])
  return int(np.argmin(np.abs(np.log(rates / rate))))


chosen = range(len(PIXELS_PER_GAUSSIAN))[:3]
figure, axes = plt.subplots(
  len(chosen),
  len(points),
  figsize=(10, 3.4 * len(chosen)),
  layout="constrained",
)
for line, i in zip(axes, chosen, strict=True):
  for axis, name in zip(line, points, strict=True):
    place = nearest(name, points["jaxgs"][i][0])
    rate, quality = points[name][place]
    axis.imshow(decoded[name][place], interpolation="nearest")
    axis.set_title(f"{name}: {rate:.2f} bpp, {quality:.1f} dB", fontsize=10)
    axis.set_axis_off()

# %% [markdown]
# ## One number
#
# The BD-rate (Bjøntegaard, 2001) is the mean difference in bytes at equal
# quality, over the qualities that both curves have: -20 % means a fifth fewer
# bytes than the other codec. It needs curves that rise: of the many qualities
# of JPEG and WebP, files that are larger than another and no better are left
# out.


# %%
def rising(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
  """The points that no smaller file equals."""
  kept = []
  for rate, quality in sorted(curve):
    if not kept or (quality > kept[-1][1] and rate > kept[-1][0]):
      kept.append((rate, quality))
  return kept


for name in CODECS:
  percent = jaxgs.metrics.bd_rate(
    anchor=rising(points[name]), test=rising(points["jaxgs"])
  )
  print(f"jaxgs against {name}: {percent:+.1f} % bytes at equal PSNR")

# %% [markdown]
# One picture is an example, not a measurement. `experiments/rate_distortion.py`
# measures whole sets of images, with AVIF and JPEG 2000 and by several metrics;
# the README has its results.
