"""Maps that share their Gaussians; linear light and alpha through a file."""

import dataclasses
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import jaxgs
from jaxgs import codec, metrics
from jaxgs.decompress import draw_maps
from jaxgs.io import Image
from jaxgs.losses import image_loss, image_loss_and_mse
from jaxgs.painters import uses_native
from jaxgs.stack import stack_job
from jaxgs.transfer import from_coded, premultiply
from tests.pictures import blobs

# One program to compile: no growth, and all is rounded at the end.
CONFIG = jaxgs.CompressConfig(
  fit=jaxgs.FitConfig(
    num_gaussians=60,
    num_steps=60,
    chunk_steps=60,
    growth_every=60,
    growth_rounds=0,
    relocate_ratio=0.0,
    quantize_start=1.0,
  )
)


def levels(channels, dtype=np.uint8, seed=0):
  parts = [np.asarray(blobs(seed + i)) for i in range(-(-channels // 3))]
  image = np.concatenate(parts, -1)[..., :channels]
  return np.rint(image * np.iinfo(dtype).max).astype(dtype)


def normal_map():
  xy = np.asarray(blobs(3))[..., :2] - 0.5
  normal = np.concatenate([xy, np.full((*xy.shape[:2], 1), 0.8)], -1)
  normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
  return np.rint((0.5 * normal + 0.5) * 255).astype(np.uint8)


def texture():
  glow = 40 * np.asarray(blobs(2)) ** 3
  return {
    "albedo": levels(3),
    "normal_gl": normal_map(),
    "height": levels(1, np.uint16)[..., 0],
    "leaf": levels(4),
    "glow": Image(glow, 16, False, "half"),
    "mask": np.asarray(blobs(1))[..., :1],
  }


def psnr_db(a, b):
  error = a.astype(float) - b.astype(float)
  return -20 * np.log10(np.sqrt(np.mean(error**2)) / np.max(b))


@pytest.fixture(name="texture_file", scope="module")
def _texture_file():
  return jaxgs.compress_stack(texture(), CONFIG, normals=["normal_gl"])


def test_there_and_back(texture_file):
  maps = texture()
  out = jaxgs.decompress_stack(texture_file)
  assert list(out) == list(maps)
  assert [(p.dtype.name, p.shape[2]) for p in out.values()] == [
    ("uint8", 3),
    ("uint8", 3),
    ("uint16", 1),
    ("uint8", 4),
    ("float32", 3),
    ("float32", 1),
  ]
  for name in ("albedo", "normal_gl", "height", "mask"):
    reference = maps[name].reshape(out[name].shape)
    assert psnr_db(out[name], reference) > 15, name
  leaf = (premultiply(x / 255.0) for x in (out["leaf"], maps["leaf"]))
  assert psnr_db(*leaf) > 13
  glow = (jnp.asarray(x) for x in (out["glow"], maps["glow"].pixels))
  assert metrics.log_psnr(*glow) > 15


def test_what_the_file_says(texture_file):
  header, _ = jaxgs.decode(texture_file)
  assert header.channels == 15
  by_name = {one.name: one for one in header.maps}
  assert {n for n, one in by_name.items() if one.is_normal} == {"normal_gl"}
  assert {n for n, one in by_name.items() if one.curve != "none"} == {"glow"}
  assert by_name["leaf"].alpha == "premultiplied"
  assert (by_name["glow"].sample, by_name["mask"].sample) == ("half", "float")
  # Colours, but not normals, are in YCoCg.
  assert header.transform == (0, 7, 11)


def test_normals_have_length_one(texture_file):
  normal = jaxgs.decompress_stack(texture_file)["normal_gl"] / 255 * 2 - 1
  length = np.linalg.norm(normal, axis=-1)
  np.testing.assert_allclose(length, 1, atol=0.01)
  header, symbols = jaxgs.decode(texture_file)
  maps = (dataclasses.replace(one, is_normal=False) for one in header.maps)
  flat = draw_maps(dataclasses.replace(header, maps=tuple(maps)), symbols)
  normal = flat["normal_gl"] / 255 * 2 - 1
  assert np.linalg.norm(normal, axis=-1).min() < 0.95


def test_choice_of_normal_maps():
  job = stack_job(texture(), CONFIG, normals=["albedo"])
  assert [one.name for one in job.maps if one.is_normal] == ["albedo"]
  job = stack_job(texture(), CONFIG)
  assert not any(one.is_normal for one in job.maps)
  # Still no colours.
  assert job.transform == (0, 7, 11)


@pytest.mark.parametrize("backend", ["xla", "auto"])
def test_some_maps_are_those_of_all(texture_file, backend):
  full = jaxgs.decompress_stack(texture_file)
  some = jaxgs.decompress_stack(
    texture_file, names=["glow", "height"], backend=backend
  )
  assert list(some) == ["height", "glow"]
  assert np.abs(some["height"] - full["height"].astype(int)).max() <= 2
  np.testing.assert_allclose(some["glow"], full["glow"], rtol=2e-3)
  part = jaxgs.decompress_stack(
    texture_file, names=["albedo"], scale=2, crop=(5, 6, 20, 10)
  )
  assert part["albedo"].shape == (10, 20, 3)
  with pytest.raises(ValueError, match="no map 'gloss', only"):
    jaxgs.decompress_stack(texture_file, names=["gloss"])


def test_pictures_and_stacks_are_not_mistaken(texture_file):
  with pytest.raises(ValueError, match="stack of 6 maps"):
    jaxgs.decompress(texture_file)
  plain = jaxgs.compress(levels(3), CONFIG)
  with pytest.raises(ValueError, match="must be a stack"):
    jaxgs.decompress_stack(plain)
  single = jaxgs.compress_stack({"a": levels(3)}, CONFIG)
  assert list(jaxgs.decompress_stack(single)) == ["a"]


def test_twenty_channels():
  maps = {f"m{i:02}": levels(1, seed=i) for i in range(20)}
  data = jaxgs.compress_stack(maps, CONFIG)
  out = jaxgs.decompress_stack(data)
  assert len(out) == 20
  for name, image in maps.items():
    assert psnr_db(out[name], image) > 12, name


def test_weights_move_quality():
  maps = {"a": levels(3), "b": levels(3, seed=1)}

  def quality(**weights):
    data = jaxgs.compress_stack(maps, CONFIG, weights=weights)
    out = jaxgs.decompress_stack(data)
    steps = jaxgs.decode(data)[0].lattice.feature_step
    return [psnr_db(out[n], maps[n]) for n in "ab"], steps[0] / steps[3]

  (a0, b0), even = quality(a=16)
  (a1, b1), share = quality(b=16)
  assert a0 > a1 + 1
  assert b1 > b0 + 1
  # Steps are proportional to the inverse root of the weight.
  assert even == pytest.approx(1 / 4, rel=0.01)
  assert share == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(
  ("maps", "options", "reason"),
  (
    ({}, {}, "one or more"),
    ({"a": levels(3), "b": levels(3)[:9]}, {}, "one size, got.*32x9"),
    ({"a": levels(3)}, {"weights": {"b": 2}}, "no map 'b'"),
    ({"a": levels(3)}, {"normals": ["b"]}, "no map 'b'"),
    ({"a": levels(3)}, {"weights": {"a": -1}}, "channel_weights"),
    ({"a": levels(1)}, {"normals": ["a"]}, "a normal map needs 3"),
    ({"../a": levels(3)}, {}, "begins with a dot"),
    ({"a": levels(3), "A": levels(3)}, {}, "is that of"),
    ({"a": levels(3) * -1.0}, {}, "map 'a': image must be"),
    ({"a": levels(3) * np.nan}, {}, "map 'a': image must be"),
    ({f"{i}": levels(3) for i in range(22)}, {}, "channels: got 66"),
  ),
)
def test_bad_stacks(maps, options, reason):
  with pytest.raises(ValueError, match=reason):
    jaxgs.compress_stack(maps, CONFIG, **options)


def test_psnr_of_a_stack(texture_file):
  maps = texture()
  job = stack_job(maps, CONFIG)
  out = draw_maps(*jaxgs.decode(texture_file))
  assert 13 < job.psnr_db(out) < 40
  # Of the maps as they are stored: premultiplied, under the curve.
  exact = {
    one.name: from_coded(part, one)
    for one, part in zip(
      job.maps, np.split(job.image, [3, 6, 7, 11, 14], -1), strict=True
    )
  }
  assert job.psnr_db(exact) > 50
  off = exact | {"height": exact["height"] // 2}
  error = np.mean((job.image[..., 6] / 2) ** 2) / 15
  assert job.psnr_db(off) == pytest.approx(-10 * np.log10(error), abs=0.1)


def test_profiles_that_agree_are_kept():
  def maps(*profiles):
    return {
      str(i): Image(levels(3) / 255, 8, False, icc=icc)
      for i, icc in enumerate(profiles)
    }

  assert stack_job(maps(b"p", b"p"), CONFIG).icc == b"p"
  assert stack_job(maps(b"p", b"q"), CONFIG).icc == b""


# Single pictures.


@pytest.mark.parametrize("curve", ["log", "pu"])
def test_linear_light(curve):
  pixels = np.float32(50) * np.asarray(blobs(0)) ** 4
  data = jaxgs.compress(pixels, CONFIG, sample="float", curve=curve)
  out = jaxgs.decompress(data)
  assert out.dtype == np.float32
  assert out.max() > 5
  assert metrics.log_psnr(jnp.asarray(out), jnp.asarray(pixels)) > 17
  with pytest.raises(ValueError, match=r"in \[0, 1\]"):
    jaxgs.compress(pixels, CONFIG)


def test_bad_linear_light():
  for value in (-1.0, np.nan, np.inf):
    pixels = np.full((9, 9, 3), value)
    with pytest.raises(ValueError, match="image must be in"):
      jaxgs.compress(pixels, CONFIG, sample="half")
  for options, reason in (
    ({"curve": "pq"}, "curve must be one of"),
    ({"sample": "double"}, "double"),
    ({"alpha": "keyed", "has_alpha": True}, "keyed"),
  ):
    with pytest.raises(ValueError, match=reason):
      jaxgs.compress(levels(3), CONFIG, **options)


def test_hidden_colours_cost_nothing():
  image = levels(4)
  hidden = np.zeros(image.shape[:2], bool)
  hidden[:, :16] = True
  image[hidden, 3] = 0
  noisy = image.copy()
  noise = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
  noisy[hidden, :3] = noise[hidden, :3]
  premultiplied = jaxgs.compress(noisy, CONFIG)
  assert premultiplied == jaxgs.compress(image, CONFIG)
  header, _ = jaxgs.decode(premultiplied)
  assert header.pictures[0].alpha == "premultiplied"
  straight = jaxgs.compress(noisy, CONFIG, alpha="straight")
  seen = [premultiply(x / 255.0) for x in (noisy, jaxgs.decompress(straight))]
  better = premultiply(jaxgs.decompress(premultiplied) / 255.0)
  assert psnr_db(better, seen[0]) > psnr_db(seen[1], seen[0])


def test_profile_is_kept():
  data = jaxgs.compress(levels(3), CONFIG, icc=b"colours" * 9)
  assert jaxgs.decode(data)[0].icc == b"colours" * 9
  with pytest.raises(codec.BitstreamError, match="profile of 1048577 bytes"):
    jaxgs.compress(levels(3), CONFIG, icc=bytes((1 << 20) + 1))


def test_stacks_are_decoded_without_jax(texture_file, tmp_path):
  path = tmp_path / "a.jgs"
  path.write_bytes(texture_file)
  program = (
    "import sys, pathlib, jaxgs;"
    "jaxgs.decompress_stack(pathlib.Path(sys.argv[1]).read_bytes());"
    "assert 'jax' not in sys.modules"
  )
  if not uses_native():
    pytest.skip("no native library")
  subprocess.run([sys.executable, "-c", program, str(path)], check=True)


def test_loss_counts_channels_by_weight():
  a, b = (
    jnp.asarray(np.concatenate([blobs(s), blobs(s + 5)], -1)) for s in (0, 1)
  )
  terms = {"l1": 0.3, "l2": 1.0, "ssim": 0.2}
  parts = [
    image_loss(a[..., p], b[..., p], **terms)
    for p in (slice(0, 3), slice(3, 6))
  ]
  for w in (1.0, 5.0):
    weights = (2.0,) * 3 + (2.0 * w,) * 3
    loss, mse = image_loss_and_mse(a, b, channel_weights=weights, **terms)
    want = (parts[0] + w * parts[1]) / (1 + w)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(mse, jnp.mean((a - b) ** 2), rtol=1e-5)
  with pytest.raises(ValueError, match="channel_weights must be 6"):
    image_loss(a, b, channel_weights=(1.0, 2.0), **terms)


def test_weights_have_to_fit():
  fit = dataclasses.replace(CONFIG.fit, channel_weights=(1.0, 2.0))
  config = dataclasses.replace(CONFIG, fit=fit)
  with pytest.raises(ValueError, match="channel_weights must be 3 or none"):
    jaxgs.compress(levels(3), config)
