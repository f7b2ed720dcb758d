"""Pages for people: the API's description by Swagger UI, and what each error means.

Nothing on them is loaded from elsewhere: the package fastapi-swagger carries Swagger UI's files.
"""

import html
import re
from base64 import b64encode
from hashlib import sha256
from importlib import resources
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.codes import CODES
from api.problems import ERRORS_PATH

router = APIRouter(include_in_schema=False)

_START: Final = """\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Cuemill's API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_STYLE: Final = """
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif }
h2 { margin: 2rem 0 0; font: 600 1.1rem monospace }
p { margin: .3rem 0 }
:target { background: #fff3b0; color: #000 }
:root { color-scheme: light dark }
"""
_STYLE_SHA256: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()

# With an ETag, a file crosses the network once, and no page outlives an upgrade.
_VERSION: Final = version("fastapi-swagger")
_ASSET_HEADERS: Final = {"Cache-Control": "no-cache"}


@router.get("/docs")
async def show_api() -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/start.js")
async def get_start() -> Response:
    return Response(_START, media_type="text/javascript", headers=_ASSET_HEADERS)


@router.get("/docs/swagger-ui-bundle.js")
def get_script() -> Response:
    return _asset("swagger-ui-bundle.js", "text/javascript")


@router.get("/docs/swagger-ui.css")
def get_style() -> Response:
    return _asset("swagger-ui.css", "text/css")


@router.get("/docs/favicon-32x32.png")
def get_icon() -> Response:
    return _asset("favicon-32x32.png", "image/png")


@router.get(ERRORS_PATH)
async def explain_errors() -> Response:
    """The page that the `type` of each problem leads to."""
    policy = f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; frame-ancestors 'none'"
    parts = [
        "<!doctype html>\n<html lang='en'>\n<meta charset='utf-8'>\n",
        "<meta name='viewport' content='width=device-width'>\n",
        f"<title>Errors of Cuemill's API</title>\n<style>{_STYLE}</style>\n",
        "<h1>Errors of Cuemill's API</h1>\n",
    ]
    for name, code in CODES.items():
        statuses = " or ".join(map(str, code.statuses))
        parts.append(f"<h2 id='{name}'>{name}</h2>\n")
        parts.append(f"<p>Status {statuses}. {_to_html(code.meaning)}</p>\n")
        parts.append(f"<p>{_to_html(code.remedy)}</p>\n")

    return HTMLResponse("".join(parts), headers={"Content-Security-Policy": policy})


def _asset(name: str, media_type: str) -> Response:
    content = (resources.files("fastapi_swagger") / "resources" / name).read_bytes()
    headers = {**_ASSET_HEADERS, "ETag": f'"{_VERSION}"'}
    return Response(content, media_type=media_type, headers=headers)


def _to_html(markdown: str) -> str:
    return re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(markdown))
