"""Importing this makes the reference network importable: promptir.py and make_golden.py in the folder that the
environment's MIRL_REFERENCE names, else in ../shared/reference beside the repository."""
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ.get("MIRL_REFERENCE") or
                str(Path(__file__).resolve().parents[2] / "shared" / "reference"))
