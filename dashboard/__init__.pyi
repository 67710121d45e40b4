from .config import DashboardConfig
from .exposition import METRICS_TYPE, exposition
from .hub import Hub
from .pages import PAGES, PageAddress
from .sockets import Dashboards, TooManyDashboards
from .statistics import Surveyor
from .views import Stats, View, WebSocketConfig

__all__ = [
    "METRICS_TYPE",
    "PAGES",
    "DashboardConfig",
    "Dashboards",
    "Hub",
    "PageAddress",
    "Stats",
    "Surveyor",
    "TooManyDashboards",
    "View",
    "WebSocketConfig",
    "exposition",
]
