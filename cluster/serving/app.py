"""The HTTP application: routes over a Service, behind the Gate.

GET  /                     the page for briefs
GET  /preview              an empty document in a sandbox, which shows a page that it is sent
GET  /healthz              the number of healthy actors of each pool
GET  /v1/models            the model's name
POST /v1/chat/completions  chat completions in the form of OpenAI's API
POST /write                a page for a brief, as a stream of texts and drafts
POST /render               renders a page
POST /judge                judges a page, or compares two
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cluster.serving import page
from cluster.serving.answers import in_time
from cluster.serving.api_keys import ApiKeys
from cluster.serving.completions import ChatCompletions
from cluster.serving.environment import compared_answer, judged_answer, page_request, render_answer
from cluster.serving.gate import Gate, json_body, refused
from cluster.serving.limits import Limits
from cluster.serving.page_writer import PageWriter
from cluster.serving.refusal import Refusal
from cluster.serving.service import Service


class Api:
    """Handlers of the routes."""

    def __init__(self, service: Service, limits: Limits, *, needs_key: bool) -> None:
        self.service, self.limits = service, limits
        self.completions = ChatCompletions(service, limits)
        self.writer = PageWriter(service, limits)
        self.document = page.document_of(service.name, needs_key=needs_key, scored=service.scores_drafts)

    def routes(self) -> list[Route]:
        """All routes."""
        return [
            Route("/", self.show),
            Route("/preview", self.preview),
            Route("/healthz", self.healthz),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/write", self.write, methods=["POST"]),
            Route("/render", self.render, methods=["POST"]),
            Route("/judge", self.judge, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page for briefs."""
        return HTMLResponse(self.document, headers=page.HEADERS)

    async def preview(self, request: Request) -> Response:
        """The document in which the page for briefs shows a draft."""
        return HTMLResponse(page.PREVIEW, headers=page.PREVIEW_HEADERS)

    async def healthz(self, request: Request) -> Response:
        """The numbers of healthy actors; 503 while a pool has none."""
        healthy = dict(self.service.health())
        status = 200 if all(healthy.values()) else 503
        return JSONResponse({"status": "ok" if status == 200 else "unavailable", "healthy": healthy}, status)

    async def models(self, request: Request) -> Response:
        """The list of models, in the form of OpenAI's API."""
        model = {"id": self.service.name, "object": "model", "created": 0, "owned_by": "relook"}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> Response:
        """See `cluster.serving.completions`."""
        return await self.completions.answer(json_body(await request.body()))

    async def write(self, request: Request) -> Response:
        """See `cluster.serving.page_writer`."""
        return await self.writer.answer(json_body(await request.body()))

    async def render(self, request: Request) -> Response:
        """Renders a page and runs its probes."""
        asked = page_request(json_body(await request.body()), self.limits, needs_brief=False)
        render = await in_time(self.service.render(asked.task, asked.page), self.limits.timeout_s)
        return JSONResponse(render_answer(render, screenshots=asked.screenshots))

    async def judge(self, request: Request) -> Response:
        """Judges a page, or compares two."""
        asked = page_request(json_body(await request.body()), self.limits, needs_brief=True)
        if asked.other is not None:
            compared = self.service.compare(asked.task, asked.page, asked.other)
            return JSONResponse(compared_answer(await in_time(compared, self.limits.timeout_s)))
        judged = await in_time(self.service.judge(asked.task, asked.page), self.limits.timeout_s)
        return JSONResponse(judged_answer(judged, screenshots=asked.screenshots))


def application(service: Service, *, limits: Limits, keys: ApiKeys, host: str) -> Gate:
    """The ASGI application; `host` is the name under which clients without keys may address the server."""
    api = Api(service, limits, needs_key=bool(keys.digests))

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal), "registered for refusals only"
        return refused(error)

    app = Starlette(routes=api.routes(), exception_handlers={Refusal: refuse})
    return Gate(app, keys=keys, limits=limits, host=host)
