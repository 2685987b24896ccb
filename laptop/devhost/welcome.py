"""The text that `make run` prints when everything runs."""

import sys

from administration.demo import prepare_demo
from console.one_time import one_time_link
from wiring import Application, utc_now

_TEXT = """
  Muster is running. State: {folder}

    Tenant URL    {url}/scim
    Secret Token  {scim}
    Console       {console}

  The link to the console leads to a button that signs you in once, within ten minutes; for
  another one:
  .venv/bin/python manage.py console link demo

  Try next, in a second terminal in this folder:

    a whole Entra ID cycle, ending in who got what:
    .venv/bin/python manage.py simulate --url {url}

    a customer's set-up by Microsoft Graph, its audit and its repair:
    .venv/bin/python manage.py simulate --graph --url {url}

    an application that shows live what its users may do:
    MUSTER_URL={url} make example

    the operator's command line:
    .venv/bin/python manage.py tenant list

    curl -H "Authorization: Bearer {scim}" {url}/scim/Users

  The application asks with a token of its own:

    curl -H "Authorization: Bearer {access}" \\
         "{url}/access/v1/users?userName=..."

  Ctrl+C stops it; the next start finds everything again.
"""


async def welcome(application: Application, url: str) -> None:
    """Prepare the demo tenant and print what to do with it (`url`: scheme, host and port)."""
    settings = application.settings
    demo = await prepare_demo(application.service, settings.data, settings.region)
    sys.stdout.write(
        _TEXT.format(
            folder=settings.data.resolve(),
            url=url,
            console=await one_time_link(application.store, demo.tenant, url, utc_now()),
            scim=demo.scim_token,
            access=demo.access_token,
        )
    )
    sys.stdout.flush()
