"""What refuses an administrator or an operator, in words that they read."""


class AdministrationError(Exception):
    """What was asked cannot be done; the text says why and what to do instead, to whoever reads
    it. `command` is for those who have a command line: what to type there."""

    def __init__(self, text: str, command: str = "") -> None:
        super().__init__(text)
        self.command = command


class Overtaken(AdministrationError):
    """Somebody else changed it since it was looked at."""


class OwnerlessUnconfirmed(AdministrationError):
    """Nobody would hold the role Owner afterwards, and nobody said that this is meant."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody would hold the role Owner after this change. Preview it again and confirm it."
        )
