"""Running: a pure schedule, a thin runner, and the processes around them."""
