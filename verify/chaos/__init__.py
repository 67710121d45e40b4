"""Real processes under fault: the service as a user starts it, clients, and a nemesis."""
