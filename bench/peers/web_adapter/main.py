"""The relay as Lambda Web Adapter's own FastAPI streaming example would be: a web application behind the adapter."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=os.environ["OPENAI_BASE_URL"], timeout=600) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def ready() -> dict[str, str]:
    return {}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> StreamingResponse:
    client = request.app.state.client
    headers = {"content-type": "application/json", "authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    asked = client.build_request("POST", "/chat/completions", content=await request.body(), headers=headers)
    upstream = await client.send(asked, stream=True)

    async def body() -> AsyncIterator[bytes]:
        try:
            async for chunk in upstream.aiter_raw():
                yield chunk
        finally:
            await upstream.aclose()

    return StreamingResponse(body(), upstream.status_code, media_type=upstream.headers["content-type"])
