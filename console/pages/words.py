"""Changes of access, in words."""

from console.rendering import REASONS
from directory.access import AccessChange
from reconciler.access import lacking


def in_words(change: AccessChange, names: dict[tuple[str, str], str]) -> str:
    """What a change of access did; `names` are those of the entitlements in it."""
    before, after = change.before, change.after
    said: list[str] = []
    if after is None:
        said.append("deleted")
    elif before is None or before.enabled != after.enabled:
        because = ", ".join(REASONS[reason].lower() for reason in after.reasons)
        said.append("enabled" if after.enabled else f"disabled ({because})")
    elif before.reasons != after.reasons:
        said.append("disabled (" + ", ".join(REASONS[r].lower() for r in after.reasons) + ")")
    for word, keys in (("gained", lacking(before, after)), ("lost", lacking(after, before))):
        if keys:
            said.append(f"{word} " + ", ".join(names[key.kind, key.key] for key in keys))
    return "; ".join(said) or "the same grants by another way"
