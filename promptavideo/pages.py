"""Pages made of this project's templates."""

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def page(template: str, **values: object) -> str:
    """A page made of one of the project's templates, in which every value is escaped."""
    environment = Environment(
        loader=PackageLoader("promptavideo"),
        autoescape=True,  # the file is called .j2, which select_autoescape would leave unescaped
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def asset(name: str) -> str:
    """A script or style sheet of the project's pages."""
    return (files("promptavideo") / "templates" / name).read_text(encoding="utf-8")


def embedded(content: Any) -> str:
    """JSON that a `<script type="application/json">` element may hold: nothing in it can end the element.

    >>> embedded({"prompt": "</script><!--"})
    '{"prompt":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
