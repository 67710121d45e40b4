from .activity import Activity
from .activity_config import ActivityConfig
from .activity_files import BadActivityFolder, check_activity_folder
from .activity_views import ActivityRecord, ActivityRecords, ActivityView, EndpointList

__all__ = [
    "Activity",
    "ActivityConfig",
    "ActivityRecord",
    "ActivityRecords",
    "ActivityView",
    "BadActivityFolder",
    "EndpointList",
    "check_activity_folder",
]
