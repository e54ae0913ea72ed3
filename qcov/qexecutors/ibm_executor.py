"""What executors have in common that may run circuits at IBM Quantum: whose account it is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from qcov.context import get_context
from qcov.credentials import Credential
from qcov.errors import InvalidSetting, suggest
from qcov.job_entries import State
from qcov.journal import Journal
from qcov.policy import ErrorKind
from qcov.qexecutors.base import CircuitBatch
from qcov.qexecutors.callers import frames_of_ours
from qcov.qexecutors.ibm_errors import kind_of
from qcov.qexecutors.remote import RemoteQExecutor

if TYPE_CHECKING:
    from qcov.qexecutors.ibm_account import Account

_CHANNELS = ("ibm_quantum_platform", "ibm_cloud", "local")
_OLD_CHANNEL = "ibm_quantum"
_OLD_INSTANCE = re.compile(r"[^/:]+/[^/:]+/[^/:]+")
_OLD = ("hub", "group", "project")
LEAST_BUSY = frozenset({None, "", "least_busy"})


class IBMExecutor(RemoteQExecutor):
    """Knows whose account circuits run on.

    Args:
        ibmqx_token: The API key; see `qcov.Credential`. None: the account that Qiskit has saved.
        channel: "ibm_quantum_platform", "ibm_cloud", or "local" for this machine.
        instance: A CRN or a name; None for any instance of the free plan.
        cloud_instance: Another name of `instance`.
        ibmqx_url: Of another IBM Quantum.
        hub: Of the IBM Quantum that was switched off in 2025; so are `group` and `project`.
    """

    ibmqx_token: Credential | None = None
    channel: str = "ibm_quantum_platform"
    instance: str | None = None
    cloud_instance: str | None = None
    ibmqx_url: str | None = None
    hub: str | None = None
    group: str | None = None
    project: str | None = None

    @field_validator("channel", mode="before")
    @classmethod
    def _is_a_channel(cls, channel: object) -> object:
        if channel == _OLD_CHANNEL:
            warnings.warn(
                f"{cls.__name__}: the channel 'ibm_quantum' was switched off in 2025; "
                "'ibm_quantum_platform' takes its place. Say which instance is to be used, by its "
                "CRN or its name, as in instance='crn:v1:...'.",
                stacklevel=frames_of_ours(),
            )
            return _CHANNELS[0]
        if channel not in _CHANNELS:
            reason = f"is no channel. {suggest(str(channel), _CHANNELS)}"
            raise InvalidSetting(
                executor=cls.__name__, setting=f"channel={channel!r}", reason=reason
            )
        return channel

    @field_validator("instance", "cloud_instance", mode="before")
    @classmethod
    def _is_an_instance(cls, instance: object) -> object:
        if isinstance(instance, str) and _OLD_INSTANCE.fullmatch(instance):
            _advise(cls.__name__, f"instance={instance!r}")
            return None
        return instance or None

    @field_validator(*_OLD, mode="before")
    @classmethod
    def _is_gone(cls, value: object) -> object:
        if value:
            _advise(cls.__name__, "hub, group and project")
        return value

    def classify(self, error: BaseException) -> ErrorKind:
        """What an error says about another try, by IBM's codes."""
        return kind_of(error)

    def _account(self) -> Account:
        from qcov.qexecutors.ibm_account import Account

        return Account(
            token=self.ibmqx_token,
            channel=self.channel,
            instance=self.instance or self.cloud_instance,
            url=self.ibmqx_url,
            executor=self.name,
        )


def _advise(executor: str, setting: str) -> None:
    warnings.warn(
        f"{executor}: {setting} named an instance of the IBM Quantum that was switched off in "
        "2025, and has no effect. Give the CRN or the name of an instance of today's instead, as "
        "in instance='crn:v1:...'.",
        stacklevel=frames_of_ours(),
    )


def earlier_backend(account: str) -> str | None:
    """The backend that has jobs of the electron that runs here, which are to be found again."""
    context = get_context()
    if context is None:
        return None
    for entry in Journal().jobs(dispatch_id=context.dispatch_id):
        of_use = entry.state.open or entry.state is State.COMPLETED
        if of_use and entry.node_id == context.node_id and entry.account.endswith(account):
            return entry.device
    return None


def in_parts(batch: CircuitBatch, belongs: Sequence[bool]) -> list[tuple[list[int], CircuitBatch]]:
    """A batch cut in two, with the numbers of circuits; one part if all are alike."""
    numbers: Mapping[bool, list[int]] = {True: [], False: []}
    for number, one in enumerate(belongs):
        numbers[one].append(number)
    return [(part, batch.only(part)) for part in numbers.values() if part]


def in_order(parts: Sequence[tuple[Sequence[int], Sequence[Any]]], count: int) -> list[Any]:
    """Results of parts, in the order of the batch."""
    results: list[Any] = [None] * count
    for numbers, values in parts:
        for number, value in zip(numbers, values, strict=True):
            results[number] = value
    return results
