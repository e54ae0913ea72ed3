"""Where circuits run."""
