"""The files of the pages: those of one page, and those that all pages share."""

from pathlib import Path

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from tandem.artifacts.vocabulary import palette_css

SHARED = Path(__file__).with_name("shared")


def page_routes(folder: Path) -> list[BaseRoute]:
    """The page in `folder`, shared/ and the palette; to come after all other routes."""
    return [
        Route("/palette.css", lambda request: Response(palette_css(), media_type="text/css")),
        Mount("/shared", StaticFiles(directory=SHARED)),
        Mount("/", StaticFiles(directory=folder, html=True)),
    ]
