"""What the console refuses, for the pages and for the API."""

from scim.protocol.errors import ScimError
from web.trouble import Trouble, trouble_of


def refusal_of(error: Exception) -> Trouble:
    """How anything that was raised is answered: values that SCIM does not take, and what goes wrong
    with any request."""
    match error:
        case ScimError(status=status, detail=detail, headers=headers):
            return Trouble(status, detail, headers)
    return trouble_of(error)
