"""What SCIM says, whoever stores it: schemas, values (RFC 7643), filters and PATCH (RFC 7644)."""
