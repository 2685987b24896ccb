"""What administrators and operators do: tenants, tokens, the catalog and the mappings."""
