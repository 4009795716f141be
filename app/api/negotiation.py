"""Which of the media types on offer the caller prefers."""

from collections.abc import Iterator

from app.errors import NotAcceptable


def choose_media_type(accept: str | None, *offered: str) -> str:
    """Pick by RFC 9110 12.5.1: highest quality of the most specific range; on a tie the one offered first.

    No Accept header accepts everything. Raises: NotAcceptable: no offer is accepted; the detail names them.
    """
    ranges = dict(_ranges(accept or "*/*"))
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(f"Answers here are {' or '.join(offered)}.")
    return best


def is_from_a_browser(accept: str | None) -> bool:
    """Does it name HTML? Then a person looks, who takes anything, but would rather see a picture than read JSON."""
    return "text/html" in dict(_ranges(accept or "*/*"))


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for entry in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        yield media_range, next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)


def _number(text: str) -> float:
    """A quality that is no number between 0 and 1 counts as none at all."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    family = media_type.split("/")[0]
    specific_first = (media_type, f"{family}/*", "*/*")
    return next((ranges[known] for known in specific_first if known in ranges), 0.0)
