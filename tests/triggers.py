"""The triggers of function_app.py, by the names of their functions."""

from functools import cache
from typing import Any

import function_app


@cache  # the SDK builds them once, and refuses to the second time
def functions() -> dict[str, Any]:
    """The functions as the SDK has them."""
    return {str(each.get_function_name()): each for each in function_app.app.get_functions()}


def triggers() -> dict[str, dict[str, Any]]:
    """What the host is told of the trigger of each."""
    found = {name: function.get_trigger() for name, function in functions().items()}
    return {name: trigger.get_dict_repr() for name, trigger in found.items() if trigger}
