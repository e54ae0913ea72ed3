"""Sections of the settings give executors of circuits their defaults."""

from __future__ import annotations

import re
from typing import Any

import pytest

import qcov as ct
from qcov.errors import InvalidSetting, UnknownDevice
from qcov.executor import BaseQExecutor, DaskQExecutor, FakeQPU, Simulator


class Flavoured(BaseQExecutor):
    flavour: str = "plain"

    def run_batch(self, batch: Any) -> Any:
        raise NotImplementedError


def test_what_is_not_given_is_as_configured() -> None:
    ct.set_config("qelectron.Simulator.device", "lightning.qubit")
    ct.set_config("qelectron.Simulator.workers", 3)
    ct.set_config({"qelectron.Flavoured.flavour": "sweet", "qelectron.Flavoured.retries": 7})

    assert (Simulator().device, Simulator().workers) == ("lightning.qubit", 3)
    assert (Simulator("default.qubit").device, Simulator(workers=1).workers) == ("default.qubit", 1)
    assert (Flavoured().flavour, Flavoured().retries) == ("sweet", 7)
    assert Flavoured(flavour="bitter").flavour == "bitter"
    assert DaskQExecutor().device == "default.qubit"  # a class of its own


def test_conditions_of_a_fake_provider() -> None:
    ct.set_config("qelectron.FakeQPU.queue_time", 2.5)
    assert FakeQPU().conditions == {"queue_time": 2.5}
    assert FakeQPU(queue_time=1).conditions == {"queue_time": 1}


def test_copies_and_json_do_not_change_with_the_settings() -> None:
    before = Flavoured()
    ct.set_config("qelectron.Flavoured.flavour", "sweet")
    assert BaseQExecutor.from_data(before.model_dump(mode="json")).flavour == "plain"


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        (
            "Flavoured.flavor",
            "x",
            InvalidSetting,
            "'flavor' is not a setting. Did you mean 'flavour'?",
        ),
        ("Flavoured.retries", "many", InvalidSetting, "retries must be a whole number"),
        ("Simulator.device", "no.such", UnknownDevice, "no PennyLane device is called 'no.such'"),
    ],
)
def test_what_is_configured_wrongly_is_said(
    key: str, value: str, error: type[Exception], message: str
) -> None:
    ct.set_config(f"qelectron.{key}", value)
    with pytest.raises(error, match=re.escape(message)) as refused:
        (Flavoured if key.startswith("Flavoured") else Simulator)()
    assert any("[qelectron." in note for note in refused.value.__notes__)
