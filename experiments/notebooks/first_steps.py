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
# # First steps
#
# `jaxgs` turns an image into a few hundred or thousand coloured Gaussians:
# small ellipses with soft edges. They go into a small file, and the file is
# drawn again at any size. This notebook makes such a file, looks at what is in
# it, and watches a fit.
#
# It needs no GPU: about a minute on a CPU with a C++ compiler, several without
# one.

# %%
# Install jaxgs where it is not there yet.
import importlib.util
import subprocess
import sys

SOURCE = "jaxgs[plots]"  # What pip takes: a name, a folder or a git URL.
if importlib.util.find_spec("jaxgs") is None:
  subprocess.run([sys.executable, "-m", "pip", "install", SOURCE], check=True)

# %%
import dataclasses
import os
import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import jaxgs
from jaxgs import codec, plots

# %% [markdown]
# ## Settings
#
# The time of a fit is proportional to the steps. `TINY` is for the tests of
# this repository: it runs everything within seconds, and the pictures are poor.

# %%
TINY = bool(os.environ.get("JAXGS_TINY"))
PICTURE = None  # The path of a picture of yours; None takes a sample.
STEPS = 8 if TINY else 2000
PIXELS_PER_GAUSSIAN = 80  # Fewer pixels: a better picture, a larger file.

# %% [markdown]
# ## A picture
#
# Yours, or the photograph of the tests, or, far from the repository, one that
# scikit-image brings, or a drawn one. An image is an array `(height, width,
# channels)` of 8-bit or 16-bit integers, or of floats from 0 to 1.


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
num_gaussians = height * width // PIXELS_PER_GAUSSIAN
print(f"{width}x{height} pixels, {num_gaussians} Gaussians")

# %% [markdown]
# ## To bytes and back
#
# `compress` does everything: it places Gaussians, moves them until their
# picture looks like the image, rounds them, and writes the bytes. The result
# is a whole `.jgs` file.

# %%
config = jaxgs.preset("default", num_gaussians=num_gaussians, num_steps=STEPS)
data = jaxgs.compress(image, config)
bits_per_pixel = 8 * len(data) / (height * width)
print(
  f"{image.nbytes} bytes of pixels are {len(data)} bytes now:"
  f" {bits_per_pixel:.3f} bits per pixel"
)

# %% [markdown]
# `decompress` draws the file. Gaussians have no pixels, so that the size of
# the picture is free: at scale 4 each ellipse is drawn four times as large, and
# edges stay smooth. A window (`crop`, in pixels of the output) costs only what
# it shows.

# %%
decoded = jaxgs.decompress(data)
left, top, side = round(0.26 * width), round(0.32 * height), round(0.3 * width)
zoomed = jaxgs.decompress(
  data, scale=4.0, crop=(4 * left, 4 * top, 4 * side, 4 * side)
)


def psnr_db(original: np.ndarray, drawn: np.ndarray) -> float:
  """PSNR of 8-bit pictures: 30 dB is fair, 40 dB is hard to tell apart."""
  peak = np.float32(255)
  return float(jaxgs.metrics.psnr(original / peak, drawn / peak))


# %%
window = np.s_[top : top + side, left : left + side]
figure, axes = plt.subplots(2, 2, figsize=(9, 8.8), layout="constrained")
panels = (
  ("original", image),
  (
    f"decoded: {psnr_db(image, decoded):.2f} dB, {bits_per_pixel:.3f} bits per"
    " pixel",
    decoded,
  ),
  ("original, pixels of the window 4x", image[window]),
  ("drawn at scale 4", zoomed),
)
for axis, (title, pixels) in zip(axes.flat, panels, strict=True):
  axis.imshow(pixels, interpolation="nearest")
  axis.set_title(title, fontsize=10)
  axis.set_axis_off()
for axis in axes[0]:
  axis.add_patch(
    plt.Rectangle((left, top), side, side, fill=False, color="white")
  )

# %% [markdown]
# ## The Gaussians
#
# `decode_gaussians` stops before drawing. A Gaussian has a centre, two standard
# deviations, an angle, a log-weight and a colour. Most are small and long, and
# lie along edges; a few large ones are enough for what is smooth.

# %%
gaussians, header = jaxgs.decode_gaussians(data)
gaussians = jax.tree.map(np.asarray, gaussians)
rgb = decoded / np.float32(255)
page = plots.make_figure(
  [
    [
      plots.picture_panel("decoded", rgb),
      plots.ellipses_panel(
        f"{header.num_gaussians} ellipses of one sigma",
        gaussians,
        plots.to_rgb(gaussians.feature),
      ),
      plots.centers_panel("centres", gaussians, rgb),
    ]
  ],
  (0, 0, width, height),
  width_px=1200,
)
Image.fromarray(plots.figure_pixels(page))

