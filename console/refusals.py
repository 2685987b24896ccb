"""What administration refuses, for the pages and for the API."""

from administration.errors import AdministrationError, Overtaken
from scim.protocol.errors import ScimError
from web.trouble import Trouble, trouble_of


def refusal_of(error: Exception) -> Trouble:
    """How anything that was raised is answered: what an administrator asks for and cannot have,
    and what goes wrong with any request."""
    match error:
        case Overtaken():
            return Trouble(409, str(error))
        case AdministrationError():
            return Trouble(422, str(error))
        case ScimError(status=status, detail=detail, headers=headers):
            return Trouble(status, detail, headers)
    return trouble_of(error)
