"""Measures contextd against the targets of its issues, beside floors of the same run.

Nothing in here is imported by the product, and nothing in here imports the product:
contextd is started as a user would start it and spoken to over HTTP.
"""
