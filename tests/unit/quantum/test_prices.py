"""What providers charge: the tables that come with qcov, and the user's own."""

import datetime as dt
import os
from pathlib import Path

import pytest

from qcov.config import reload_config
from qcov.errors import ConfigError
from qcov.qexecutors.prices import Price, price_of

BRAKET = "Amazon Braket"
FORTE = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"
SV1 = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("QCOV_COSTS_PRICES", raising=False)
    reload_config()
    return tmp_path / "prices.toml"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("device", "tasks", "shots", "seconds", "usd"),
    [
        (FORTE, 1, 1000, 0, 80.30),
        (FORTE.replace("Forte-1", "Forte-Enterprise-1"), 1, 1, 0, 0.38),
        ("arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet", 2, 1000, 5, 2.05),
        ("arn:aws:braket:us-west-1::device/qpu/rigetti/Cepheus-1-108Q", 1, 1000, 0, 0.725),
        (SV1, 1, 1000, 120, 0.15),
        (SV1, 1, 0, 0.5, 0.075 / 20),  # three seconds at least
        (SV1.replace("sv1", "dm1"), 2, 0, 0.5, 0.0075),
    ],
)
def test_the_shipped_table_prices_tasks_shots_and_minutes(
    device: str, tasks: int, shots: int, seconds: float, usd: float
) -> None:
    price = price_of(BRAKET, device)
    assert price is not None
    assert price.usd(tasks=tasks, shots=shots, seconds=seconds) == pytest.approx(usd)
    assert price.date == dt.date(2026, 7, 23)
    assert "aws.amazon.com/braket/pricing" in price.origin
    assert not price.own


@pytest.mark.usefixtures("own")
def test_ibms_plans_cost_seconds() -> None:
    open_plan, paid = price_of("IBM Quantum", "open"), price_of("IBM Quantum", "pay-as-you-go")
    assert open_plan is not None
    assert paid is not None
    assert open_plan.usd(seconds=100, tasks=1) == 0
    assert paid.usd(seconds=100, tasks=1) == pytest.approx(160)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("provider", "device"),
    [
        (BRAKET, "arn:aws:braket:us-west-1::device/qpu/rigetti/Ankaa-3"),
        (BRAKET, SV1.replace("sv1", "tn1")),
        ("IBM Quantum", SV1),
        ("IBM Quantum", "premium"),
    ],
)
def test_what_no_table_has_is_not_known(provider: str, device: str) -> None:
    assert price_of(provider, device) is None


def test_the_users_entries_go_first_in_their_order(own: Path) -> None:
    own.write_text(
        f'[[price]]\nprovider = "{BRAKET}"\ndevice = "*/ionq/*"\nusd_per_shot = 0.5\n'
        "date = 2026-11-01\n"
        f'[[price]]\nprovider = "{BRAKET}"\ndevice = "{FORTE}"\nusd_per_task = 9\n'
    )
    price = price_of(BRAKET, FORTE)
    assert price == Price(
        provider=BRAKET,
        device="*/ionq/*",
        date=dt.date(2026, 11, 1),
        usd_per_shot=0.5,
        own=True,
    )
    assert price_of(BRAKET, SV1) is not None


def test_a_change_of_the_file_is_seen(own: Path) -> None:
    for amount in (1, 22):
        own.write_text(f'[[price]]\nprovider = "A"\ndevice = "b"\nusd_per_task = {amount}\n')
        price = price_of("A", "b")
        assert price is not None
        assert price.usd_per_task == amount
    own.unlink()
    assert price_of("A", "b") is None


def test_the_setting_names_another_file(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.toml"
    monkeypatch.setenv("QCOV_COSTS_PRICES", str(mine))
    with pytest.raises(ConfigError, match=r"'costs.prices' names .*mine.toml, which does not"):
        price_of("A", "b")
    mine.write_text('[[price]]\nprovider = "A"\ndevice = "b"\nusd_per_task = 3\n')
    assert price_of("A", "b") is not None


_HEAD = '[[price]]\nprovider = "A"\ndevice = "b"\nusd_per_task = 1\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[[price", None, "not valid TOML"),
        ("currency = 'EUR'\n", None, "and nothing else"),
        ("price = 3\n", None, "begin with"),
        (_HEAD + '[[price]]\nprovider = "A"\nusd_per_task = 1\n', 5, "'device' must be given"),
        (_HEAD + "usd_per_sot = 2\n", 5, "Did you mean 'usd_per_shot'"),
        (_HEAD + "usd_per_shot = -2\n", 5, "0 or more, not -2"),
        (_HEAD + "usd_per_shot = true\n", 5, "0 or more, not True"),
        (_HEAD + "usd_per_shot = inf\n", 5, "0 or more, not inf"),
        (_HEAD + "source = 3\n", 5, "text in quotes"),
        (_HEAD + 'date = "yesterday"\n', 5, "a day such as"),
        ('# mine\n[[price]]\nprovider = "A"\ndevice = "b"\n', 2, "says no amount"),
    ],
)
def test_a_wrong_file_is_reported_with_its_line(
    own: Path, text: str, line: int | None, said: str
) -> None:
    own.write_text(text)
    with pytest.raises(ConfigError, match=said) as failed:
        price_of("A", "b")
    assert failed.value.line == line
    assert failed.value.source == str(own)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_reported(own: Path) -> None:
    own.write_text(_HEAD)
    own.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        price_of("A", "b")
