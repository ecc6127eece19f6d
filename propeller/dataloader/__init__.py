"""What raw containers need beside them: inputs as files before the program begins, outputs from files after its end.

`propeller dataloader` is the command of the containers that do it (FlyteCopilot's part in Flyte). Works on a directory
and a `Storage`, and knows nothing of pods.
"""

from propeller.dataloader._download import download
from propeller.dataloader._limits import Limits
from propeller.dataloader._options import RawContainerOptions
from propeller.dataloader._session import (
    DONE,
    PROGRAM_FAILED,
    READY,
    UPLOAD_FAILED,
    Download,
    Upload,
    run_download,
    run_upload,
)
from propeller.dataloader._texts import error_document
from propeller.dataloader._upload import ERROR_FILE, ProgramFailed, upload

__all__ = [
    "DONE",
    "ERROR_FILE",
    "PROGRAM_FAILED",
    "READY",
    "UPLOAD_FAILED",
    "Download",
    "Limits",
    "ProgramFailed",
    "RawContainerOptions",
    "Upload",
    "download",
    "error_document",
    "run_download",
    "run_upload",
    "upload",
]
