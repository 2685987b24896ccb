"""A Microsoft Graph and a sign-in service in a box: what console/setup/muster_entra.py speaks to.

Strict: what is not known is refused. Where Microsoft's documentation leaves a doubt, `Doubts` says
which answer is given. The provisioning job provisions with exactly the schema that was put.
"""
