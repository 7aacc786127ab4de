"""The application: routes, guards and how errors leave it."""

import os
import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from llm_app.api.access import HostCheck, KeyCheck, PathCheck, RateLimit, allowed_hosts
from llm_app.api.chat import add_chat_routes
from llm_app.api.classify import add_classify_routes
from llm_app.api.completions import add_completion_routes
from llm_app.api.edge import Edge
from llm_app.api.errors import on_http_exception, on_user_error
from llm_app.api.limits import BodyLimit
from llm_app.api.work import Work
from llm_app.errors import EngineUnavailable, ModelLoading, ShuttingDown, UserError
from llm_app.key_file import read_key_file
from llm_app.services import Services

PUBLIC_REQUESTS_PER_MINUTE = 60  # from one address, in public mode


def build_api(services: Services, environ: Mapping[str, str] | None = None) -> FastAPI:
    """The OpenAI-compatible API with its guards; a page mounted on it later stands behind the same guards.

    Raises: UserError if the API key file cannot be read.
    """
    environ = os.environ if environ is None else environ
    space_host = environ.get("SPACE_HOST")
    work = Work(services)
    # No /docs and /redoc: they load their scripts from another host.
    api = FastAPI(
        title="Proofbench", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json", redirect_slashes=False
    )
    for add_routes in (
        add_health_routes, add_model_routes, add_chat_routes, add_completion_routes, add_classify_routes,
    ):
        add_routes(api, work)
    # Whatever else lies under these paths is ours to refuse, not the page's.
    for path in ("/v1", "/v1/{rest:path}", "/health", "/health/{rest:path}"):
        api.router.routes.append(Route(path, _Nothing(api), include_in_schema=False))
    api.add_exception_handler(UserError, on_user_error)
    api.add_exception_handler(HTTPException, on_http_exception)
    _add_guards(api, services, space_host)
    return api


def _add_guards(api: FastAPI, services: Services, space_host: str | None) -> None:
    """Innermost first, since each one added wraps those before it."""
    serve = services.serve
    # Allows no other origin; Gradio leaves its own, laxer rules out where it finds this one.
    api.add_middleware(CORSMiddleware, allow_origins=[])
    api.add_middleware(BodyLimit)
    api.add_middleware(PathCheck)
    if serve.api_key_file is not None:
        api.add_middleware(KeyCheck, key=read_key_file(serve.api_key_file, param="api_key_file"))
    if services.settings.is_public:
        api.add_middleware(RateLimit, per_minute=PUBLIC_REQUESTS_PER_MINUTE, behind_proxy=space_host is not None)
    hosts = allowed_hosts(serve.host, serve.allowed_hosts, space_host)
    api.add_middleware(HostCheck, hosts=hosts, behind_proxy=space_host is not None)
    api.add_middleware(Edge, on_space=space_host is not None)


class _Nothing:
    """Answers what no route does: 405 where another method would be answered, else 404."""

    def __init__(self, api: FastAPI) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise what the error handler turns into the answer."""
        methods: set[str] = set()
        for route in self._api.routes:
            if isinstance(route, Route) and route.methods and route.matches(scope)[0] is Match.PARTIAL:
                methods |= route.methods
        if methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(methods))})
        raise HTTPException(404)


def add_health_routes(api: FastAPI, work: Work) -> None:
    """Liveness asks nothing of the engine; readiness says why not, where it is not."""
    @api.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @api.get("/health/ready")
    async def ready() -> dict[str, Any]:
        """A model answers."""
        status = work.host.status()
        if status.state == "stopping":
            raise ShuttingDown("The server is shutting down.", retry_after_seconds=30)
        if status.state == "failed":
            raise EngineUnavailable(status.reason or "The engine has failed.", retry_after_seconds=30)
        if status.model is None:
            reason = "No model is loaded."
            if status.state == "loading":
                reason = f"The model is being loaded ({status.phase}, {100 * status.fraction:.0f} %)."
            raise ModelLoading(reason, retry_after_seconds=2)
        remote = work.host.remote
        name = work.host.loaded.entry.id if remote is None else remote.address.model
        return {"status": "ready", "model": name, "precision": status.precision,
                "n_running": status.n_running, "n_waiting": status.n_waiting}



def add_model_routes(api: FastAPI, work: Work) -> None:
    """The ids that may stand in `model`."""
    started = int(time.time())

    def described(model_id: str) -> dict[str, Any]:
        target = work.target(model_id)
        return {
            "id": model_id, "object": "model", "created": started, "owned_by": "proofbench",
            # As vLLM has it, and what tells one model of this name from another.
            "max_model_len": target.loaded.n_context, "system_fingerprint": target.fingerprint,
        }  # fmt: skip

    @api.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The loaded model, and the same with each adapter attached to it."""
        return {"object": "list", "data": [described(model_id) for model_id in work.model_ids()]}

    @api.get("/v1/models/{model_id:path}")
    async def model(model_id: str) -> dict[str, Any]:
        """One of them."""
        return described(model_id)



