"""Deciding whether a user may hold an entitlement (AuthZEN's access evaluation).

Like every read of access, a decision uses the user's document and the access record of this moment:
once a deactivation is answered, it denies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from access.call import DOCUMENT, Call
from access.questions import (
    ACTION,
    MOST_EVALUATIONS,
    SUBJECT,
    Evaluation,
    Evaluations,
    Ground,
    Semantic,
)
from directory.access import Grant
from directory.documents import EntitlementKey
from directory.lanes import apart
from directory.reasons import REASON_TEXTS
from directory.store import Unreadable
from reconciler.facts import Current
from web.problems import Problem, unreadable
from web.trouble import Trouble, malformed, trouble_of

SOURCES = 20
"""The most sources of a grant that a decision shows."""
_NEEDED = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
"""Members that every question needs."""
_ENDS_WITH: Mapping[Semantic, bool] = {"deny_on_first_deny": False, "permit_on_first_permit": True}

type Answered = dict[str, Any]
"""A decision."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A user with the grants by entitlement, for many questions about the same user."""

    current: Current
    grants: Mapping[EntitlementKey, Grant]

    @classmethod
    def of(cls, current: Current) -> "Holder":
        """The holder for a user's current access."""
        return cls(current, {grant.entitlement: grant for grant in current.access.grants})


async def evaluation(call: Call[Any, Evaluation]) -> Answered:
    """Whether a user holds an entitlement at this moment, and why. A disabled user holds nothing.
    An unknown user or entitlement gets a denial, not an error."""
    return await _decided_alone(call, call.body)


async def evaluations(call: Call[Any, Evaluations]) -> Answered:
    """Up to 100 evaluations, answered in order; `options.evaluations_semantic` can end them early.
    An error in one denies that one. Each user is read only once."""
    body = call.body
    if not body.evaluations:
        return await _decided_alone(call, _question(body, {}))
    if len(body.evaluations) > MOST_EVALUATIONS:
        raise malformed(
            f"{len(body.evaluations)} evaluations; at most {MOST_EVALUATIONS} are decided at once. "
            "Send the others in another request."
        )
    decided = await _decided(call, [_question_or_problem(body, one) for one in body.evaluations])
    semantic = (body.options and body.options.evaluations_semantic) or "execute_all"
    return {"evaluations": _ended(map(_shown, decided), _ENDS_WITH.get(semantic))}


def decide(question: Evaluation, holder: Holder | None) -> Answered:
    """The decision on a question about a user; `holder` is None for an unknown user."""
    if question.subject.type != SUBJECT:
        return _decision("unknownSubjectType", f"Muster knows subjects of the type {SUBJECT} only.")
    if question.action.name != ACTION:
        return _decision("unknownAction", f"Muster decides on the action {ACTION} only.")
    if holder is None:
        return _decision("unknownSubject", "There is no such user in this organisation.")
    access = holder.current.access
    if access.reasons:
        texts = " ".join(REASON_TEXTS[reason].remedy for reason in access.reasons)
        return _decision("disabled", f"The user is disabled. {texts}", reasons=[*access.reasons])
    if not access.enabled:
        return _decision("pending", "The user's access is about to be computed. Ask again.")
    grant = holder.grants.get(question.resource.entitlement)
    if grant is None:
        return _decision(
            "notHeld", "The user does not hold this entitlement, or the catalog does not have it."
        )
    text = _KEPT if grant.is_kept else "The user holds it, given by `sources`."
    return _decision("held", text, sources=_sources(grant))


_KEPT = (
    "The user keeps it: it is protected, and the user was the last to hold it. An administrator "
    "can let it go."
)


async def holders(call: Call[Any, Any], questions: Iterable[Any]) -> dict[Any, Holder | Unreadable]:
    """The users that questions are about, by the names in the questions; unknown users are left
    out."""
    names = [each.subject.named for each in questions if each.subject.type == SUBJECT]
    tenant = call.known_tenant
    found = await call.reader.subjects.find(tenant, names)
    size = sum(len(each.access.grants) for each in found.values() if isinstance(each, Current))
    return await apart(
        tenant.tenant_id,
        size,
        lambda: {
            named: Holder.of(each) if isinstance(each, Current) else each
            for named, each in found.items()
        },
    )


async def _decided_alone(call: Call[Any, Any], question: Evaluation) -> Answered:
    (decided,) = await _decided(call, [question])
    if isinstance(decided, Exception):
        raise decided
    return decided


async def _decided(
    call: Call[Any, Any], questions: Sequence[Evaluation | Problem]
) -> list[Answered | Exception]:
    """A decision on each question, or the error in the question or in a stored document."""
    valid = [each for each in questions if isinstance(each, Evaluation)]
    known = await holders(call, (each for each in valid if each.action.name == ACTION))
    decided: list[Answered | Exception] = []
    for each in questions:
        if isinstance(each, Problem):
            decided.append(each)
            continue
        holder = known.get(each.subject.named)
        decided.append(holder if isinstance(holder, Unreadable) else decide(each, holder))
    return decided


def _question(body: Evaluations, one: Mapping[str, Any]) -> Evaluation:
    """One of several questions, completed with the defaults beside `evaluations`. A part of the
    question replaces the default part as a whole, except that missing members which every question
    needs are taken from the default. Raises Problem."""
    question: dict[str, Any] = {}
    for name in ("subject", "action", "resource", "context"):
        default, own = getattr(body, name), one.get(name)
        if isinstance(default, dict) and isinstance(own, dict):
            missing = {each: default[each] for each in _NEEDED.get(name, ()) if each in default}
            question[name] = {**missing, **own}
        elif own is not None or default is not None:
            question[name] = default if own is None else own
    try:
        return Evaluation.model_validate(question)
    except ValidationError as error:
        raise unreadable("body", error, DOCUMENT) from None


def _question_or_problem(body: Evaluations, one: Mapping[str, Any]) -> Evaluation | Problem:
    try:
        return _question(body, one)
    except Problem as problem:
        return problem


def _shown(decided: Answered | Exception) -> Answered:
    """The decision; for an error, a denial that contains it."""
    if not isinstance(decided, Exception):
        return decided
    trouble: Trouble = trouble_of(decided)
    faults = decided.faults if isinstance(decided, Problem) else ()
    details = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
    error = {"status": trouble.status, "message": details or trouble.detail}
    return {"decision": False, "context": {"id": "error", "error": error}}


def _ended(decided: Iterable[Answered], last: bool | None) -> list[Answered]:
    """The decisions up to the first that equals `last`; None: all."""
    answered = []
    for each in decided:
        answered.append(each)
        if each["decision"] is last:
            break
    return answered


def _decision(ground: Ground, words: str, **more: Any) -> Answered:
    context = {"id": ground, "reason_admin": {"en": words, **more}}
    return {"decision": ground == "held", "context": context}


def _sources(grant: Grant) -> list[dict[str, Any]]:
    """The sources of a grant, without paths; SOURCES of them at most."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for source in grant.sources:
        if len(found) == SOURCES:
            break
        shown = source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"path"})
        found.setdefault((source.type, source.group_id), shown)
    return [*found.values()]
