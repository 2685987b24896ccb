"""The requests and answers of OpenID AuthZEN, Authorization API 1.0.
https://openid.github.io/authzen/

A subject of type `user` may `hold` an entitlement: a resource whose type is the entitlement's kind,
and whose id is its key. Unknown members are ignored, as the specification asks.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from access.subjects import Identifier, Named
from directory.access import SourceType
from directory.documents import EntitlementKey
from directory.reasons import Reason
from web.operation import Answer, Body

SUBJECT = "user"
"""The only type of subject."""
ACTION = "hold"
"""The only action."""
MOST_EVALUATIONS = 100
"""The most evaluations in one request."""
MOST_RESULTS = 1_000
"""The most results in one page of a search."""
RESULTS = 100
"""Results in a page when the request has no `limit`."""

type Text = Annotated[str, Field(max_length=2_000)]
type Object = dict[str, Any]
type Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class RequestPart(Body):
    """A part of a request."""

    model_config = ConfigDict(alias_generator=None, extra="ignore")


class AnswerPart(Answer):
    """A part of an answer."""

    model_config = ConfigDict(alias_generator=None)


class SubjectProperties(RequestPart):
    """How the subject is identified."""

    identifier: Identifier | None = None
    """The kind of `id`. Without it, `id` is looked up as a SCIM id, then as externalId, then as
    userName."""


class Subject(RequestPart):
    """Who."""

    type: Text
    """`user`; every other type is denied."""
    id: Text
    """A SCIM id, an externalId, or a userName in any case."""
    properties: SubjectProperties | None = None

    @property
    def named(self) -> Named:
        """The name to look the subject up by."""
        return Named(self.id, self.properties.identifier if self.properties else None)


class Action(RequestPart):
    """What."""

    name: Text
    """`hold`; every other action is denied."""
    properties: Object | None = None


class Resource(RequestPart):
    """An entitlement."""

    type: Text
    """Its kind."""
    id: Text
    """Its key."""
    properties: Object | None = None

    @property
    def entitlement(self) -> EntitlementKey:
        """Which one."""
        return EntitlementKey(self.type, self.id)


class Evaluation(RequestPart):
    """May this user hold that entitlement?"""

    subject: Subject
    action: Action
    resource: Resource
    context: Object | None = None
    """Changes nothing."""


class Options(RequestPart):
    """How several evaluations are decided."""

    evaluations_semantic: Semantic | None = None
    """Whether all are decided, or the answer ends with the first denial or the first permit."""


class Evaluations(RequestPart):
    """Several questions; the members beside `evaluations` are defaults for each of them. Without
    `evaluations`, one question."""

    subject: Object | None = None
    action: Object | None = None
    resource: Object | None = None
    context: Object | None = None
    evaluations: Annotated[
        tuple[Object, ...] | None, Field(json_schema_extra={"maxItems": MOST_EVALUATIONS})
    ] = None
    """Up to 100 questions, each in the form of a single evaluation; what one leaves out is taken
    from the defaults."""
    options: Options | None = None


class GivenBy(Answer):
    """What gives a grant."""

    type: SourceType
    group_id: str | None = None
    mapping_version: int | None = None
    since: datetime | None = None
    """Of `kept`: when it would have been lost."""
    event_id: str | None = None
    """Of `kept`: the event that would have taken it."""


class Grounds(AnswerPart):
    """Why, for administrators."""

    en: str
    """In words."""
    reasons: tuple[Reason, ...] | None = None
    """Why the user is disabled."""
    sources: tuple[GivenBy, ...] | None = None
    """What gives the grant, 20 sources at most; `/users/{id}` has all sources, with every path."""


class Failed(AnswerPart):
    """What is wrong with one of several evaluations."""

    status: int
    message: str


type Ground = Literal[
    "held",
    "notHeld",
    "disabled",
    "pending",
    "unknownSubject",
    "unknownSubjectType",
    "unknownAction",
    "error",
]


class DecisionContext(AnswerPart):
    """Why."""

    id: Ground
    """`notHeld`: the user is enabled and does not hold it, or there is no such entitlement."""
    reason_admin: Grounds | None = None
    error: Failed | None = None
    """The error of one of several evaluations."""


class Decision(AnswerPart):
    """The answer to one question."""

    decision: bool
    context: DecisionContext


class Decisions(AnswerPart):
    """The answers to several questions, in their order."""

    evaluations: tuple[Decision, ...]


class EvaluationsAnswer(RootModel[Decisions | Decision]):
    """The answers; or the one answer, where there was one question."""


class PageWanted(RequestPart):
    """Which page."""

    token: Annotated[str | None, Field(max_length=4_000)] = None
    """`next_token` of the page before; everything but `limit` stays as it was."""
    limit: Annotated[int | None, Field(ge=1)] = None
    """The most results in a page: 100 by default, 1,000 at most."""


class OfType(RequestPart):
    """What is searched for."""

    type: Text


class SubjectSearch(RequestPart):
    """Who holds this entitlement?"""

    subject: OfType
    action: Action
    resource: Resource
    context: Object | None = None
    page: PageWanted | None = None


class ResourceSearch(RequestPart):
    """What does this user hold, of this kind?"""

    subject: Subject
    action: Action
    resource: OfType
    context: Object | None = None
    page: PageWanted | None = None


class ActionSearch(RequestPart):
    """What may this user do with this entitlement: hold it, or nothing."""

    subject: Subject
    resource: Resource
    context: Object | None = None
    page: PageWanted | None = None


class Page(AnswerPart):
    """Where a page ends."""

    next_token: str
    """Leads to the next page; empty at the end."""
    count: int
    """How many results this page has. It may be 0 although others follow."""


class UserProperties(Answer):
    """Other identifiers of a user."""

    user_name: str | None
    external_id: str | None


class FoundUser(AnswerPart):
    """A user who holds it."""

    type: Literal["user"]
    id: str
    """The SCIM id."""
    properties: UserProperties


class FoundEntitlement(AnswerPart):
    """Something that is held."""

    type: str
    id: str


class FoundAction(AnswerPart):
    """What may be done."""

    name: Literal["hold"]


class UsersFound(AnswerPart):
    """A page of users, in the order in which they were made."""

    page: Page
    results: tuple[FoundUser, ...]


class EntitlementsFound(AnswerPart):
    """A page of entitlements, in the order of their keys."""

    page: Page
    results: tuple[FoundEntitlement, ...]


class ActionsFound(AnswerPart):
    """What may be done."""

    page: Page
    results: tuple[FoundAction, ...]
