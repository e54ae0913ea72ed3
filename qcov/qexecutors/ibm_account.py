"""Accounts at IBM Quantum: who asks, for which instance, and on whose money.

Part of the adapter around IBM's SDK: only what starts with `ibm_` imports it.
"""

# pyright: basic

from __future__ import annotations

import http.client
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qiskit_ibm_runtime import QiskitRuntimeService

from qcov.credentials import Credential
from qcov.errors import ExecutorOffline, InvalidSetting, TransientFailure
from qcov.policy import ErrorKind
from qcov.qexecutors.ibm_errors import kind_of

#: https://cloud.ibm.com/docs/account?topic=account-crn
_CRN = re.compile(r"crn:v\d+:[^:]*:[^:]*:quantum-computing:[^:]*:[^:]*:[^:]+:")
#: The free plan: the only one that is used unasked.
FREE_PLAN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where to find an account.

    Args:
        token: The API key; None for the account that Qiskit has saved, or its variables name.
        channel: "ibm_quantum_platform" or "ibm_cloud".
        instance: A CRN or a name; None for any instance of the free plan.
        url: Of another IBM Quantum.
        executor: Who asks.
    """

    token: Credential | None = None
    channel: str = "ibm_quantum_platform"
    instance: str | None = None
    url: str | None = None
    executor: str = "the executor"

    def connect(self) -> QiskitRuntimeService:
        """The SDK's service.

        Raises:
            InvalidSetting: The account, or an instance, does not exist.
        """
        if self.instance and self.instance.startswith("crn:") and not _CRN.match(self.instance):
            reason = (
                f"is no CRN of IBM Quantum: {self.instance!r}; its page shows it, with all colons"
            )
            raise InvalidSetting(executor=self.executor, setting="instance", reason=reason)
        given = {"token": None if self.token is None else self.token.reveal(), "url": self.url}
        where = {"instance": self.instance} if self.instance else {"plans_preference": [FREE_PLAN]}
        try:
            with http_as_it_was():
                return QiskitRuntimeService(channel=self.channel, **given, **where)  # type: ignore[arg-type]
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        """An error of the SDK's with what to do, where that is known."""
        name, text, kind = type(error).__name__, str(error), kind_of(error)
        if kind is ErrorKind.OFFLINE or kind is ErrorKind.TRANSIENT:
            failure = ExecutorOffline if kind is ErrorKind.OFFLINE else TransientFailure
            where = self.url or "iam.cloud.ibm.com and quantum.cloud.ibm.com"
            reason = f"IBM Quantum cannot be asked at {where}: {error}"
            return failure(reason, executor=self.executor)
        if name == "AccountNotFoundError":
            reason = (
                "is needed: no account is saved. Give a reference such as "
                "'env:QISKIT_IBM_TOKEN', or save an account with QiskitRuntimeService.save_account"
            )
            return InvalidSetting(executor=self.executor, setting="ibmqx_token", reason=reason)
        if "valid API token" in text:
            reason = "is not a key of IBM Quantum, or no longer one"
            return InvalidSetting(executor=self.executor, setting="ibmqx_token", reason=reason)
        if name == "InvalidAccountError" or "does not have access to the instance" in text:
            reason = f"does not fit the account: {text}"
            return InvalidSetting(executor=self.executor, setting="instance", reason=reason)
        if not self.instance and "No matching instances" in text:
            reason = (
                "is needed: the account has no instance of the free plan, and none that costs "
                "money is chosen unasked. `QiskitRuntimeService.instances()` lists them"
            )
            return InvalidSetting(executor=self.executor, setting="instance", reason=reason)
        return error


@contextmanager
def http_as_it_was() -> Generator[None]:
    """Undo what IBM's SDK does to Python's own HTTP client.

    Where its logger is at DEBUG, it lets every connection of the program write down its headers,
    with a function that fails at some of them.
    """
    before = http.client.HTTPConnection.debuglevel
    try:
        yield
    finally:
        http.client.HTTPConnection.debuglevel = before
        if "print" in vars(http.client):
            del http.client.print  # type: ignore[attr-defined]


def plan_of(service: QiskitRuntimeService) -> Mapping[str, Any]:
    """The instance that is in use: its id, name, plan, and whether it costs money."""
    active = service.active_instance()
    for one in service.instances():
        if one["crn"] == active:
            shown = {"instance": one["name"], "plan": one["plan"], "pricing": one["pricing_type"]}
            return {"crn": active, **shown}
    return {"crn": active}


def id_of(crn: str) -> str:
    """The part of a CRN that names the instance.

    >>> id_of("crn:v1:bluemix:public:quantum-computing:us-east:a/abc:1111-2222::")
    '1111-2222'
    """
    parts = crn.split(":")
    return parts[7] if len(parts) > 7 else crn
