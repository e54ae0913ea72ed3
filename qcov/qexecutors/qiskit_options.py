"""The `options` of a `QiskitExecutor`: today's names, and those of Qiskit Runtime before 2024.

Covalent's options were `qiskit_ibm_runtime.Options`, which no longer exist: optimisation has become
the business of the pass manager, error mitigation that of `EstimatorV2`. What stands elsewhere
today is moved there; what is gone warns. Nothing here needs Qiskit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from qcov.errors import InvalidSetting, suggest

_Tree: TypeAlias = dict[str, Any]

#: Names that both primitives know, with those below them; None where the primitive checks them.
_BOTH: Mapping[str, frozenset[str] | None] = {
    "max_execution_time": None,
    "dynamical_decoupling": frozenset(
        {
            "enable",
            "sequence_type",
            "extra_slack_distribution",
            "scheduling_method",
            "skip_reset_qubits",
        }
    ),
    "execution": frozenset({"init_qubits", "rep_delay", "meas_type"}),
    "twirling": frozenset(
        {
            "enable_gates",
            "enable_measure",
            "num_randomizations",
            "shots_per_randomization",
            "strategy",
        }
    ),
    "environment": frozenset({"log_level", "job_tags", "private"}),
    "simulator": frozenset({"noise_model", "seed_simulator", "coupling_map", "basis_gates"}),
    "experimental": None,
}
_ESTIMATORS: Mapping[str, frozenset[str] | None] = {
    "resilience": frozenset(
        {
            "measure_mitigation",
            "measure_noise_learning",
            "zne_mitigation",
            "zne",
            "pec_mitigation",
            "pec",
            "layer_noise_learning",
            "layer_noise_model",
        }
    ),
    "seed_estimator": None,
}
#: Of a pass manager.
_PASSES = frozenset(
    {"initial_layout", "layout_method", "routing_method", "approximation_degree", "seed_transpiler"}
)
#: What is gone, and what to do instead.
_GONE: Mapping[str, str] = {
    "default_shots": "Use the executor's shots.",
    "default_precision": "Use the executor's shots: the precision is one over their root.",
    "execution.shots": "Use the executor's shots.",
    "transpilation.skip_transpilation": (
        "IBM takes only circuits that fit the backend, so they are always transpiled here."
    ),
    "environment.callback": "Results are awaited by qcov; ct.as_completed tells of each.",
    "resilience.noise_amplifier": "Use resilience={'zne': {'amplifier': 'gate_folding'}}.",
}
#: Where what has moved stands today.
_MOVED: Mapping[str, tuple[str, ...]] = {
    "resilience.noise_factors": ("resilience", "zne", "noise_factors"),
    "resilience.extrapolator": ("resilience", "zne", "extrapolator"),
}
_LEVELS = {"optimization_level": 3, "resilience_level": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimitiveOptions:
    """The options, each where it belongs today.

    Args:
        optimization_level: Of the pass manager; None if it is not said.
        resilience_level: Of the estimator; 0 leaves all circuits to the sampler.
        passes: Keywords of the pass manager.
        sampler: Options of `SamplerV2`.
        estimator: Options of `EstimatorV2`.
        advice: What to tell the user of options that have no effect any more.
    """

    optimization_level: int | None = None
    resilience_level: int = 0
    passes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sampler: Mapping[str, Any] = field(default_factory=dict[str, Any])
    estimator: Mapping[str, Any] = field(default_factory=dict[str, Any])
    advice: tuple[str, ...] = ()


def read_options(options: Mapping[str, Any], executor: str) -> PrimitiveOptions:
    """Sort options to where they belong.

    Raises:
        InvalidSetting: An option is unknown, or a level cannot be.

    Example:
        >>> read = read_options({"optimization_level": 2, "resilience_level": 1}, "QiskitExecutor")
        >>> read.optimization_level, read.resilience_level
        (2, 1)
    """
    return _Reader(executor).read(options)


class _Reader:
    def __init__(self, executor: str) -> None:
        self._executor = executor
        self._levels: dict[str, int] = {}
        self._passes: _Tree = {}
        self._sampler: _Tree = {}
        self._estimator: _Tree = {}
        self._advice: list[str] = []

    def read(self, options: Mapping[str, Any]) -> PrimitiveOptions:
        for name, value in options.items():
            if value is not None:
                self._take(name, value)
        return PrimitiveOptions(
            optimization_level=self._levels.get("optimization_level"),
            resilience_level=self._levels.get("resilience_level", 0),
            passes=self._passes,
            sampler=self._sampler,
            estimator=self._estimator,
            advice=tuple(self._advice),
        )

    def _take(self, name: str, value: Any) -> None:
        if name in _LEVELS:
            self._levels[name] = self._level(name, value)
        elif name in _GONE:
            self._tell(name)
        elif name == "transpilation":
            self._take_passes(value)
        elif name in _BOTH:
            self._take_into((self._sampler, self._estimator), name, value, _BOTH[name])
        elif name in _ESTIMATORS:
            self._take_into((self._estimator,), name, value, _ESTIMATORS[name])
        else:
            known = {*_LEVELS, *_BOTH, *_ESTIMATORS, "transpilation"}
            raise self._invalid(f"option {name!r}", f"does not exist. {suggest(name, known)}")

    def _take_passes(self, value: Any) -> None:
        for name, one in self._section("transpilation", value).items():
            if f"transpilation.{name}" in _GONE:
                self._tell(f"transpilation.{name}")
            elif name in _PASSES:
                self._passes[name] = one
            else:
                raise self._unknown("transpilation", name, _PASSES)

    def _take_into(
        self, targets: tuple[_Tree, ...], name: str, value: Any, known: frozenset[str] | None
    ) -> None:
        if known is None:
            for target in targets:
                target[name] = value
            return
        for inner, one in self._section(name, value).items():
            path = f"{name}.{inner}"
            if path in _GONE:
                self._tell(path)
            elif path in _MOVED or inner in known:
                for target in targets:
                    _put(target, _MOVED.get(path, (name, inner)), one)
            else:
                raise self._unknown(name, inner, known)
        self._drop_what_is_not_an_estimators()

    def _drop_what_is_not_an_estimators(self) -> None:
        self._estimator.get("execution", {}).pop("meas_type", None)

    def _section(self, name: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self._invalid(f"option {name!r}", f"must be a dictionary, not {value!r}")
        return cast("Mapping[str, Any]", value)

    def _level(self, name: str, value: Any) -> int:
        if type(value) is not int or not 0 <= value <= _LEVELS[name]:
            reason = f"must be a whole number from 0 to {_LEVELS[name]}, not {value!r}"
            raise self._invalid(f"option {name!r}", reason)
        return value

    def _tell(self, path: str) -> None:
        self._advice.append(
            f"{self._executor}: the option {path!r} no longer exists and has no effect. "
            f"{_GONE[path]}"
        )

    def _unknown(self, section: str, name: str, known: frozenset[str]) -> InvalidSetting:
        return self._invalid(
            f"option '{section}.{name}'", f"does not exist. {suggest(name, known)}"
        )

    def _invalid(self, setting: str, reason: str) -> InvalidSetting:
        return InvalidSetting(executor=self._executor, setting=setting, reason=reason)


def _put(tree: _Tree, path: tuple[str, ...], value: Any) -> None:
    *above, last = path
    for name in above:
        tree = tree.setdefault(name, {})
    tree[last] = value
