"""The classical half: electrons, lattices, and the engine that runs them."""
