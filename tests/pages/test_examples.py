"""The examples of the README and of the site run as they are written."""

import pytest
from pages.conftest import MakeReader
from support.pages import pages


@pytest.mark.filterwarnings("ignore:OpenCV")  # supervision works without it, and says so
@pytest.mark.parametrize("page", pages())
def test_examples_of_a_page_run(page: str, make_reader: MakeReader) -> None:
    """A reader who follows a page from top to bottom comes to its end, and sees what it says."""
    make_reader(page).follow()
