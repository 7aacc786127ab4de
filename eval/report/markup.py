"""HTML in which every text is escaped unless it was built here."""

from html import escape


class Markup(str):
    """HTML that is shown as it is. Only `element` and `joined` make it from texts."""

    __slots__ = ()


Child = str | int | float | None


def element(tag: str, /, *children: Child, **attributes: Child) -> Markup:
    """`<tag>` with its children; texts and attributes are escaped, None is left out, `class_` is written class.

    Underscores in names of attributes become hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items() if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{joined(*children)}</{tag}>")


VOID = ("meta", "link", "br", "input")


def joined(*children: Child) -> Markup:
    """The children after each other."""
    return Markup("".join(
        child if isinstance(child, Markup) else escape(str(child)) for child in children if child is not None
    ))
