"""The endpoints for decisions, as AuthZEN's metadata: public, and the same whether or not there is
an organisation of this name."""

from access.call import OF_TENANT, PATH
from trust.tokens import TENANT_ID_PATTERN
from web.trouble import Trouble

WELL_KNOWN = "/.well-known/authzen-configuration"
PATHS = (WELL_KNOWN, WELL_KNOWN + PATH, WELL_KNOWN + PATH + OF_TENANT)
"""The metadata of the decision point of a host, of its access API, and of one organisation."""


def metadata(origin: str, path: str) -> dict[str, str]:
    """The metadata of the decision point that the path below WELL_KNOWN names; `origin` is scheme
    and host. Raises Trouble for an impossible name of an organisation."""
    below = path.removeprefix(WELL_KNOWN)
    tenant = below.removeprefix(f"{PATH}/tenants/")
    if tenant != below and not TENANT_ID_PATTERN.fullmatch(tenant):
        raise Trouble(404, "No organisation has such a name.")
    endpoints = origin + (below or PATH)
    return {
        "policy_decision_point": origin + below,
        "access_evaluation_endpoint": f"{endpoints}/evaluation",
        "access_evaluations_endpoint": f"{endpoints}/evaluations",
        "search_subject_endpoint": f"{endpoints}/search/subject",
        "search_resource_endpoint": f"{endpoints}/search/resource",
        "search_action_endpoint": f"{endpoints}/search/action",
    }
