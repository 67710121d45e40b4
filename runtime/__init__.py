"""The composition root: command line, settings, processes, embedded store."""
