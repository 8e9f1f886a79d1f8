import numpy as np
import pytest

import jaxgs
from jaxgs import codec, convert
from jaxgs.config import QuantConfig
from jaxgs.io import ImageError
from tests import fixtures
from tests.convert.checkpoints import DATA, IMAGE_GS, rewrite
from tests.data import make_checkpoints

IMAGE_GS_FIT = DATA / "imagegs_n2500.npz"
GAUSSIAN_IMAGE_FIT = DATA / "gaussianimage_n5000.npz"
KODAK = {"height": 512, "width": 768}
SIZE = {"height": 20, "width": 30}


def psnr_db(a, b):
  return -10 * np.log10(np.mean((a / 255.0 - b) ** 2))


def covariances(gaussians):
  """(N, 2, 2) in float64, by the definition."""
  angle = np.asarray(gaussians.angle, np.float64)
  cos, sin = np.cos(angle), np.sin(angle)
  turn = np.moveaxis(np.array([[cos, -sin], [sin, cos]]), -1, 0)
  variance = np.exp(2.0 * np.asarray(gaussians.log_scale, np.float64))
  return (turn * variance[:, None]) @ np.swapaxes(turn, 1, 2)


# As their own renderers draw.


def test_image_gs_draws_as_its_own_renderer():
  drawing = convert.read_image_gs(IMAGE_GS_FIT, **KODAK)
  _, want = fixtures.image_gs()
  assert psnr_db(convert.render_drawing(drawing), want["norm"]) > 50.0
  data = convert.encode_drawing(drawing)
  # 43.6 dB with steps twice as large; 38 with centres moved only.
  assert psnr_db(jaxgs.decompress(data), want["norm"]) > 46.0
  header, symbols = codec.decode(data)
  assert len(symbols.angle) > 2480
  assert (header.blend, header.top_k, header.cutoff) == ("norm", 10, 12.5 * 256)
  assert header.edge == "smooth"


def test_image_gs_with_a_plain_sum():
  drawing = convert.read_image_gs(IMAGE_GS_FIT, **KODAK, blend="sum")
  _, want = fixtures.image_gs()
  y, x = want["crop_yx"]
  picture = convert.render_drawing(drawing)[y : y + 128, x : x + 128]
  # Of 8 bits: 58.9 dB at most.
  assert psnr_db(picture, want["sum"]) > 57.0


def test_gaussian_image_draws_as_its_own_renderer():
  drawing = convert.read_gaussian_image(GAUSSIAN_IMAGE_FIT, **KODAK)
  _, want = fixtures.gaussian_image()
  y, x = want["crop_yx"]
  window = (slice(y, y + 128), slice(x, x + 128))
  deep = drawing._replace(bit_depth=16)
  picture = convert.render_drawing(deep)[window] / 257
  assert psnr_db(picture, want["render"]) > 75.0
  data = convert.encode_drawing(drawing)
  assert psnr_db(jaxgs.decompress(data)[window], want["render"]) > 46.0
  header, _ = codec.decode(data)
  assert (header.blend, header.edge) == ("sum", "sharp")
  coarse = convert.encode_drawing(drawing, quant=QuantConfig(coarseness=0.5))
  assert len(coarse) < 0.75 * len(data)


# Of checkpoints.


def test_image_gs_checkpoint():
  values = make_checkpoints.parameters(make_checkpoints.IMAGE_GS)
  drawing = convert.read_image_gs(IMAGE_GS, **SIZE, gamma=2.0)
  gaussians = drawing.gaussians
  mean = values["xy"] * [30, 20] + 0.5
  np.testing.assert_allclose(gaussians.mean, mean, rtol=1e-6)
  np.testing.assert_array_equal(gaussians.feature, values["feat"])
  np.testing.assert_array_equal(gaussians.log_weight, 0)
  # Sigma = R S S R^T with R of rows (cos, sin), (-sin, cos), S = 1 / scale.
  angle = values["rot"][:, 0].astype(np.float64)
  turn = np.array([[np.cos(angle), np.sin(angle)]])
  turn = np.stack([turn[0], [-np.sin(angle), np.cos(angle)]])
  turn = np.moveaxis(turn, -1, 0)
  wanted = (turn / values["scale"][:, None] ** 2) @ np.swapaxes(turn, 1, 2)
  np.testing.assert_allclose(covariances(gaussians), wanted, rtol=1e-4)
  assert (drawing.height, drawing.width, drawing.gamma) == (20, 30, 2.0)
  direct = convert.read_image_gs(IMAGE_GS, **SIZE, inverse_scale=False)
  np.testing.assert_allclose(
    direct.gaussians.log_scale, -gaussians.log_scale, rtol=1e-6
  )


def test_scales_of_zero_are_flat(tmp_path):
  path = tmp_path / "a.npz"
  values = make_checkpoints.parameters(make_checkpoints.IMAGE_GS)
  values["scale"][3] = 0
  np.savez(path, **values)
  drawing = convert.read_image_gs(path, **SIZE)
  np.testing.assert_array_equal(drawing.gaussians.log_scale[3], 12)
  assert codec.decode(convert.encode_drawing(drawing))


