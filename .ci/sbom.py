"""`make sbom`: what Muster is made of, as CycloneDX: every package of requirements.txt with the
hashes of its files and its licence, and what is kept in the repository itself.

    python .ci/sbom.py sbom.json
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VENDORED = (("htmx.org", "4.0.1", "0BSD", "console/static/htmx.min.js"),)
"""Name and version as npm has them, licence, file."""


def written(*arguments: str) -> dict[str, Any]:
    """What cyclonedx-py writes."""
    quiet = [sys.executable, "-W", "ignore::UserWarning", "-m", "cyclonedx_py"]
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--no-validate"]
    run = subprocess.run(  # noqa: S603
        [*quiet, arguments[0], *options, *arguments[1:]], cwd=ROOT, check=True, capture_output=True
    )
    bill: dict[str, Any] = json.loads(run.stdout)
    return bill


def vendored(name: str, version: str, licence: str, file: str) -> dict[str, Any]:
    """A component that is kept in the repository."""
    digest = hashlib.sha256((ROOT / file).read_bytes()).hexdigest()
    purl = f"pkg:npm/{name}@{version}"
    return {
        "bom-ref": purl,
        "type": "library",
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"license": {"id": licence}}],
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "evidence": {"occurrences": [{"location": file}]},
    }


def bill_of_materials() -> dict[str, Any]:
    """Hashes are in the requirements, licences with what is installed."""
    bill = written("requirements", "--short-PURLs", "requirements.txt")
    installed = written("environment", "--short-PURLs", sys.executable)["components"]
    licences = {one["purl"]: one.get("licenses") for one in installed if "purl" in one}
    for component in bill["components"]:
        del component["description"]  # the line of requirements.txt, hashes and all
        if found := licences.get(component["purl"]):
            component["licenses"] = found
    bill["components"] += [vendored(*each) for each in VENDORED]
    return bill


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill_of_materials(), indent=2, sort_keys=True) + "\n")
