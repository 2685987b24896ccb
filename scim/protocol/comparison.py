"""Equality and order of attributes' values: filters, sorting and reservations all compare their
comparable forms."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from scim.protocol.errors import InvalidValue
from scim.protocol.scalars import Scalar, fold, folds, utc
from scim.protocol.schema import Attribute, ResourceType, attribute_path

LEADING = "$leading"
"""Key in `search`: maps the path of a multi-valued attribute to the value for sorting."""


def comparable(attribute: Attribute, value: Scalar) -> Scalar:
    """A value in the form in which values of this attribute are compared.

    Strings are folded (`scalars.fold`) unless the attribute is caseExact, dateTimes become UTC in
    a fixed width, other values stay. Raises InvalidValue for a dateTime attribute and a string that
    is none.
    """
    convert = _scalar_form(attribute)
    if convert is None or not isinstance(value, str):
        return value
    try:
        return convert(value)
    except ValueError:
        raise InvalidValue(
            f"'{attribute.name}' is a date and time such as 2026-01-31T08:00:00Z and cannot be "
            f"compared with {value[:60]!r}."
        ) from None


def stored_forms(attribute: Attribute, value: Scalar) -> tuple[Scalar, ...]:
    """The comparable forms that documents may hold of a value, the present one first."""
    form = comparable(attribute, value)
    if _scalar_form(attribute) is fold and isinstance(value, str):
        return folds(value)
    return (form,)


def searchable(
    resource_type: ResourceType, resource: dict[str, Any], created: str, modified: str
) -> dict[str, Any]:
    """The comparable form of a canonical resource, with `meta`, for the document's `search`.

    It has the structure of the resource; parts that need no change are shared with it, not copied.
    LEADING holds the values for sorting by multi-valued attributes.
    """
    form = _converted(_forms(resource_type), resource)
    leading = {
        attribute_path(keys): value
        for keys in _arrays(resource_type)
        if (value := _leading(form, keys)) is not None
    }
    if leading:
        form[LEADING] = leading
    form["meta"] = {
        "resourceType": resource_type.name,
        "created": utc(created),
        "lastModified": utc(modified),
    }
    return form


@cache
def _arrays(resource_type: ResourceType) -> tuple[tuple[str, ...], ...]:
    """Keys of the multi-valued attributes that can be sorted by."""
    found: list[tuple[tuple[str, ...], Attribute]] = []
    for attribute in resource_type.attributes.values():
        if ":" in attribute.name:  # an extension
            parts = attribute.sub_attributes.values()
            found += [((attribute.name, part.name), part) for part in parts]
        else:
            found.append(((attribute.name,), attribute))
    return tuple(
        keys for keys, each in found if each.multi_valued and each.mutability != "readOnly"
    )


def _leading(form: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the primary element, or else of the first one (RFC 7644 section 3.4.2.3)."""
    elements: Any = form
    for key in keys:
        elements = elements.get(key)
        if elements is None:
            return None
    if not isinstance(elements[0], dict):
        return elements[0]
    primary = (element for element in elements if element.get("primary") is True)
    return next(primary, elements[0]).get("value")


type _Form = Callable[[Any], Any]


def _scalar_form(attribute: Attribute) -> Callable[[str], str] | None:
    if attribute.type == "dateTime":
        return utc
    if attribute.type in ("string", "reference") and not attribute.case_exact:
        return fold
    return None


def _form(attribute: Attribute) -> _Form | None:
    """Converts a canonical value to its comparable form; None where they are the same."""
    convert: _Form | None = _scalar_form(attribute)
    if attribute.type == "complex":
        forms = _forms_of(attribute.sub_attributes.values())
        convert = (lambda value: _converted(forms, value)) if forms else None
    if convert is None or not attribute.multi_valued:
        return convert
    return lambda values: [convert(value) for value in values]


def _forms_of(attributes: Iterable[Attribute]) -> dict[str, _Form]:
    pairs = ((attribute.name, _form(attribute)) for attribute in attributes)
    return {name: form for name, form in pairs if form}


@cache
def _forms(resource_type: ResourceType) -> dict[str, _Form]:
    return _forms_of(resource_type.attributes.values())


def _converted(forms: Mapping[str, _Form], value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: forms[key](item) if key in forms else item for key, item in value.items()}
