"""A provider of a quantum computer that is not one: for tests, over real HTTP on this machine."""
