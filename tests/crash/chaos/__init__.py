"""Kill qcov's processes at chosen and at random instants, and see what is left."""
