"""Loads the real function app as Azure does, in a process of its own, and says in JSON what came
of it. Standard input: the HTTP requests to send, as [function, method, url]."""

import asyncio
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

sys.path[:] = [each for each in sys.path if Path(each).resolve() != ROOT]
sys.path.append(str(ROOT))  # last, as on Azure

from laptop.devhost.protobuf import RpcHttp  # noqa: E402
from laptop.devhost.runtime import FunctionApp  # noqa: E402


async def main() -> None:
    app = await FunctionApp.load(ROOT)
    imported = sorted(sys.modules)
    functions = {each.name: each for each in app.functions}
    answers = []
    for name, method, url in json.load(sys.stdin):
        response = await app.invoke_http(functions[name], RpcHttp(method=method, url=url))
        body = response.body.bytes.decode()
        answers.append([int(response.status_code), response.headers, body])
    print(  # noqa: T201
        json.dumps(
            {
                "functions": {each.name: each.trigger for each in app.functions},
                "imported": imported,
                "path": sys.path,
                "answers": answers,
            }
        )
    )


asyncio.run(main())
