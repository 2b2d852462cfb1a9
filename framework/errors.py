"""The one exception tree. A status lives on its class; only the HTTP edge renders it.

CaveauError                     500  something broke inside; the message is logged, and shown
 +- InvalidRequest              400  bad input; the message tells what to change
 |   +- InvalidCredentials      400  a login failed: counts towards the lockout of whom it names
 |   +- MultipleErrors          400  several at once, in Go's multierror form
 +- PermissionDenied            403  no usable token, or policy says no
 +- NotFound                    404  the path is right and nothing is there
 +- UnsupportedPath             404  the mount is right and no such path exists in it
 +- UnsupportedOperation        405  the path exists and not for this operation
 +- PreconditionFailed          412
 +- RequestTooLarge             413
 +- UnsupportedMediaType        415
 +- RateLimited                 429
 +- Unavailable                 503  sealed, or the store cannot be reached
 |   +- Sealed                  503
 |   +- NotActive               503  this node no longer leads its cluster
 +- StoreError                  500  the physical store failed; nothing was written
 +- ReadOnlyStorage             500  a handler not marked ``writes`` tried to write (a bug)
 +- Conflict                    500  internal: a transaction must run again; never reaches a client
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class CaveauError(Exception):
    """Base of every error that a client may see.

    ``data``: answered beside the error where Vault does that (a deleted KV v2 version answers 404
    with its metadata). ``str(error)`` is the text in ``{"errors": [...]}``; empty gives ``[]``.
    """

    status: ClassVar[int] = 500
    data: Mapping[str, Any] | None = None

    @property
    def messages(self) -> list[str]:
        text = str(self)
        return [text] if text else []


class InvalidRequest(CaveauError):
    status = 400


class InvalidCredentials(InvalidRequest):
    """``known``: whether the method knows who tried, which the client must not learn."""

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


class MultipleErrors(InvalidRequest):
    """Several complaints rendered as Go's multierror does, which some clients parse."""

    def __init__(self, *errors: str) -> None:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        super().__init__(f"{count} occurred:\n" + "".join(f"\t* {e}\n" for e in errors) + "\n")


class PermissionDenied(CaveauError):
    status = 403

    def __init__(self, message: str = "permission denied") -> None:
        super().__init__(message)


class NotFound(CaveauError):
    status = 404


class UnsupportedPath(CaveauError):
    status = 404

    def __init__(self, message: str = "unsupported path") -> None:
        super().__init__(message)


class UnsupportedOperation(CaveauError):
    status = 405

    def __init__(self, message: str = "unsupported operation") -> None:
        super().__init__(message)


class PreconditionFailed(CaveauError):
    status = 412


class RequestTooLarge(CaveauError):
    status = 413


class UnsupportedMediaType(CaveauError):
    status = 415


class RateLimited(CaveauError):
    status = 429


class Unavailable(CaveauError):
    status = 503


class Sealed(Unavailable):
    def __init__(self, message: str = "Vault is sealed") -> None:
        super().__init__(message)


class NotActive(Unavailable):
    def __init__(self, message: str = "this node does not lead the cluster any more; try again") -> None:
        super().__init__(message)


class NeedsLeader(Exception):
    """No error that a client sees: the request is for the node that leads the cluster, and is passed on to it."""


class StoreError(CaveauError):
    """The physical store failed. Nothing of the batch was written."""


class StoreInUse(StoreError):
    """Another server has the store, which is for one at a time."""


class StoreUnreachable(StoreError):
    status = 503


class OutcomeUnknown(StoreError):
    """What was on its way to the store may have been written, or may not have been."""

    status = 503

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}: whether this was stored is not known; read it again")


class ReadOnlyStorage(CaveauError):
    """A handler that is not marked ``writes`` tried to write: a mistake in the engine."""


class Conflict(CaveauError):
    """Another request committed something this transaction had read; it runs again."""
