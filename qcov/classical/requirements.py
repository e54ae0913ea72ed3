"""Requirements as pip takes them: read from files, and checked where they must hold."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

from qcov.errors import DependencyFailed, WrongSetting


def check_packages(packages: Sequence[str]) -> None:
    """Check that packages are installed here. Raises `DependencyFailed` for one that is not.

    For executors that make the environment themselves.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for text in packages:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # an option, or a path: only pip knows what they mean
            continue
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        installed = _version(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            raise DependencyFailed(
                what=f"the package {text!r} is missing",
                reason=f"{sys.prefix} has {installed or 'none of it'}",
                advice="Install it there.",
            )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def depends_on_folder(package: str) -> bool:
    """True for what may mean something else in another working folder: a path, or an option."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        url = Requirement(package).url
    except InvalidRequirement:
        return True
    return url is not None and url.startswith("file:")


def lines_of(path: Path) -> list[str]:
    """The requirements in a file and in those that it includes; paths no longer depend on it."""
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WrongSetting(
            setting="reqs_path", got=f"{str(path)!r} ({reason})", expected="a requirements file"
        ) from error
    lines: list[str] = []
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.split(" #")[0].strip()
        option, _, rest = line.replace("=", " ", 1).partition(" ")
        if option in ("-r", "--requirement"):
            lines += lines_of(path.parent / rest.strip())
        elif option in ("-c", "--constraint"):
            lines.append(f"-c {(path.parent / rest.strip()).absolute()}")
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines
