"""Every error of the client: one tree, so that `except ClientError` is enough."""


class ClientError(Exception):
    """Base of all errors of the client; its text says what a person needs to know."""


class Unreachable(ClientError):
    """Nothing answers at the address, or not a server of this kind; tried as long as allowed."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no Sportiv Stats server answers at {url}: {reason}")
        self.url = url
        self.reason = reason


class Refused(ClientError):
    """The server has answered with an error: `status` as in HTTP, `reason` in its words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class UnknownJob(ClientError):
    """The server has no job of this number, or does not keep it any more."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"there is no job {job_id}, or it is no longer kept")
        self.job_id = job_id


class JobFailed(ClientError):
    """The job has ended without an answer, for this `reason`."""

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"job {job_id} has failed: {reason}")
        self.job_id = job_id
        self.reason = reason


class JobCancelled(ClientError):
    """Somebody has cancelled the job."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} was cancelled")
        self.job_id = job_id


class TimedOut(ClientError):
    """The job has not ended within the time that the caller gave; it goes on."""

    def __init__(self, job_id: int, seconds: float) -> None:
        super().__init__(f"job {job_id} has not ended within {seconds:g} s; it goes on")
        self.job_id = job_id
        self.seconds = seconds
