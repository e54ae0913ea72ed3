"""What is installed along an import path, and what of it requirements live on."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from qcov.classical.installed import described_in, normalised

_NAME = re.compile(r"[\w.-]+")

#: Where packages are described, by their names.
Installed = Mapping[str, str]


def installed(paths: Iterable[str]) -> Installed:
    """The packages in some folders, as they are now; the first folder that has one wins."""
    return ChainMap(*(dict(found) for path in paths if (found := described_in(path))))


def lived_on(packages: Sequence[str], added: Installed, own: Installed) -> dict[str, str]:
    """What requirements find in a user's own environment, and would miss there.

    What is needed under some condition only is taken to be needed.

    Args:
        packages: The requirements.
        added: What was installed because of them.
        own: What the user's own environment had before.
    """
    places = ChainMap(dict(added), dict(own))
    open_, seen = [*added, *_named(packages, own)], set[str]()
    while open_:
        name = open_.pop()
        if name in seen or name not in places:
            continue
        seen.add(name)
        needs = Distribution.at(Path(places[name])).requires or ()
        open_ += [normalised(found[0]) for each in needs if (found := _NAME.match(each))]
    return {name: own[name] for name in sorted(seen) if name not in added}


def _named(packages: Sequence[str], own: Installed) -> Iterable[str]:
    """The packages that requirements name; all of them, if only pip knows which one is meant."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in packages:
        try:
            yield normalised(Requirement(text).name)
        except InvalidRequirement:  # an option, a path or a URL
            if not text.startswith("-") or text.startswith(("-r", "--requirement")):
                yield from own
