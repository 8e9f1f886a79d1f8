"""Drawing splats: the same op in several files, `reference` defines it."""
