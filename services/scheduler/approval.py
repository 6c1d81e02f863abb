"""From an approved spec to its job; pure."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from attune.spec.v1.spec_pb2 import Spec

from services.common import names
from services.common.errors import Violation, invalid
from services.scheduler.job import Job

SPEC_NAME = "projects/{project}/specs/{spec}"


def new_job(spec: Spec, job_id: str, now: datetime) -> Job:
    """Return the job of an approved spec.

    Args:
        spec: Approved; as the planner sent it.
        job_id: A new identifier.
        now: The present moment.

    Raises:
        InvalidArgument: If it is not an approved spec whose bytes have the approved hash.
    """
    project = names.parse(spec.name, SPEC_NAME, field="spec.name")["project"]
    approval = spec.approval
    if approval.revision < 1:
        text = f"Approval of revision {approval.revision}; revisions count from 1. Approve it."
        raise invalid([Violation("spec.approval.revision", "RANGE", text)])
    found = sha256(approval.canonical_spec).hexdigest()
    if found != approval.hash:
        text = (
            f"The approved bytes have the hash {found}, not the approved '{approval.hash}'. "
            "Approve the spec again."
        )
        raise invalid([Violation("spec.approval.hash", "HASH", text)])
    return Job(
        name=f"projects/{project}/jobs/{job_id}",
        spec=spec.name,
        spec_revision=approval.revision,
        spec_hash=approval.hash,
        approved_spec=spec,
        create_time=now,
        update_time=now,
        queue_time=now,
    )
