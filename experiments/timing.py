"""Times of programs, and what machine they were measured on."""

import platform
import statistics
import time
from collections.abc import Callable

import jax

from jaxgs import native


def machine() -> dict:
  """The device and the versions that a figure belongs to."""
  return {
    "device": jax.devices()[0].device_kind,
    "processor": _processor(),
    "threads": native.num_threads(),
    "instruction_set": native.instruction_set(),
    "jax": jax.__version__,
    "python": platform.python_version(),
  }


def _processor() -> str:
  try:
    with open("/proc/cpuinfo") as file:
      names = [line for line in file if line.startswith("model name")]
  except OSError:
    names = []
  return names[0].split(":")[1].strip() if names else platform.processor()


def compile_all(programs: dict[str, Callable]) -> dict[str, float]:
  """Calls each once: seconds, the compilation with the first run."""
  seconds = {}
  for name, program in programs.items():
    began = time.perf_counter()
    jax.block_until_ready(program())
    seconds[name] = time.perf_counter() - began
  return seconds


def time_in_turn(
  programs: dict[str, Callable], *, rounds: int, repeats: dict[str, int]
) -> dict[str, dict[str, float]]:
  """Times programs that have been compiled.

  Every round calls all of them, so that a slow moment of the machine meets all.
  Calls queue up on an accelerator, or the host's part of them would be timed;
  on a CPU they would overlap, so there each is waited for.

  Args:
    programs: Name to a function without arguments that returns arrays.
    rounds: How many times each is measured.
    repeats: Name to the number of calls per measurement.

  Returns:
    Name to the median of the rounds and to the fastest and the slowest, ms per
    call.
  """
  times = {name: [] for name in programs}
  queues = jax.default_backend() != "cpu"
  for _ in range(rounds):
    for name, program in programs.items():
      began = time.perf_counter()
      for i in range(repeats[name]):
        result = program()
        if not queues or i == repeats[name] - 1:
          jax.block_until_ready(result)
      elapsed = time.perf_counter() - began
      times[name].append(1e3 * elapsed / repeats[name])
  return {
    name: {
      "ms": statistics.median(of),
      "ms_least": min(of),
      "ms_most": max(of),
    }
    for name, of in times.items()
  }
