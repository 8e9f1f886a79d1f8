"""Binaries: `python -m experiments.<name> --config=configs/<name>.py`."""
