"""Answers that replace a page: errors, and the redirection to the sign-in."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.rendering import render
from console.session import PATH, Session

FORGED = (
    "This form is no longer valid",
    (
        "It came from another page or from a session that has ended, so nothing was changed. Go "
        "back, reload the page and send it again."
    ),
)


def problem(status: int, title: str, text: str, session: Session | None = None) -> HTMLResponse:
    """A page that says what is wrong and what to do."""
    return HTMLResponse(render("problem.html", title=title, text=text, session=session), status)


def to_sign_in(request: Request) -> Response:
    """Redirect to the sign-in page, which returns to this page."""
    safe = request.method in ("GET", "HEAD")
    path = request.url.path if safe else PATH
    query = f"?{request.url.query}" if request.url.query and safe else ""
    target = f"{PATH}/sign-in?path={quote(path + query, safe='')}"
    return RedirectResponse(target, 303)
