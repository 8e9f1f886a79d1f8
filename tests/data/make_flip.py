"""Makes flip.npz: error maps of the FLIP authors' tool.

Where flip-evaluator is installed: `python -m tests.data.make_flip`.
"""

import pathlib

import numpy as np

from tests.data.metric_pictures import hdr_pair, pair

SIZE = (40, 48)
LDR = {"default": {}, "near": {"ppd": 20.0}, "far": {"ppd": 110.0}}
HDR = {
  **{name: {"tonemapper": name} for name in ("aces", "hable", "reinhard")},
  "given": {"startExposure": -3.0, "stopExposure": 1.0, "numExposures": 4},
  "dark": {},
}


def hdr_pictures(name):
  a, b = hdr_pair(*SIZE)
  if name == "dark":  # The median is black.
    a[:, :30] = 0
  return a, b


def main():
  import flip_evaluator

  values = {}
  jobs = [(f"ldr_{name}", "LDR", pair(*SIZE), v) for name, v in LDR.items()]
  jobs += [(f"hdr_{k}", "HDR", hdr_pictures(k), v) for k, v in HDR.items()]
  for name, kind, pictures, options in jobs:
    error, mean, found = flip_evaluator.evaluate(
      *pictures, kind, applyMagma=False, parameters=dict(options)
    )
    values[name] = error[..., 0].astype(np.float32)
    values[f"{name}_mean"] = np.float32(mean)
    if kind == "HDR":
      values[f"{name}_exposures"] = np.array(
        [found[f"{key}Exposure{s}"] for key, s in _EXPOSURES], np.float32
      )
  np.savez_compressed(pathlib.Path(__file__).with_name("flip.npz"), **values)


_EXPOSURES = (("start", ""), ("stop", ""), ("num", "s"))

if __name__ == "__main__":
  main()
