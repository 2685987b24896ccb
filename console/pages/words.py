"""Changes of access, in words."""

from directory.access import AccessChange, AccessState
from directory.documents import EntitlementKey
from directory.reasons import REASON_TEXTS, Reason
from reconciler.access import lacking


def reason_in_words(reason: Reason) -> str:
    """A reason for being disabled, within a sentence."""
    text = REASON_TEXTS[reason].label
    return text[0].lower() + text[1:]


def in_words(change: AccessChange, names: dict[EntitlementKey, str]) -> str:
    """A change of access in words; `names` has the names of its entitlements."""
    before, after = change.before, change.after
    said: list[str] = []
    if after is None:
        said.append("deleted")
    elif before is None or before.enabled != after.enabled:
        because = ", ".join(map(reason_in_words, after.reasons))
        said.append("enabled" if after.enabled else f"disabled ({because})")
    elif before.reasons != after.reasons:
        said.append("disabled (" + ", ".join(map(reason_in_words, after.reasons)) + ")")
    for word, keys in (("gained", lacking(before, after)), ("lost", lacking(after, before))):
        if keys:
            said.append(f"{word} " + ", ".join(names[key] for key in keys))
    kept = _kept(after) - _kept(before)
    if kept:
        said.append("keeps " + ", ".join(names.get(key, key.key) for key in sorted(kept)))
    return "; ".join(said) or "the same grants by another way"


def _kept(state: AccessState | None) -> set[EntitlementKey]:
    return {grant.entitlement for grant in state.grants if grant.is_kept} if state else set()
