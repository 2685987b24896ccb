"""The SCIM protocol without storage: schemas, values (RFC 7643), filters and PATCH (RFC 7644)."""
