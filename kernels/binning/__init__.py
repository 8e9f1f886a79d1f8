"""Which splat touches which tile."""