# %%
major = np.exp(gaussians.log_scale.max(axis=-1))
minor = np.exp(gaussians.log_scale.min(axis=-1))
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.scatter(major, minor, s=5, linewidths=0)
axis.plot(*[[minor.min(), minor.max()]] * 2, color="grey", linewidth=1)
axis.annotate("circles", (minor.max(), minor.max()), fontsize=9, color="grey")
axis.set(
  xscale="log",
  yscale="log",
  xlabel="standard deviation along the long axis, pixels",
  ylabel="along the short axis, pixels",
  title="Sizes of the Gaussians",
)
axis.grid(True, linewidth=0.4)

# %% [markdown]
# ## What is in the file
#
# Each parameter is rounded to a whole number of steps and coded with about as
# many bits as it is surprising. Gaussians are a set: sorted along a curve that
# fills the plane, only the way from each to the next has to be told. Colours
# and positions cost most; the container and the header matter in small files
# only.

# %%
sections = codec.section_sizes(data)
figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
bars = axis.barh(list(sections), list(sections.values()))
axis.bar_label(
  bars,
  [f"{8 * size / num_gaussians:.1f} bits" for size in sections.values()],
  padding=4,
  fontsize=9,
)
axis.invert_yaxis()
axis.margins(x=0.12)
axis.set(
  xlabel="bytes (at the bars: bits per Gaussian)",
  title=f"{len(data)} bytes by section",
)
assert sum(sections.values()) == len(data)

# %% [markdown]
# Every section has a checksum. A damaged file is refused, never drawn as a
# wrong picture.

# %%
damaged = bytearray(data)
damaged[len(damaged) // 2] ^= 1
try:
  jaxgs.decompress(bytes(damaged))
except jaxgs.BitstreamError as error:
  print(error)

# %% [markdown]
# ## A fit of your own
#
# `fit_image` is the fit without rounding and file. It calls `report` with its
# state every few steps. Here two fits differ in one setting: whether all
# Gaussians are there from the start, or nine of ten are added later, where the
# picture is wrong. The `key` fixes all random choices: the same key gives the
# same result.

# %%
target = jnp.asarray(image, jnp.float32) / jnp.float32(255)
settings = {
  "added in rounds": config.fit,
  "all from the start": dataclasses.replace(config.fit, growth_rounds=0),
}
traces, snapshots = {}, []
for name, fit_config in settings.items():
  trace = traces[name] = []

  def report(state, trace=trace, name=name):
    """Notes how good the picture is, and keeps the first fit's states."""
    psnr = -10 * np.log10(float(state.mse))
    trace.append((int(state.step), psnr, int(state.active.sum())))
    if name == "added in rounds":
      snapshots.append((state.gaussians, state.active))

  state = jaxgs.fit_image(jax.random.key(0), target, fit_config, report=report)
  print(f"{name}: {traces[name][-1][1]:.2f} dB")

# %%
figure, (left_axis, right_axis) = plt.subplots(
  1, 2, figsize=(10, 3.8), layout="constrained"
)
for name, trace in traces.items():
  step, psnr, count = np.array(trace).T
  left_axis.plot(step, psnr, label=name)
  right_axis.step(step, count, where="post", label=name)
left_axis.set(xlabel="step", ylabel="PSNR, dB", title="Quality")
right_axis.set(xlabel="step", ylabel="Gaussians", title="How many there are")
right_axis.set_ylim(bottom=0)
left_axis.legend()
for axis in (left_axis, right_axis):
  axis.grid(True, linewidth=0.4)

# %% [markdown]
# The same fit as pictures. `render` draws Gaussians that are still arrays: it
# is differentiable, and can be jitted and mapped over.

# %%
chosen = np.unique(np.geomspace(1, len(snapshots), 4).astype(int)) - 1
figure, axes = plt.subplots(
  1, len(chosen), figsize=(11, 3), layout="constrained"
)
for axis, i in zip(axes, chosen, strict=True):
  drawn = jaxgs.render(
    snapshots[i][0], height=height, width=width, active=snapshots[i][1]
  )
  step, _, count = traces["added in rounds"][i]
  psnr = float(jaxgs.metrics.psnr(drawn.image, target))
  axis.imshow(np.clip(drawn.image, 0, 1))
  axis.set_title(f"step {step}: {count} Gaussians, {psnr:.1f} dB", fontsize=9)
  axis.set_axis_off()

# %% [markdown]
# ## Keep it
#
# The bytes are the file. From a shell, `jaxgs decode picture.jgs picture.png
# --scale 4` draws it, and `jaxgs info picture.jgs` tells what is in it.

# %%
if not TINY:
  pathlib.Path("picture.jgs").write_bytes(data)
