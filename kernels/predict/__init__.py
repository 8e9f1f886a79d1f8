"""Prediction from neighbours in C++; jaxgs.codec has the definitions."""
