"""What refuses an administrator or an operator, in words that they read."""

from directory.ledger import NotAccepted


class AdministrationError(NotAccepted):
    """What was asked cannot be done; the text says why and what to do instead, to whoever reads
    it. `command` is for those who have a command line: what to type there."""

    def __init__(self, text: str, command: str = "") -> None:
        super().__init__(text)
        self.command = command


class Absent(AdministrationError):
    """What was named does not exist, or not any more."""


class Overtaken(AdministrationError):
    """Somebody else changed it since it was looked at."""

    overtaken = True


class OwnerlessUnconfirmed(AdministrationError):
    """Nobody would hold the role Owner afterwards, and nobody said that this is meant."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody would hold the role Owner after this change. Preview it again and confirm it."
        )
