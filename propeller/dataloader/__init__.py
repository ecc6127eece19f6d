"""What raw containers need beside them: inputs as files before the program begins, outputs from files after its end.

`propeller dataloader` is the command of the containers that do it (FlyteCopilot's part in Flyte). Works on a directory
and a `Storage`, and knows nothing of pods.
"""

from propeller.dataloader._download import download
from propeller.dataloader._limits import Limits
from propeller.dataloader._options import RawContainerOptions
from propeller.dataloader._session import DONE, READY, UPLOAD_FAILED, Download, Upload, run_download, run_upload
from propeller.dataloader._texts import error_document
from propeller.dataloader._upload import ERROR_FILE, upload

__all__ = [
    "DONE",
    "ERROR_FILE",
    "READY",
    "UPLOAD_FAILED",
    "Download",
    "Limits",
    "RawContainerOptions",
    "Upload",
    "download",
    "error_document",
    "run_download",
    "run_upload",
    "upload",
]
