"""The triggers of function_app.py, by the names of their functions."""

from functools import cache
from typing import Any

import function_app


@cache  # the SDK's functions can be built once
def triggers() -> dict[str, dict[str, Any]]:
    """What the host is told of each."""
    functions = function_app.app.get_functions()
    found = {function.get_function_name(): function.get_trigger() for function in functions}
    return {str(name): trigger.get_dict_repr() for name, trigger in found.items() if trigger}
