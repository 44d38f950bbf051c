"""The sample competition: scenes drawn with icon fonts, each with a caption; generated, not downloaded.

The drawings are glyphs of the fonts in the package `qtawesome` (https://github.com/spyder-ide/qtawesome, MIT), read
from its `fonts` folder without importing it. Its README states the licence of each font:

    Material Design Icons   https://github.com/Templarian/MaterialDesign       Apache License 2.0
    Remix Icon              https://github.com/Remix-Design/remixicon          Apache License 2.0
    Phosphor                https://github.com/phosphor-icons                  MIT
    Font Awesome Free 5, 6  https://github.com/FortAwesome/Font-Awesome        SIL Open Font License 1.1

Modules: `glyphs` (fonts to masks), `things` (kinds of objects) and `scenes` (objects and their positions), `textures`,
`landscape`, `backdrops` and `drawing` (pixels), `words` and `captions` (sentences).
"""

NAME = "sample"  # name of the competition
