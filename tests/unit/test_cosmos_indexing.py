"""The indexing policy holds what `directory.indexing` names, and nothing more."""

import json

from directory.cosmos.indexing import indexing_policy


def test_what_is_indexed() -> None:
    policy = json.loads(json.dumps(indexing_policy()))
    included = [found["path"] for found in policy["includedPaths"]]
    assert len(set(included)) == len(included)
    assert {"/tenantId/?", "/type/?", "/search/userName/?", "/groupId/?", "/state/?"} < {*included}
    assert "/search/emails/[]/value/?" in included
    assert policy["excludedPaths"][0] == {"path": "/*"}
    assert policy["indexingMode"] == "consistent"


def test_pages_and_the_feed_have_their_composite_indexes() -> None:
    composites = indexing_policy()["compositeIndexes"]
    assert [[found["path"] for found in composite] for composite in composites] == [
        ["/type", "/id"],
        ["/type", "/_ts", "/version", "/id"],
    ]
