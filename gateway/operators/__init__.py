"""What whoever runs the service looks at and mends: contexts, workers, dead letters."""
