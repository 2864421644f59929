"""`make setup`: what a lock pins is installed by uv, or by pip where uv cannot be had."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import ROOT

METADATA = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: here\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with blanks and an ñ: the script, an empty environment, and the lock of one package, whose wheel is there."""
    folder = tmp_path / "mi añ o"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "install", folder / ".ci")
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        for name, text in (("METADATA", METADATA), ("WHEEL", WHEEL), ("RECORD", "")):
            wheel.writestr(f"tiny-1.0.dist-info/{name}", text)
    (folder / "tiny.lock").write_text("./tiny-1.0-py3-none-any.whl\n")
    return folder


def install(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / ".ci" / "install"), "tiny.lock"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))}
    return subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=False)


def has_tiny(checkout: Path) -> bool:
    done = subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-c", "import tiny"], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.slow
def test_uv_installs_what_the_lock_pins(checkout: Path) -> None:
    done = install(checkout)
    assert done.returncode == 0, done.stderr
    assert "uv did not install" not in done.stderr
    assert has_tiny(checkout)
    (info,) = (checkout / ".venv").glob("lib/python3*/site-packages/tiny-1.0.dist-info")
    assert (info / "INSTALLER").read_text().strip() == "uv"
    assert "[tool.uv] in pyproject.toml" in done.stdout


@pytest.mark.slow
def test_pip_installs_it_where_uv_cannot_be_had(checkout: Path) -> None:
    """No package index answers, nor is there a cache; the wheel of the lock lies on the disk."""
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": "",
               "PIP_CONFIG_FILE": os.devnull}  # fmt: skip
    done = install(checkout, **nowhere)
    assert done.returncode == 0, done.stderr
    assert "uv did not install tiny.lock" in done.stderr
    assert has_tiny(checkout)


def test_what_pip_check_misses_is_what_is_left_out_on_purpose() -> None:
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False).stdout
    missing = set(re.findall(r"requires ([\w-]+), which is not installed", said))
    assert missing <= {"opencv-python", "imageio-ffmpeg"}
    assert all(name in (ROOT / ".ci" / "install").read_text() for name in missing)
