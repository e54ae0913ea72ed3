"""Write down which versions `make` installs: `python constraints/lock.py dev` (see `make lock`).

Run by each interpreter that qcov supports, it asks pip to resolve an extra of this project without
installing anything, and writes `constraints/<extra>-<major>.<minor>.txt`: names and versions only,
so that the file works with any package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
HEADER = "# Made by `make lock` for Python {version}, extra `{extra}`. Do not edit by hand.\n"


def resolve(extra: str) -> list[str]:
    """The pinned requirements of this project with one extra, for the running interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), f"{HERE.parent}[{extra}]"]
        subprocess.run(command, check=True)
        installed = json.loads(report.read_text())["install"]
    packages = (item["metadata"] for item in installed)
    pins = {p["name"].lower().replace("_", "-"): p["version"] for p in packages}
    return [f"{name}=={version}" for name, version in sorted(pins.items()) if name != "qcov"]


def main() -> None:
    """Resolve each extra named on the command line and write its file."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for extra in sys.argv[1:]:
        target = HERE / f"{extra}-{version}.txt"
        lines = [
            HEADER.format(version=version, extra=extra),
            *(f"{pin}\n" for pin in resolve(extra)),
        ]
        target.write_text("".join(lines))
        print(f"{target.relative_to(HERE.parent)}: {len(lines) - 1} packages")


if __name__ == "__main__":
    main()
