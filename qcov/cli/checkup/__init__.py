"""What `qcov doctor` looks at, a module for each place."""
