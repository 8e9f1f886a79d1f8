"""Compiled programs kept on disk, so that the second run starts at once."""

import hashlib
import os
import pathlib
import platform


def use_compilation_cache() -> None:
  """Keeps compiled programs in the user's cache folder.

  For programs, not for libraries: it changes a setting of jax. Does nothing
  where the user has set JAX_COMPILATION_CACHE_DIR or there is no home.
  """
  import jax

  if jax.config.jax_compilation_cache_dir is not None:
    return
  base = os.environ.get("XDG_CACHE_HOME")
  try:
    folder = pathlib.Path(base) if base else pathlib.Path.home() / ".cache"
  except RuntimeError:
    return
  folder = folder / "jaxgs" / _processor()
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return
  jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
  # By default only what took a second is kept; starting takes many that do not.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _processor() -> str:
  """A name of this kind of processor.

  A home folder may be shared by machines, and programs for a CPU use what it
  has.
  """
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    facts = next(x for x in lines if x.startswith(("flags", "Features")))
  except (OSError, StopIteration):
    facts = platform.processor()
  facts = f"{platform.machine()} {facts}"
  return hashlib.sha256(facts.encode()).hexdigest()[:16]
