"""Quantum backends beside each other, on the same circuits."""
