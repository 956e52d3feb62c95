"""Takes the README's picture of ``musclemap browse``, from the synthetic sample.

    python -m tests.bench.draw_browse DATA_DIR OUT.jpg [--clip CLIP_ID]

``DATA_DIR`` is the data set that ``musclemap quickstart`` builds. Needs Chromium.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import find_chromium

FRAMES_IN = 30
"""How far into the clip: where the movement is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clip", default="synthetic_train_00_01")
    chosen = parser.parse_args()
    command = [sys.executable, "-m", "cli", "browse", "--no-open", "--port", "0"]
    server = subprocess.Popen([*command, "--data", str(chosen.data)], stdout=-1, text=True)
    try:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        if address is None:
            sys.exit("the page did not start")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto(f"{address[0].rstrip('/')}/#/clip/{chosen.clip}?split=train")
            page.wait_for_selector("[data-drawn]")
            for _ in range(FRAMES_IN):
                page.keyboard.press("ArrowRight")
            page.wait_for_timeout(1000)
            page.screenshot(path=chosen.out, type="jpeg", quality=85)
            browser.close()
    finally:
        server.terminate()
    print(chosen.out)


if __name__ == "__main__":
    main()
