"""How far a picture is from its target, with the gradient."""
