"""The operators' interface keeps what its OpenAPI document promises (schemathesis, on a real
store)."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode

from directory.tenants import ENTRA_CONNECTION
from operators.call import PATH
from operators.http import INTERFACE, OPERATIONS
from tests.environment import TENANT, Environment
from tests.promises import kept, operations_of
from tests.scim.test_fuzz import examples

BY_NAME = operations_of(INTERFACE)
KNOWN = {"tenant": TENANT, "connectionId": ENTRA_CONNECTION}


def test_the_document_has_every_operation_and_says_what_it_does() -> None:
    assert sorted(BY_NAME) == sorted(each.name for each in OPERATIONS)
    assert all(each.definition.raw["summary"] for each in BY_NAME.values())


@pytest.mark.parametrize("name", sorted(BY_NAME))
@examples(5)
@given(data=st.data())
async def test_what_the_document_promises_is_kept(
    muster: Environment, operator: httpx.AsyncClient, name: str, data: st.DataObject
) -> None:
    mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = data.draw(BY_NAME[name].as_strategy(generation_mode=mode))
    for parameter, known in KNOWN.items():
        if parameter in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters[parameter] = known
    await kept(operator, case, PATH)
