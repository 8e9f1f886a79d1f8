"""A step of Adam over all fields, back within their bounds."""
