"""`BraketQubitExecutor` runs circuits on the devices of Amazon Braket."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from qcov.errors import InvalidSetting, suggest
from qcov.qexecutors.base import whole
from qcov.qexecutors.braket_aws import AwsConnection
from qcov.qexecutors.braket_provider import BraketProvider, TaskOptions
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.provider import Provider
from qcov.qexecutors.remote import RemoteQExecutor

_ARN = re.compile(r"arn:aws[\w-]*:braket:[\w-]*:\w*:device/.+")
#: Names of Braket's plugin and of Covalent for settings that all remote executors have.
_OTHER_NAMES = {
    "poll_timeout_seconds": "time_limit",
    "poll_interval_seconds": "poll_interval",
    "max_retries": "retries",
}
_RUN_KWARGS = ("device_parameters", "experimental_capabilities", "reservation_arn", "tags")


class OwnSession:
    """A session that the user has made. It stays in its process: what is pickled has none."""

    def __init__(self, session: Any = None) -> None:
        self.session = session

    def __reduce__(self) -> tuple[type[OwnSession], tuple[()]]:
        return OwnSession, ()

    def __copy__(self) -> OwnSession:
        return self

    def __deepcopy__(self, _memo: object) -> OwnSession:
        return self


class BraketQubitExecutor(RemoteQExecutor):
    """Runs circuits on a quantum computer or simulator of Amazon Braket, as quantum tasks.

    Credentials are found as boto3 finds them, in the environment, in files, by roles; none is a
    setting here. A batch with shots is one task on devices that take program sets, and one task for
    each circuit, all at the same time, on the others.

    Args:
        device_arn: Which device.
        s3_destination_folder: Where results go: a bucket and a prefix, or "s3://bucket/prefix". By
            default where Braket's SDK puts them, `amazon-braket-REGION-ACCOUNT/tasks`.
        aws_session: The name of a profile in AWS's files; or an `AwsSession` of Braket's SDK or a
            `boto3.Session`, which stays in this process: of a pickled executor its profile travels.
        poll_timeout_seconds: After so many seconds tasks are cancelled, 5 days by default; another
            name of `time_limit`.
        poll_interval_seconds: Seconds between two looks at tasks, at most; another name of
            `poll_interval`.
        max_retries: How often a circuit is tried again after a transient error; another name of
            `retries`.
        max_parallel: How many tasks of the account may wait or run at the same time. By default 35
            on simulators, which is Braket's quota, and any number on quantum computers.
        parallel: For Covalent's sake; tasks of a batch are never waited for one after the other.
        max_connections: How many connections to AWS may be open.
        run_kwargs: What else tasks are made with: `tags`, `reservation_arn`, `device_parameters`,
            `experimental_capabilities`.

    Raises:
        InvalidSetting: A setting does not exist or has a wrong value, or boto3 is not installed.

    Example:
        >>> BraketQubitExecutor("arn:aws:braket:::device/quantum-simulator/amazon/sv1", shots=1000)
        BraketQubitExecutor(shots=1000, ..., device_arn='arn:aws:braket:::device/...sv1', ...)
    """

    device_arn: str
    s3_destination_folder: tuple[str, str] | None = None
    aws_session: str | None = None
    parallel: bool = False
    max_parallel: int | None = None
    max_connections: int = 100
    run_kwargs: dict[str, Any] = Field(default_factory=dict[str, Any])
    max_jobs: int = 20
    poll_interval: float = 1.0
    time_limit: float | None = 432_000.0

    _own: OwnSession = PrivateAttr(default_factory=OwnSession)

    def __init__(self, device_arn: str | None = None, **settings: Any) -> None:
        if device_arn is not None:
            settings["device_arn"] = device_arn
        for other, name in _OTHER_NAMES.items():
            if other in settings:
                if name in settings:
                    raise self._wrong(other, f"is another name of {name}: give one of them")
                settings[name] = settings.pop(other)
        session = settings.get("aws_session")
        if session is not None and not isinstance(session, str):
            settings["aws_session"] = _profile_of(session)
        else:
            session = None
        super().__init__(**settings)
        self._own = OwnSession(session)

    @classmethod
    def as_fields(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as fields: those of `qcov.conf` may have their other names as well."""
        fields = super().as_fields(settings)
        for other, name in _OTHER_NAMES.items():
            if other in fields:
                fields.setdefault(name, fields.pop(other))
        return fields

    @field_validator("device_arn", mode="before")
    @classmethod
    def _names_a_device(cls, arn: object) -> str:
        if not isinstance(arn, str) or not _ARN.fullmatch(arn):
            example = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
            reason = f"must be the ARN of a device, such as {example!r}, not {arn!r}"
            raise cls._wrong("device_arn", reason)
        return arn

    @field_validator("s3_destination_folder", mode="before")
    @classmethod
    def _is_a_folder(cls, folder: object) -> tuple[str, str] | None:
        if not folder:
            return None
        parts: Sequence[object] = (
            folder.removeprefix("s3://").split("/", 1)
            if isinstance(folder, str)
            else cast("Sequence[object]", folder)
            if isinstance(folder, tuple | list)
            else ()
        )
        if len(parts) != 2 or not all(isinstance(one, str) and one.strip("/") for one in parts):
            how = "('bucket', 'prefix') or 's3://bucket/prefix'"
            raise cls._wrong("s3_destination_folder", f"must be {how}, not {folder!r}")
        bucket, prefix = cast("Sequence[str]", parts)
        return bucket.strip("/"), prefix.strip("/")

    @field_validator("max_parallel", "max_connections", mode="before")
    @classmethod
    def _counts_tasks(cls, value: object, info: ValidationInfo) -> int | None:
        name = str(info.field_name)
        if value is None and name == "max_parallel":
            return None
        return whole(value, 1, cls.__name__, name, "a whole number above 0")

    @field_validator("run_kwargs", mode="before")
    @classmethod
    def _are_options(cls, options: object) -> dict[str, Any]:
        if not isinstance(options, Mapping):
            raise cls._wrong("run_kwargs", f"must be a dictionary, not {options!r}")
        for name in cast("Mapping[str, Any]", options):
            if name not in _RUN_KWARGS:
                advice = suggest(str(name), _RUN_KWARGS)
                raise cls._wrong(f"run_kwargs[{name!r}]", f"is not an option of tasks. {advice}")
        return dict(cast("Mapping[str, Any]", options))

    @classmethod
    def _wrong(cls, setting: str, reason: str) -> InvalidSetting:
        return InvalidSetting(executor=cls.__name__, setting=setting, reason=reason)

    @property
    def poll_timeout_seconds(self) -> float | None:
        """The time limit, by its other name."""
        return self.time_limit

    @property
    def poll_interval_seconds(self) -> float:
        """The pause between two looks, by its other name."""
        return self.poll_interval

    @property
    def max_retries(self) -> int:
        """How often a circuit is tried again, by its other name."""
        return self.retries

    @property
    def capabilities(self) -> Capabilities:
        """What the device says of itself; asked over the network the first time."""
        facts = cast("BraketProvider", self.provider).facts
        return Capabilities(
            wires=facts.qubits, shots=facts.most_shots, analytic=facts.least_shots == 0
        )

    def _connect(self) -> Provider:
        aws = AwsConnection(
            device=self.device_arn,
            executor=self.name,
            session=self._own.session,
            profile=self.aws_session,
            max_connections=self.max_connections,
        )
        options = TaskOptions(
            folder=self.s3_destination_folder,
            max_parallel=self.max_parallel,
            arguments=_arguments(self.run_kwargs),
            tags=self.run_kwargs.get("tags", {}),
        )
        return BraketProvider(aws, device=self.device_arn, executor=self.name, options=options)


def _profile_of(session: Any) -> str | None:
    """The profile of a session, by which one like it is made elsewhere."""
    profile = getattr(getattr(session, "boto_session", session), "profile_name", None)
    return None if profile == "default" else profile


def _arguments(run_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What `CreateQuantumTask` is called with besides."""
    arguments: dict[str, Any] = {}
    if "device_parameters" in run_kwargs:
        arguments["deviceParameters"] = json.dumps(run_kwargs["device_parameters"], sort_keys=True)
    if "reservation_arn" in run_kwargs:
        reservation = {"arn": run_kwargs["reservation_arn"], "type": "RESERVATION_TIME_WINDOW_ARN"}
        arguments["associations"] = [reservation]
    if "experimental_capabilities" in run_kwargs:
        arguments["experimentalCapabilities"] = {"enabled": run_kwargs["experimental_capabilities"]}
    return arguments
