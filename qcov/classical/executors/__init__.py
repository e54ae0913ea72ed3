"""Where electrons run."""
