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
# # Many images, many settings
#
# A fit is a pure function of JAX: it can be compiled once and mapped over
# images, keys or learning rates. This notebook compresses images of several
# sizes in one call, and then fits one image with many learning rates in one
# program.
#
# It needs no GPU: a few minutes on a CPU with a C++ compiler. A GPU is where
# batches pay most.

# %%
# Install jaxgs where it is not there yet.
import importlib.util
import subprocess
import sys

SOURCE = "jaxgs[plots]"  # What pip takes: a name, a folder or a git URL.
if importlib.util.find_spec("jaxgs") is None:
  subprocess.run([sys.executable, "-m", "pip", "install", SOURCE], check=True)

# %%
import os
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxgs
from jaxgs.fit import default_rates

# %% [markdown]
# ## Settings
#
# `TINY` is for the tests of this repository: it runs everything within seconds,
# and the results mean nothing.

# %%
TINY = bool(os.environ.get("JAXGS_TINY"))
STEPS = 8 if TINY else 1000
SIZES = (
  ((40, 48), (36, 44))
  if TINY
  else (
    (128, 192),
    (192, 128),
    (120, 180),
    (96, 96),
    (160, 224),
  )
)

# %% [markdown]
# ## Images of several sizes
#
# They are drawn here: coloured discs in front of each other, with a soft light
# and a little grain. Discs have sharp edges at every scale, as photographs do.


