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
# # A material in one file
#
# A material of a game or a film is a stack of maps of one size: its colour
# (albedo), the direction that its surface faces (normals), how rough it is, and
# how high. All of them change at the same places, here at the edges of bricks.
# `compress_stack` fits one set of Gaussians to all maps: centres and shapes are
# stored once, and each Gaussian has a colour with as many channels as the maps
# have together.
#
# It needs no GPU: about a minute on a CPU with a C++ compiler.

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

import matplotlib.pyplot as plt
import numpy as np

import jaxgs

# %% [markdown]
# ## Settings
#
# `TINY` is for the tests of this repository: it runs everything within seconds,
# and the pictures are poor.

# %%
TINY = bool(os.environ.get("JAXGS_TINY"))
SIDE = 48 if TINY else 256  # Pixels.
STEPS = 8 if TINY else 2000
NUM_GAUSSIANS = 24 if TINY else 1600

# %% [markdown]
# ## Bricks
#
# The maps are made here, so that no download is needed. Noise whose spectrum
# falls with the frequency looks like stone, clay or dust. It is periodic, and
# so is the pattern of bricks: the material tiles.


# %%
def noise(rng: np.random.Generator, falloff: float) -> np.ndarray:
  """Periodic noise (SIDE, SIDE) of mean 0 and deviation 1."""
  frequency = np.fft.fftfreq(SIDE) * SIDE
  radius = np.hypot(frequency[:, None], frequency[None])
  radius[0, 0] = np.inf
  spectrum = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) / radius**falloff
  values = np.fft.ifft2(spectrum).real
  return (values / values.std()).astype(np.float32)


def smooth_step(low: float, high: float, x: np.ndarray) -> np.ndarray:
  """0 below `low`, 1 above `high`, a smooth rise between them."""
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def brick_maps(seed: int) -> dict[str, np.ndarray]:
  """Albedo, normal, roughness and height of a wall, uint8."""
  rng = np.random.default_rng(seed)
  rows, columns = (4, 2) if TINY else (8, 4)
  broad, fine = noise(rng, 2.0), noise(rng, 1.1)
  # Edges are not quite straight: the pattern is looked up beside each pixel.
  y, x = np.mgrid[:SIDE, :SIDE] + 0.5
  y = y / SIDE * rows + 0.035 * noise(rng, 1.8)
  x = x / SIDE * columns + 0.018 * noise(rng, 1.8)
  row = np.floor(y).astype(int)
  x = x + 0.5 * (row % 2)
  column = np.floor(x).astype(int)
  # The distance from the joints, in heights of a brick.
  across, along = y - row, 2 * (x - column)
  inside = np.minimum.reduce([across, 1 - across, along, 2 - along])
  brick = smooth_step(0.04, 0.17, inside)
  tone = rng.normal(size=(rows, columns))[row % rows, column % columns]

  mortar_height = 0.2 + 0.008 * fine
  brick_height = 0.72 + 0.05 * tone + 0.05 * broad + 0.008 * fine
  height = np.clip(mortar_height + brick * (brick_height - mortar_height), 0, 1)

  clay = np.array([0.56, 0.25, 0.17]) * (1 + 0.16 * tone[..., None])
  clay = clay + 0.035 * broad[..., None] + 0.015 * fine[..., None]
  cement = np.array([0.62, 0.59, 0.54]) + 0.02 * fine[..., None]
  soot = 1 - 0.3 * smooth_step(0.4, 2.2, broad)[..., None]
  albedo = (cement + brick[..., None] * (clay - cement)) * soot

  roughness = 0.92 - brick * (0.36 + 0.07 * tone - 0.05 * broad) + 0.015 * fine
  maps = {
    "albedo": albedo,
    "normal": 0.5 + 0.5 * normals_of(height),
    "roughness": roughness,
    "height": height,
  }
  return {
    name: np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    for name, values in maps.items()
  }


def normals_of(height: np.ndarray) -> np.ndarray:
  """Unit vectors (H, W, 3): x right, y up, z towards the viewer."""
  # Central differences that go around the border; 1 is SIDE / 20 pixels high.
  rise = SIDE / 20
  right = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) / 2 * rise
  down = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) / 2 * rise
  vectors = np.stack([-right, down, np.ones_like(height)], axis=-1)
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


maps = brick_maps(seed=3)


def show(title: str, pictures: dict[str, np.ndarray]) -> None:
  """The maps in a row."""
  _, axes = plt.subplots(
    1, len(pictures), figsize=(12, 3.2), layout="constrained"
  )
  for axis, (name, pixels) in zip(axes, pictures.items(), strict=True):
    axis.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
    axis.set_title(f"{title}: {name}", fontsize=10)
    axis.set_axis_off()


show("original", maps)

# %% [markdown]
# ## One file for all maps
#
# The names become part of the file. A map with "normal" in its name is taken
# for one: its vectors are given length 1 again when they are decoded.

# %%
config = jaxgs.preset("default", num_gaussians=NUM_GAUSSIANS, num_steps=STEPS)
data = jaxgs.compress_stack(maps, config)
decoded = jaxgs.decompress_stack(data)

