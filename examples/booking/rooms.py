"""What the application has, and which grant opens it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the application. `grant`: what opens it, `kind:key`."""

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
"""They are shown by the copy of access: fast, and seconds old at most."""

ADMIN_AREAS = (
    Area("role:owner", "Organisation", "Contract and billing"),
    Area("role:resourceAdministrator", "Rooms", "Names, seats and equipment"),
    Area("role:dashboardAdministrator", "Dashboards", "What the lobby sees"),
    Area("role:displayAdministrator", "Displays", "The screens beside the doors"),
    Area("role:servicesAdministrator", "Services", "What can be ordered"),
    Area("role:visitorsAdministrator", "Visitors", "Badges and house rules"),
)
"""Each visit asks Muster for a decision at this moment."""

PLACES = {
    "receptionAssignment": "Reception desk",
    "receptionMembership": "Reception team",
    "costCenterMembership": "Books on",
    "serviceProviderMembership": "Works for",
}
"""What a grant of these kinds means here; its key says where."""
