"""What ty makes of the public names. It reads annotations in its own way, where PEPs leave one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TY = Path(sys.executable).with_name("ty")


@pytest.mark.skipif(not TY.exists(), reason="needs: pip install ty")
def test_ty_accepts_the_usage() -> None:
    command = [TY, "check", "--python", sys.executable, "--extra-search-path", ROOT]
    usage = Path(__file__).with_name("usage.py")
    done = subprocess.run([*command, usage], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
