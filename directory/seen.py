"""How far a connection is set up, as its requests have shown."""

from collections.abc import Mapping
from datetime import datetime

from directory.documents import StoredModel


class Seen(StoredModel):
    """When each step of setting up a connection was last seen in its requests (`scim.seeing` names
    them)."""

    document_type = "Seen"

    connection_id: str
    steps: dict[str, datetime]

    @property
    def document_id(self) -> str:
        return f"seen:{self.connection_id}"

    def with_more(self, steps: Mapping[str, datetime]) -> "Seen":
        """The later moment of each step."""
        later = {name: max(at, self.steps.get(name, at)) for name, at in steps.items()}
        return self.model_copy(update={"steps": self.steps | later})
