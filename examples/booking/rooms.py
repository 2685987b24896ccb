"""The areas of the application, and the grants that open them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Area:
    """An area of the application. `grant` opens it: `kind:key`, such as `role:owner`."""

    grant: str
    title: str
    text: str


AREAS = (
    Area("role:addInUser", "Book a room", "From the calendar, for yourself"),
    Area("role:addInUserDelegatedAccess", "Book for others", "On behalf of a colleague"),
    Area("role:searchSpecificRoom", "Find a room", "By name, on every floor"),
    Area("role:insightsPortalUser", "Insights", "How full the rooms are"),
    Area("role:servicesPortalUser", "Services", "Orders for coffee and chairs"),
)
"""Areas that are shown by the copy of access, which is fast, and seconds old at most."""

ADMIN_AREAS = (
    Area("role:owner", "Organisation", "Contract and billing"),
    Area("role:resourceAdministrator", "Rooms", "Names, seats and equipment"),
    Area("role:dashboardAdministrator", "Dashboards", "What the lobby sees"),
    Area("role:displayAdministrator", "Displays", "The screens beside the doors"),
    Area("role:servicesAdministrator", "Services", "What can be ordered"),
    Area("role:visitorsAdministrator", "Visitors", "Badges and house rules"),
)
"""Areas for which each visit asks Muster for a decision."""

PLACES = {
    "receptionAssignment": "Reception desk",
    "receptionMembership": "Reception team",
    "costCenterMembership": "Books on",
    "serviceProviderMembership": "Works for",
}
"""What a grant of these kinds means here; its key says where."""
