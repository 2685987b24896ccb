"""`make sbom`: what Muster is made of, as CycloneDX: every package of requirements.txt with the
hashes of its files and its licence. Nobody else's code is kept in the repository.

    python .ci/sbom.py sbom.json
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def written(*arguments: str) -> dict[str, Any]:
    """What cyclonedx-py writes."""
    quiet = [sys.executable, "-W", "ignore::UserWarning", "-m", "cyclonedx_py"]
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--no-validate"]
    run = subprocess.run(  # noqa: S603
        [*quiet, arguments[0], *options, *arguments[1:]], cwd=ROOT, check=True, capture_output=True
    )
    bill: dict[str, Any] = json.loads(run.stdout)
    return bill


def bill_of_materials() -> dict[str, Any]:
    """Hashes are in the requirements, licences with what is installed."""
    bill = written("requirements", "--short-PURLs", "requirements.txt")
    installed = written("environment", "--short-PURLs", sys.executable)["components"]
    licences = {one["purl"]: one.get("licenses") for one in installed if "purl" in one}
    for component in bill["components"]:
        del component["description"]  # the line of requirements.txt, hashes and all
        if found := licences.get(component["purl"]):
            component["licenses"] = found
    return bill


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill_of_materials(), indent=2, sort_keys=True) + "\n")
