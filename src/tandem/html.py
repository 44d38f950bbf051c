"""Strict Jinja templates, and images embedded in an HTML page."""

import base64
import io
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image


def templates(package: str, folder: str) -> Environment:
    """The templates in a package's folder: values are escaped, an undefined name is an error."""
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """The image as a data URI; `kind` and `options` are PIL's format and its options for saving."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
