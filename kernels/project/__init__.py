"""Where Gaussians are on the screen: splats, with the gradient."""