def test_gaussian_image_checkpoints():
  path = DATA / "gaussian_image_cholesky.pth.tar"
  values = make_checkpoints.parameters(make_checkpoints.CHOLESKY)
  gaussians = convert.read_gaussian_image(path, **SIZE).gaussians
  mean = 0.5 * np.array([30, 20]) * (np.tanh(values["_xyz"]) + 1) + 0.5
  np.testing.assert_allclose(gaussians.mean, mean, rtol=1e-5)
  factor = np.zeros((12, 2, 2))
  factor[:, [0, 1, 1], [0, 0, 1]] = values["_cholesky"] + [0.5, 0, 0.5]
  wanted = factor @ np.swapaxes(factor, 1, 2)
  np.testing.assert_allclose(covariances(gaussians), wanted, atol=1e-5)
  np.testing.assert_array_equal(gaussians.feature, values["_features_dc"])

  path = DATA / "gaussian_image_rs.pth.tar"
  values = make_checkpoints.parameters(make_checkpoints.ROTATED)
  gaussians = convert.read_gaussian_image(path, **SIZE).gaussians
  angle = 2 * np.pi / (1 + np.exp(-values["_rotation"][:, 0].astype(float)))
  rows = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  factor = (
    np.moveaxis(np.array(rows), -1, 0)
    * (np.abs(values["_scaling"] + 0.5)[:, None])
  )
  wanted = factor @ np.swapaxes(factor, 1, 2)
  np.testing.assert_allclose(covariances(gaussians), wanted, atol=1e-5)


def test_opacity(tmp_path):
  path = tmp_path / "a.npz"
  values = make_checkpoints.parameters(make_checkpoints.CHOLESKY)
  opacity = np.linspace(0.1, 1, 12, dtype=np.float32)[:, None]
  np.savez(path, _opacity=opacity, **values)
  gaussians = convert.read_gaussian_image(path, **SIZE).gaussians
  np.testing.assert_allclose(np.exp(gaussians.log_weight), opacity[:, 0], 1e-6)
  np.savez(path, _opacity=opacity * 2, **values)
  with pytest.raises(ImageError, match="opacity must be over 0 and at most 1"):
    convert.read_gaussian_image(path, **SIZE)


def test_kinds(tmp_path):
  kinds = {
    IMAGE_GS: "image-gs",
    IMAGE_GS_FIT: "image-gs",
    GAUSSIAN_IMAGE_FIT: "gaussian-image",
    DATA / "gaussian_image_rs.pth.tar": "gaussian-image",
  }
  for path, kind in kinds.items():
    assert convert.kind_of(path) == kind
  with pytest.raises(ImageError, match="not those of Image-GS"):
    convert.kind_of(DATA / "views.pt")


# What is wrong.


def _edited(tmp_path, columns, name, value):
  values = make_checkpoints.parameters(columns)
  values[name] = value(values[name]) if value else None
  path = tmp_path / "a.npz"
  np.savez(path, **{k: v for k, v in values.items() if v is not None})
  return path


def _with_nan(values):
  values[3, 1] = np.nan
  values[5, 0] = np.inf
  return values


@pytest.mark.parametrize(
  ("name", "value", "reason"),
  (
    ("feat", None, r"no feat among its arrays \(xy, scale, rot, vis_feat\)"),
    ("xy", lambda x: x[:, :1], r"xy has shape \(12, 1\), expected \(12, 2\)"),
    ("scale", lambda x: x[:7], r"scale has shape \(7, 2\), expected \(12, 2\)"),
    ("rot", lambda x: x[:, 0], r"rot has shape \(12,\), expected \(12, 1\)"),
    ("feat", lambda x: x[:, :0], r"feat has shape \(12, 0\), expected \(12, C"),
    ("feat", lambda x: np.tile(x, 30), "header channels: got 90"),
    ("xy", _with_nan, "2 values of xy are not finite"),
    ("rot", lambda x: x.astype(int), "rot is of int64, expected floats"),
  ),
)
def test_bad_arrays(tmp_path, name, value, reason):
  path = _edited(tmp_path, make_checkpoints.IMAGE_GS, name, value)
  with pytest.raises(ImageError, match=reason) as caught:
    convert.read_image_gs(path, **SIZE)
  assert str(caught.value).startswith(f"{path}: ")


def test_bad_gaussian_images(tmp_path):
  columns = make_checkpoints.CHOLESKY
  path = _edited(tmp_path, columns, "_cholesky", None)
  with pytest.raises(ImageError, match="no cholesky among its arrays"):
    convert.read_gaussian_image(path, **SIZE)
  codebook = "features_dc_quantizer.codebook"
  path = _edited(tmp_path, columns | {codebook: 3}, "_xyz", lambda x: x)
  with pytest.raises(ImageError, match="of a training with quantisers"):
    convert.read_gaussian_image(path, **SIZE)


def test_a_billion_gaussians(tmp_path):
  """Refused by what the file says, before there is an array of them."""
  for shape in (b"J\0\xca\x9a\x3bK\2\x86", b"\x8a\5\0\0\0\0\7K\2\x86"):
    path = rewrite(
      IMAGE_GS,
      tmp_path / "a.pt",
      lambda data, shape=shape: data.replace(b"K\x0cK\2\x86", shape)
      .replace(b"K\x0cK\1\x86", shape.replace(b"K\2", b"K\1"))
      .replace(b"K\x0cK\3\x86", shape.replace(b"K\2", b"K\3")),
    )
    with pytest.raises(
      ImageError, match=r"\d{10} Gaussians, expected 1 to 167"
    ):
      convert.read_image_gs(path, **SIZE)


@pytest.mark.parametrize("size", ((0, 30), (20, 70000), (65536, 65536)))
def test_bad_sizes(size):
  with pytest.raises(ImageError, match="header "):
    convert.read_image_gs(IMAGE_GS, height=size[0], width=size[1])
