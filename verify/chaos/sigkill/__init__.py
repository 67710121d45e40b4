"""Crash points by real SIGKILL: forked processes that kill themselves at the n-th."""
