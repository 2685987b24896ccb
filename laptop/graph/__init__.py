"""A simulated Microsoft Graph and sign-in service, for console/setup/muster_entra.py.

It is strict: unknown requests are refused. Where Microsoft's documentation leaves a doubt, `Doubts`
chooses the answer. The provisioning job uses exactly the schema that was put.
"""
