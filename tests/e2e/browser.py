"""
A headless Chromium that keeps a screenshot of every step.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

# Ignored by git.
SCREENSHOTS = Path(__file__).resolve().parent.parent.parent / ".cache" / "screenshots"
PATIENCE = 60.0
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,900",
]


class Browser:
    """
    What a visitor does: open pages, click, fill in, look.
    """

    def __init__(self, driver: Chrome, name: str) -> None:
        self.driver = driver
        self._name = name
        self._steps = 0

    def open(self, url: str) -> None:
        self.driver.get(url)
        self._keep()

    def open_when_back(self, url: str) -> None:
        """
        Do as the page of an outage asks: try again, until the store is known to be back.
        """

        def is_back(driver: WebDriver) -> bool:
            self.open(url)
            return self.status != 503

        WebDriverWait(self.driver, PATIENCE).until(is_back)

    def click(self, selector: str) -> None:
        """
        Click, and wait for the page that follows.
        """
        element = self.find(selector)
        element.click()
        WebDriverWait(self.driver, PATIENCE).until(lambda driver: _is_gone(element))
        self._keep()

    def fire(self, selector: str, until: str) -> str:
        """
        Click what stays on the page, and return the text that appears.
        """
        self.find(selector).click()
        WebDriverWait(self.driver, PATIENCE).until(
            lambda driver: self.text(until) not in ("", "Firing…")
        )
        self._keep()
        return self.text(until)

    def fill(self, selector: str, text: str) -> None:
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shows(self, selector: str) -> bool:
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        return self.find(selector).text

    @property
    def status(self) -> int:
        """
        The HTTP status of the page on show.
        """
        script = "return performance.getEntriesByType('navigation')[0].responseStatus"
        status: int = self.driver.execute_script(script)
        return status

    @property
    def cookie(self) -> str | None:
        found = self.driver.get_cookie("sessionid")
        return str(found["value"]) if found else None

    def put_cookie(self, value: str) -> None:
        self.driver.add_cookie({"name": "sessionid", "value": value, "httpOnly": True})

    def _keep(self) -> None:
        self._steps += 1
        self.driver.save_screenshot(SCREENSHOTS / f"{self._name}-{self._steps:02}.png")


def _is_gone(element: WebElement) -> bool:
    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:
        # While one page takes the place of another, the driver says it in this way.
        if "does not belong to the document" not in str(error):
            raise
        return True
    return False


@contextmanager
def chromium(name: str, profile: Path) -> Iterator[Browser]:
    """
    name: of the screenshots. profile: an empty folder.
    """
    programs = [shutil.which(program) for program in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.fail(
            "Chromium and its driver are needed, and not installed. On Debian: "
            "`apt-get install chromium chromium-driver`, which .ci/install-system does; elsewhere "
            "put the commands chromium and chromedriver on PATH."
        )
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    options = ChromeOptions()
    options.binary_location = programs[0] or ""
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService(programs[1]))
    try:
        yield Browser(driver, name)
    finally:
        driver.quit()
