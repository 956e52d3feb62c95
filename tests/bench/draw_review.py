"""Takes the pictures of docs/review.md, from the synthetic sample.

    python -m tests.bench.draw_review DATA_DIR REVIEW.jpg COVERAGE.jpg

``DATA_DIR`` is the data set that ``musclemap quickstart`` builds; nothing is written to it. Needs
Chromium.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import find_chromium

CLI = [sys.executable, "-m", "cli"]
FRAMES_IN = 30
"""How far into the clip: where the movement is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("review", type=Path)
    parser.add_argument("coverage", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        server = subprocess.Popen(
            [*CLI, "review", "--built", "--by", "ab", "--no-open", "--port", "0"]
            + ["--data", str(chosen.data), "--decisions", f"{folder}/decisions.csv"],
            stdout=-1, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+/", server.stdout.readline())
            if address is None:
                sys.exit("the page did not start")
            page.goto(address[0])
            page.wait_for_selector("#label")
            for _ in range(2):
                page.keyboard.press("Enter")
                page.wait_for_timeout(800)
            page.keyboard.press("Space")
            for _ in range(FRAMES_IN):
                page.keyboard.press("ArrowRight")
            page.wait_for_timeout(3000)  # until the word about the last decision is gone
            page.screenshot(path=chosen.review, type="jpeg", quality=85)
        finally:
            server.terminate()
        html = Path(folder) / "coverage.html"
        manifest = chosen.data.parent / "manifest.csv"
        words = ["coverage", "--data", str(chosen.data), "--html", str(html)]
        listed = ["--manifest", str(manifest)] if manifest.exists() else []
        subprocess.run([*CLI, *words, *listed], check=True, stdout=subprocess.DEVNULL)
        page.set_viewport_size({"width": 1280, "height": 1280})
        page.goto(html.as_uri())
        page.screenshot(path=chosen.coverage, type="jpeg", quality=85)
        browser.close()
    print(chosen.review, chosen.coverage)


if __name__ == "__main__":
    main()
