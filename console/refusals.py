"""How the console answers errors, for the pages and for the API."""

from scim.protocol.errors import ScimError
from web.trouble import Trouble, trouble_of


def refusal_of(error: Exception) -> Trouble:
    """The answer to any exception: values that SCIM refuses, and errors that any request can
    have."""
    match error:
        case ScimError(status=status, detail=detail, headers=headers):
            return Trouble(status, detail, headers)
    return trouble_of(error)
