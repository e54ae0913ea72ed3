"""Executors as they are written: the settings in a text, and what others may read of it.

Somebody may write a secret where a reference to it would do. The text stands in tables, files and
errors, so whatever is a credential there, or not known to be none, is shown as credentials are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from qcov.credentials import Credential
from qcov.qexecutors.base import BaseQExecutor

_LEAST = 4  #: characters of a secret; fewer are part of other words


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, as it is written; without a name if it is the first."""

    name: str | None
    text: str

    @property
    def value(self) -> Any:
        """What it means: JSON, or else plain text."""
        try:
            return self.text if self.name is None else json.loads(self.text)
        except ValueError:
            return self.text


def settings_in(text: str) -> list[Setting]:
    """The settings in what follows the name of a class.

    >>> [(one.name, one.value) for one in settings_in("lightning.qubit,workers=2")]
    [(None, 'lightning.qubit'), ('workers', 2)]
    """
    found: list[Setting] = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        named = Setting(name=name.strip(), text=value)
        found.append(named if equals else Setting(name=None, text=part.strip()))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An executor as it is written, and what it is of.

    Args:
        text: All of it.
        kind: The class, if it names one.
        executor: What was made of it, if that could be done.
        section: Settings that are not in the text.
    """

    text: str
    kind: type[BaseQExecutor] | None = None
    executor: BaseQExecutor | None = None
    section: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def label(self) -> str:
        """What others may read.

        >>> from qcov.executor import FakeQPU
        >>> Written(text="FakeQPU:token=abc,url=http://x", kind=FakeQPU).label
        "FakeQPU:token=Credential('***'),url=http://x"
        """
        name, colon, rest = self.text.partition(":")
        if not colon or self.text.startswith("["):
            return self.text
        shown = (self._shown(one, place) for place, one in enumerate(settings_in(rest)))
        return f"{name}:{','.join(shown)}"

    def without_secrets(self, reason: str) -> str:
        """What somebody says of it, with nothing in it that the label does not show."""
        _, _, rest = self.text.partition(":")
        written = [one for at, one in enumerate(settings_in(rest)) if not self._is_open(one, at)]
        hidden = [text for one in written for text in (one.text, str(one.value))]
        hidden += [str(value) for name, value in self.section.items() if name not in self._open]
        for secret in hidden:
            if len(secret) >= _LEAST:
                reason = reason.replace(secret, "***")
        return reason

    def _shown(self, setting: Setting, place: int) -> str:
        if self._is_open(setting, place):
            value = setting.text
        elif self.kind is not None and setting.name in self.kind.model_fields:
            value = repr(Credential(str(setting.value)))  # a reference is no secret
        else:
            value = "***"
        return value if setting.name is None else f"{setting.name}={value}"

    def _is_open(self, setting: Setting, place: int) -> bool:
        """Whether anybody may read a setting."""
        if setting.name is not None:
            return setting.name in self._open
        if self.kind is None or self.executor is None:
            return place == 0  # an object in a module, or what is refused
        return setting.text in map(str, self._open.values())

    @property
    def _open(self) -> Mapping[str, Any]:
        """The settings of the executor that are no credentials; no values if there is none."""
        if self.kind is None:
            return {}
        found = {
            name: getattr(self.executor, name, None)
            for name, known in self.kind.model_fields.items()
            if not _has_credential(known.annotation)
        }
        inner = [cast("Mapping[str, Any]", one) for one in found.values() if isinstance(one, dict)]
        return {name: value for one in inner for name, value in one.items()} | found


def _has_credential(annotation: Any) -> bool:
    return annotation is Credential or any(map(_has_credential, get_args(annotation)))
