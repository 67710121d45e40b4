"""Settings of the activity record."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ActivityConfig(BaseModel):
    """What is kept of the requests that gateways answer. Every bound of it is here."""

    model_config = ConfigDict(frozen=True)

    activity: bool = Field(
        default=True,
        description="Count the requests that gateways answer, and keep records of them: in "
        "memory, in the store, and in files where `activity_folder` is set.",
    )
    activity_records_s_max: int = Field(
        default=100,
        ge=0,
        description="Records that one gateway keeps in a second, and as many of failed "
        "requests; what is beyond that is counted only.",
    )
    activity_recent_max: int = Field(
        default=1_000, ge=1, description="Records that one gateway has in memory."
    )
    activity_waiting_max: int = Field(
        default=10_000,
        ge=1,
        description="Records that may wait for the store, and as many for the files; the "
        "oldest make room and are counted as lost.",
    )
    activity_stored_max: int = Field(
        default=10_000, ge=0, description="Records that the store keeps, about; 0: none."
    )
    activity_write_s: float = Field(
        default=1.0, gt=0, description="How often records are written, in seconds."
    )
    activity_folder: Path | None = Field(
        default=None,
        description="Folder for records as JSON lines; made when missing. Without it there are "
        "no files.",
    )
    activity_file_bytes_max: int = Field(
        default=10_000_000,
        ge=4_096,
        description="A file of records is set aside before it grows larger.",
    )
    activity_files_max: int = Field(
        default=5, ge=2, description="Files of records that are kept for each gateway."
    )
