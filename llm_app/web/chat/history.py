"""What the list of kept conversations shows: pure functions."""

import time

from llm_app.conversations.search import Found, Listing
from llm_app.conversations.shelf import Shelf
from llm_app.web.text import both, filled, inert
from llm_app.web.views import notice

DAY = 86_400


def listing_html(listing: Listing, open_id: str, wanted: str) -> str:
    """The list: a line each, newest first; what it is empty for; and files that are none of ours."""
    rows = "".join(_row(found, found.line.id == open_id) for found in listing.found)
    if not rows:
        rows = f'<p class="none">{both("nothing_found") if wanted else both("nothing_kept")}</p>'
    more = f'<p class="none">{both("n_more", n=listing.n_more)}</p>' if listing.n_more else ""
    return f'<div class="kept">{rows}{more}</div>{_damaged(listing)}'


def gone_notice(shelf: Shelf | None) -> str:
    """How many conversations had to go from the visitor's browser since this was last said."""
    n_gone = shelf.take_gone() if shelf is not None else 0
    return notice(both("kept_gone", n=n_gone), "warning") if n_gone else ""


def _row(found: Found, is_open: bool) -> str:
    item = found.line
    excerpt = f'<span class="excerpt">{inert(found.excerpt)}</span>' if found.excerpt else ""
    name = inert(item.name) or both("untitled")
    about = f'{_when(item.updated)} · {both("message_count", n=item.n_turns)}'
    state = ' class="row open"' if is_open else ' class="row"'
    remove = " · ".join(filled("delete"))
    return (
        f"<div{state}>"
        f'<button type="button" class="pick" name="open" value="{item.id}"><span class="name">{name}</span>{excerpt}'
        f'<span class="about">{about}</span></button>'
        f'<button type="button" class="remove" name="delete" value="{item.id}" title="{remove}" aria-label="{remove}">×'
        "</button></div>"
    )


def _when(seconds: float) -> str:
    """The time of today, else the date."""
    if not seconds:
        return both("some_day")
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d", then)


def _damaged(listing: Listing) -> str:
    if not listing.damaged:
        return ""
    names = ", ".join(listing.damaged[:3]) + (", …" if len(listing.damaged) > 3 else "")
    return notice(both("damaged_files", n=len(listing.damaged), names=names), "warning")
