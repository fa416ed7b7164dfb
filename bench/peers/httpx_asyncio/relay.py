"""The small relay that one would write with httpx on asyncio. Knows only the benchmark's event; handles no error."""

import asyncio
import base64
import json
import os

import httpx

PRELUDE_END = bytes(8)


async def read_head(reader: asyncio.StreamReader) -> dict[str, str]:
    await reader.readline()
    headers = {}
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return headers


async def main() -> None:
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = os.environ["OPENAI_API_KEY"]
    async with httpx.AsyncClient(base_url=os.environ["OPENAI_BASE_URL"], timeout=600) as client:
        while True:
            writer.write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n")
            headers = await read_head(reader)
            event = json.loads(await reader.readexactly(int(headers["content-length"])))
            body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
            sent = {"content-type": "application/json", "authorization": f"Bearer {key}"}
            async with client.stream("POST", "/chat/completions", content=body, headers=sent) as upstream:
                prelude = {
                    "statusCode": upstream.status_code,
                    "headers": {"content-type": upstream.headers["content-type"]},
                }
                request_id = headers["lambda-runtime-aws-request-id"]
                writer.write(
                    f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nhost: x\r\n"
                    "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
                    "Content-Type: application/vnd.awslambda.http-integration-response\r\n\r\n".encode()
                )
                write_chunk(writer, json.dumps(prelude).encode() + PRELUDE_END)
                async for chunk in upstream.aiter_raw():
                    write_chunk(writer, chunk)
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
            answered = await read_head(reader)
            await reader.readexactly(int(answered["content-length"]))


def write_chunk(writer: asyncio.StreamWriter, chunk: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))


asyncio.run(main())
