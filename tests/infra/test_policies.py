"""Every policy holds of infra/, and each is shown to fail where infra/ is changed."""

from functools import cache

import pytest

from tests.infra import azure, observability, reliability, security
from tests.infra.bicep import Infra, Resource, property_node
from tests.infra.policy import Change, Policy

SUBJECTS = (security, reliability, observability, azure)
POLICIES = [policy for subject in SUBJECTS for policy in subject.POLICIES]
REQUIRED = [
    (type, path, value)
    for subject in SUBJECTS
    for type, paths in subject.REQUIRED.items()
    for path, value in paths.items()
]


@cache
def infra() -> Infra:
    return Infra.read()


def missing(infra: Infra, type: str, path: str, value: object) -> list[Resource]:
    """The resources of a type that do not have the value; all must."""
    return [resource for resource in infra.resources(type) if resource.get(path) != value]


@pytest.mark.parametrize(("type", "path", "value"), REQUIRED)
def test_property(type: str, path: str, value: object) -> None:
    resources = list(infra().resources(type))
    assert resources, f"no {type} is declared any more: the row asserts nothing"
    assert [str(resource) for resource in missing(infra(), type, path, value)] == []

    for resource in resources:  # without the property, or with another value, it must be seen
        node = property_node(resource.node, path)
        assert node is not None
        assert node.text is not None
        text = node.text.decode()
        for mutated in ("", f"{text.partition(':')[0]}: 'something else'"):
            changed = infra().changed_at(resource.file, node, mutated)
            assert missing(changed, type, path, value), mutated


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_policy(policy: Policy) -> None:
    assert list(policy.problems(infra())) == []
    assert policy.changes, "a policy that was never seen to fail asserts nothing"


@pytest.mark.parametrize(
    ("policy", "change"), [(p, change) for p in POLICIES for change in p.changes], ids=str
)
def test_policy_fails(policy: Policy, change: Change) -> None:
    changed = infra().changed(change.file, change.old, change.new)
    assert list(policy.problems(changed))
