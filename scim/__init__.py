"""The SCIM service provider: RFC 7643 and RFC 7644, and Microsoft Entra ID's dialect."""