# %%
def discs(seed: int, height: int, width: int) -> np.ndarray:
  """Discs in front of each other, (height, width, 3) uint8."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width] + 0.5
  side = min(height, width)
  picture = np.broadcast_to(rng.uniform(0.2, 0.8, 3), (height, width, 3)).copy()
  # Few are large and many are small.
  for radius in side * np.geomspace(0.45, 0.03, 60):
    center_x, center_y = rng.uniform(0, width), rng.uniform(0, height)
    dx, dy = (x - center_x) / radius, (y - center_y) / radius
    # One pixel of the edge is neither in nor out.
    cover = np.clip((1 - np.hypot(dx, dy)) * radius + 0.5, 0, 1)[..., None]
    color = rng.uniform(0.1, 0.9) + rng.uniform(-0.2, 0.2, 3)
    shade = (1 - 0.3 * (dx + dy) / 2)[..., None]
    picture += cover * (color * shade - picture)
  picture += rng.normal(0, 0.01, picture.shape)
  return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


images = [discs(seed, *size) for seed, size in enumerate(SIZES)]

# %% [markdown]
# ## One call
#
# `compress_batch` takes images of any sizes. Those of like size are padded to
# one, stacked, and fitted side by side in one program; what is padding never
# counts. Each gets a number of Gaussians for its own size. While one group is
# fitted, threads write the files of the group before. `progress` is called with
# the work that a chunk of steps has done, in steps of one image.

# %%
config = None  # The default: one Gaussian per 80 pixels, 2000 steps.
if TINY:
  config = jaxgs.preset("default", num_gaussians=24, num_steps=STEPS)
done = []
began = time.perf_counter()
files = jaxgs.compress_batch(
  images,
  config,
  progress=lambda steps: done.append((time.perf_counter(), steps)),
)
seconds = time.perf_counter() - began
print(
  f"{len(files)} files in {seconds:.0f} s,"
  f" {sum(steps for _, steps in done)} steps of one image"
)

# %% [markdown]
# The order of the files is that of the images. Each is what `compress` would
# make of its image alone, up to rounding and another draw of the first centres.


# %%
def psnr_db(original: np.ndarray, drawn: np.ndarray) -> float:
  """PSNR of 8-bit pictures."""
  peak = np.float32(255)
  return float(jaxgs.metrics.psnr(original / peak, drawn / peak))


decoded = [jaxgs.decompress(data) for data in files]
figure, axes = plt.subplots(
  2, len(images), figsize=(12, 5.2), layout="constrained"
)
for i, (image, data, drawn) in enumerate(
  zip(images, files, decoded, strict=True)
):
  height, width, _ = image.shape
  header, _ = jaxgs.decode(data)
  axes[0, i].imshow(image)
  axes[0, i].set_title(
    f"{width}x{height}, {header.num_gaussians} Gaussians", fontsize=9
  )
  axes[1, i].imshow(drawn)
  axes[1, i].set_title(
    f"{psnr_db(image, drawn):.1f} dB,"
    f" {8 * len(data) / (height * width):.2f} bits per pixel",
    fontsize=9,
  )
for axis in axes.flat:
  axis.set_axis_off()

# %% [markdown]
# From a shell, `jaxgs encode-batch photos/ files/` does this for a folder, and
# goes on where it stopped. In Python, `fit_batch` is the same without files.
#
# ## A sweep in one program
#
# What sets a shape or chooses code is in a `FitConfig`, which is static:
# another one is another program. Learning rates are leaves of a pytree: `fit`
# takes them as `rates`, in the form of the Gaussians themselves, one rate per
# field. So `vmap` maps over them. Here the default rates are multiplied by
# factors from 1/8 to 32, and each sweep is repeated with other random keys:
# what differs between keys is chance.

# %%
target = jnp.asarray(images[-1 if TINY else 3], jnp.float32) / jnp.float32(255)
height, width, _ = target.shape
fit_config = jaxgs.preset(
  "default",
  num_gaussians=height * width // 80,
  num_steps=STEPS,
).fit
factors = 2.0 ** jnp.arange(-1.0 if TINY else -3.0, 2.0 if TINY else 6.0)
keys = jax.random.split(jax.random.key(0), 2 if TINY else 4)
rates = default_rates(fit_config, (height, width))
print({name: round(float(rate), 4) for name, rate in rates._asdict().items()})


def quality(key: jax.Array, factor: jax.Array) -> jax.Array:
  """PSNR in dB after every chunk of steps, (chunks,)."""
  scaled = jax.tree.map(lambda rate: factor * rate, rates)
  return jaxgs.fit(key, target, fit_config, rates=scaled).psnr_db


over_factors = jax.vmap(quality, in_axes=(None, 0))
sweep = jax.jit(jax.vmap(over_factors, in_axes=(0, None)))

# %% [markdown]
# Compiling takes seconds, once. Then all fits run side by side.

# %%
began = time.perf_counter()
program = sweep.lower(keys, factors).compile()
compiled = time.perf_counter()
psnr = np.asarray(program(keys, factors))  # (keys, factors, chunks)
print(
  f"{compiled - began:.1f} s to compile, {time.perf_counter() - compiled:.1f} s"
  f" for {len(keys) * len(factors)} fits of {STEPS} steps"
)

# %%
figure, (left_axis, right_axis) = plt.subplots(
  1, 2, figsize=(11, 4.2), layout="constrained"
)
steps = fit_config.chunk_steps * (1 + np.arange(psnr.shape[2]))
colors = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(factors)))
for i, (factor, color) in enumerate(zip(factors, colors, strict=True)):
  left_axis.plot(
    steps, psnr[:, i].mean(axis=0), color=color, label=f"{float(factor):g}"
  )
left_axis.set(
  xlabel="step", ylabel="PSNR, dB (mean over keys)", title="During the fit"
)
left_axis.legend(
  title="factor on\nall rates",
  fontsize=9,
  title_fontsize=9,
  loc="center left",
  bbox_to_anchor=(1, 0.5),
)
right_axis.plot(factors, psnr[..., -1].mean(axis=0), color="black", marker="o")
for trace in psnr[..., -1]:
  right_axis.plot(
    factors, trace, color="grey", linestyle="", marker=".", markersize=6
  )
right_axis.set_xscale("log", base=2)
right_axis.xaxis.set_major_formatter("{x:g}")
right_axis.set(
  xlabel="factor on all rates",
  ylabel="PSNR, dB",
  title="At the end: each key (grey) and the mean",
)
for axis in (left_axis, right_axis):
  axis.grid(True, linewidth=0.4)
best = float(factors[psnr[..., -1].mean(axis=0).argmax()])
print(f"best of these for this image: the default rates times {best:g}")

# %% [markdown]
# The default rates suit the mean over photographs and 2000 steps; a short fit
# of another kind of picture may like others. The spread over keys tells how
# small a difference can be trusted.
