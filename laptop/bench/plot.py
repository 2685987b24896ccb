"""The comparison as a picture; it runs in `bench.peer`'s environment, which has matplotlib.

Reads from standard input {"title": …, "operations": […], "servers": {name: [requests/s, …]}} and
writes the PNG that its argument names.
"""

import json
import sys

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def main(path: str) -> None:
    """Draw it."""
    content = json.load(sys.stdin)
    operations, servers = content["operations"], content["servers"]
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(operations) + 1.2), dpi=110)
    height = 0.8 / len(servers)
    for index, (name, rates) in enumerate(servers.items()):
        positions = [number + index * height for number in range(len(operations))]
        drawn = axes.barh(positions, rates, height * 0.92, label=name)
        axes.bar_label(drawn, [f"{rate:,.4g}" for rate in rates], padding=3, fontsize=8)
    axes.set_yticks([number + 0.4 - height / 2 for number in range(len(operations))], operations)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("requests/s (logarithmic)")
    axes.set_title(content["title"], fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1])
