"""The dashboard: live numbers for operators. Empty until its pages are built."""
