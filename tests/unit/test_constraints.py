"""The versions that are written down are those that the project asks for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_FILES = sorted((_ROOT / "constraints").glob("*-3.*.txt"))


def required(extra: str, python: str) -> Iterator[Requirement]:
    """What the project with one extra asks for, the extras in that extra included."""
    for text in [*_PROJECT["dependencies"], *_PROJECT["optional-dependencies"][extra]]:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"python_version": python}):
            continue
        if requirement.name == _PROJECT["name"]:
            for inner in requirement.extras:
                yield from required(inner, python)
        else:
            yield requirement


def pinned(path: Path) -> dict[str, Version]:
    """The versions in one file."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    return {str(canonicalize_name(name)): Version(version) for name, version in pins.items()}


def wrong(extra: str, python: str, pins: dict[str, Version]) -> set[str]:
    """What is asked for and not pinned, or pinned at a version that will not do."""
    return {
        str(requirement)
        for requirement in required(extra, python)
        if (version := pins.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(version, prereleases=True)
    }


def test_there_is_a_file_for_every_extra_and_python() -> None:
    pythons = [
        found[1]
        for text in _PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text))
    ]

    expected = sorted(f"{extra}-{python}.txt" for extra in ("all", "dev") for python in pythons)
    assert [path.name for path in _FILES] == expected


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_every_requirement_is_pinned_at_a_version_that_will_do(path: Path) -> None:
    extra, _, python = path.stem.partition("-")

    assert wrong(extra, python, pinned(path)) == set()


def test_what_is_missing_or_too_old_is_found() -> None:
    pins = pinned(_FILES[0])
    del pins["qiskit"]
    pins["boto3"] = Version("1.0")

    assert wrong("all", "3.11", pins) == {"qiskit>=2.0", "boto3>=1.35"}


def test_all_takes_every_other_extra_but_dev() -> None:
    (everything,) = map(Requirement, _PROJECT["optional-dependencies"]["all"])

    assert everything.extras == _PROJECT["optional-dependencies"].keys() - {"all", "dev"}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_braket_holds_cloudpickle_and_dask_back(python: str) -> None:
    """Two Pythons are tested with Braket and what it holds back, one with what is newest."""
    every, dev = (pinned(_ROOT / f"constraints/{extra}-{python}.txt") for extra in ("all", "dev"))

    assert every["cloudpickle"] == Version("2.2.1")
    for name in ("dask", "distributed"):
        assert every[name].release[:2] == (2024, 8)
        assert (dev[name] == every[name]) == (python != "3.13")
    assert (dev["cloudpickle"] == every["cloudpickle"]) == (python != "3.13")
    assert ("amazon-braket-sdk" in dev) == (python != "3.13")
