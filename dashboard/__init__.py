"""The dashboard: pages for people, live numbers for operators."""

from dashboard.pages import PAGES, PageAddress

__all__ = ["PAGES", "PageAddress"]
