"""Curves of rate and distortion: jaxgs and the codecs that it competes with."""

import dataclasses

from ml_collections import config_dict

from jaxgs.config import preset as preset_of


def get_config(preset: str = "default") -> config_dict.ConfigDict:
  """The settings of `experiments.rate_distortion`.

  Args:
    preset: Of the fit: `--config=configs/kodak.py:fast`.

  Returns:
    A ConfigDict; `jaxgs.compress` holds the fields of a CompressConfig.
  """
  compress = preset_of(preset, num_gaussians=5000)
  config = config_dict.create(
    # BD-rates are those of the first against each other. Without jaxgs the
    # anchors alone: --config.codecs="('jpeg2000', 'jpeg', 'webp', 'avif')".
    codecs=("jaxgs", "jpeg", "webp", "jpeg2000", "avif"),
    # Bits per pixel.
    rates=(0.15, 0.20, 0.30, 0.50, 1.00),
    # Names without suffix; empty: all of the folder.
    images=(),
    # "nearest": of the two files around a rate, the nearer one (their mean
    # rate is then the wanted one within 1 %); "below": the smaller one, up to
    # 0.3 dB worse for JPEG, whose steps are coarse.
    anchors=dict(choose="nearest", webp_method=6, avif_speed=6),
    jaxgs=dict(
      # "size": a file of each rate, within 3 %. "points": fits of fixed N and
      # coarseness, for sweeps: no search, the rate is what comes out.
      target="size",
      # Close to the rates above on Kodak.
      points=((1670, 1.0), (2150, 1.0), (3080, 1.0), (4900, 1.0), (9050, 1.0)),
      compress=dataclasses.asdict(compress),
      seed=0,
    ),
    # A file of experiments/curves, and which of it.
    curves="kodak",
    published=("VTM", "C3", "BPG 4:4:4", "GaussianImage++", "COIN++"),
  )

  # As in `preset`, also after an override of num_steps or chunk_steps: eight
  # rounds of growth over a fifth of the steps, in whole chunks.
  fit = config.jaxgs.compress.fit
  steps, chunk = fit.get_ref("num_steps"), fit.get_ref("chunk_steps")
  fit.growth_every = (steps + chunk * 40 - 1) // (chunk * 40) * chunk
  return config
