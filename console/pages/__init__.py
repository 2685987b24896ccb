"""The pages, one module per subject. They read and change through `administration`."""

from console.pages import by_hand, catalog, failed, groups, log, overview, policy, set_up, users
from console.visit import Page

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *set_up.PAGES,
    *groups.PAGES,
    *by_hand.PAGES,
    *users.PAGES,
    *log.PAGES,
    *failed.PAGES,
    *catalog.PAGES,
    *policy.PAGES,
)
