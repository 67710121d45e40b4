"""What operators look at and mend: contexts, workers, dead letters."""
