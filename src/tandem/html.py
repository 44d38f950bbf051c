"""What every HTML page is made with: strict templates, and pictures that the page holds in itself."""

import base64
import io

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image


def templates(package: str, folder: str) -> Environment:
    """Those in a package's folder: what is put in is escaped, and what is lacking is an error."""
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(image: Image.Image, kind: str, **options) -> str:
    """The image as the address that shows it; `kind` and `options` as PIL saves it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
