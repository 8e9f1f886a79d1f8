"""What can draw on this machine, and why the rest cannot."""

import jax

from jaxgs import kernels, native
from jaxgs.config import RasterSpec


def availability() -> dict:
  """Tries every backend of the rasteriser.

  Returns:
    "jax", its version; "platform", its default one; "native_library", why
    there is none, "" if there is one, with its "instruction_set" and
    "num_threads"; "default", the backend of the automatic choice; "backends",
    why each of them cannot draw here, "" if it can.
  """
  platform = jax.default_backend()
  spec = RasterSpec()
  return {
    "jax": jax.__version__,
    "platform": platform,
    "native_library": native.reason(),
    "instruction_set": native.instruction_set(),
    "num_threads": native.num_threads(),
    "default": kernels.choose("auto", spec, platform),
    "backends": {
      name: _fault(name, spec, platform) for name in kernels.BACKENDS
    },
  }


def _fault(name: str, spec: RasterSpec, platform: str) -> str:
  try:
    kernels.load(name).check(spec, platform)
  # ImportError: a backend may stand on a package that is not installed.
  except (NotImplementedError, ImportError) as error:
    return " ".join(str(error).split()) or type(error).__name__
  return ""
