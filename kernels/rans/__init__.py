"""The entropy coder in C++; `jaxgs.codec.rans` is the definition."""