num_bytes = sum(pixels.nbytes for pixels in maps.values())
print(
  f"{num_bytes} bytes of pixels are {len(data)} bytes now:"
  f" {8 * len(data) / SIDE**2:.2f} bits per pixel for"
  f" {num_bytes // SIDE**2} channels"
)
show("decoded", decoded)

# %% [markdown]
# Maps can be decoded alone, which costs less, and at any scale: a renderer that
# needs the albedo at half the size asks for no more.

# %%
half = jaxgs.decompress_stack(data, names=["albedo"], scale=0.5)
print({name: pixels.shape for name, pixels in half.items()})

# %% [markdown]
# ## What each map is worth
#
# The fit lowers the mean squared error over all channels. Left alone it works
# hardest where the values vary most, on the normals. `weights` says what an
# error in a map costs: here one in the albedo, which is seen in any light,
# costs eight times as much. The number of Gaussians stays; their places, their
# shapes and the steps that values are rounded to follow the weights.


# %%
def psnr_db(original: np.ndarray, drawn: np.ndarray) -> float:
  """PSNR of 8-bit maps (H, W) or (H, W, C)."""
  peak = np.float32(255)
  shape = (SIDE, SIDE, -1)
  return float(
    jaxgs.metrics.psnr(
      original.reshape(shape) / peak, drawn.reshape(shape) / peak
    )
  )


weighted = jaxgs.compress_stack(maps, config, weights={"albedo": 8.0})
files = {"all alike": data, "albedo counts 8 times": weighted}
figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
for i, (title, file) in enumerate(files.items()):
  pictures = jaxgs.decompress_stack(file)
  quality = [psnr_db(maps[name], pictures[name]) for name in maps]
  place = np.arange(len(maps)) + 0.38 * (i - 0.5)
  bars = axis.bar(
    place, quality, width=0.36, label=f"{title}: {len(file)} bytes"
  )
  axis.bar_label(bars, fmt="%.1f", fontsize=9)
axis.set_xticks(range(len(maps)), list(maps))
axis.set(ylabel="PSNR, dB", title="Quality of the maps")
axis.legend(loc="upper center", ncols=2, fontsize=9)
axis.margins(y=0.2)

# %% [markdown]
# ## In the light
#
# What counts in the end is the lit surface. A lamp at the upper left shines on
# the wall: matt clay by Lambert's law, and a highlight that is wide and weak
# where the surface is rough (Blinn and Phong). Errors of the maps show most
# where the light grazes.


# %%
def lit(
  pictures: dict[str, np.ndarray], lamp: tuple[float, float, float]
) -> np.ndarray:
  """The wall under a lamp at (x, y, z), in sides of the wall, y down."""
  levels = {name: pixels / 255 for name, pixels in pictures.items()}
  size = levels["albedo"].shape[0]
  albedo = levels["albedo"] ** 2.2  # As light, not as levels of a screen.
  normal = 2 * levels["normal"] - 1
  normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
  # Not 0, which would be a perfect mirror.
  rough = np.maximum(levels["roughness"].reshape(size, size, 1), 0.05)
  y, x = (np.mgrid[:size, :size] + 0.5) / size
  # y of normals points up.
  ray = np.stack([lamp[0] - x, y - lamp[1], np.full_like(x, lamp[2])], axis=-1)
  distance = np.linalg.norm(ray, axis=-1, keepdims=True)
  ray = ray / distance
  viewer = np.array([0, 0, 1])  # Far in front of the wall.
  between = ray + viewer
  between = between / np.linalg.norm(between, axis=-1, keepdims=True)
  matt = np.maximum((normal * ray).sum(-1, keepdims=True), 0)
  exponent = 2 / rough**4
  gloss = np.maximum((normal * between).sum(-1, keepdims=True), 0) ** exponent
  light = 0.8 / distance**2 * (matt * albedo + 0.04 * gloss * (matt > 0))
  # As film does: what is bright is never quite white.
  return (1 - np.exp(-light - 0.03 * albedo)) ** (1 / 2.2)


lamps = {
  "from the upper left": (0.1, 0.1, 0.45),
  "from the right": (1.15, 0.5, 0.3),
}
scaled = jaxgs.decompress_stack(data, scale=2.0)
figure, axes = plt.subplots(
  len(lamps), 3, figsize=(12, 8.4), layout="constrained"
)
for line, (place, lamp) in zip(axes, lamps.items(), strict=True):
  original = lit(maps, lamp)
  drawn = lit(decoded, lamp)
  error = -10 * np.log10(np.mean((original - drawn) ** 2))
  panels = {
    f"original, light {place}": original,
    f"decoded: {error:.1f} dB": drawn,
    "decoded at scale 2": lit(scaled, lamp),
  }
  for axis, (title, pixels) in zip(line, panels.items(), strict=True):
    axis.imshow(pixels)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()

# %% [markdown]
# From a shell, `jaxgs encode-stack` makes such a file of a folder with one
# image per map, and `jaxgs decode` writes the maps again.
