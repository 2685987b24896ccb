"""Why administrators and operators are refused, in words for them to read."""

from directory.ledger import NotAccepted


class AdministrationError(NotAccepted):
    """What was asked cannot be done; the text says why and what to do instead. `command` is what to
    type instead, for readers who have a command line."""

    def __init__(self, text: str, command: str = "") -> None:
        super().__init__(text)
        self.command = command


class Absent(AdministrationError):
    """What was named does not exist, or no longer."""


class Overtaken(AdministrationError):
    """Somebody else changed it since it was looked at."""

    overtaken = True


class OwnerlessUnconfirmed(AdministrationError):
    """Nobody would hold the role Owner afterwards, and the request did not confirm that."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody would hold the role Owner after this change. Preview it again and confirm it."
        )
