"""Questions about access: previews of changes, the reasons for grants, history, and audits."""
