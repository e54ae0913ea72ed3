"""How circuits travel from a qelectron to the executors that run them."""
