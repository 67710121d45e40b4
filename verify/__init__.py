"""Proof under fire: what `contextd verify` runs, and what judges the runs."""
