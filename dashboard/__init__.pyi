from .activity import Activity
from .activity_config import ActivityConfig
from .activity_files import BadActivityFolder, check_activity_folder
from .activity_views import ActivityRecord, ActivityRecords, ActivityView, EndpointList
from .config import DashboardConfig
from .exposition import METRICS_TYPE, exposition
from .hub import Hub
from .pages import PAGES, PageAddress
from .sockets import Dashboards, DashboardsEnd, TooManyDashboards
from .statistics import Surveyor
from .views import Stats, View, WebSocketConfig

__all__ = [
    "METRICS_TYPE",
    "PAGES",
    "Activity",
    "ActivityConfig",
    "ActivityRecord",
    "ActivityRecords",
    "ActivityView",
    "BadActivityFolder",
    "DashboardConfig",
    "Dashboards",
    "DashboardsEnd",
    "EndpointList",
    "Hub",
    "PageAddress",
    "Stats",
    "Surveyor",
    "TooManyDashboards",
    "View",
    "WebSocketConfig",
    "check_activity_folder",
    "exposition",
]
