// The handler that AWS's own streaming tutorials show, applied to OpenAI: fetch, then pipe. It does nothing else: no
// key store, no limits, no checks.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export const handler = awslambda.streamifyResponse(async (event, responseStream) => {
  const upstream = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
    body: event.isBase64Encoded ? Buffer.from(event.body, "base64") : event.body,
  });
  const http = awslambda.HttpResponseStream.from(responseStream, {
    statusCode: upstream.status,
    headers: { "content-type": upstream.headers.get("content-type") },
  });
  await pipeline(Readable.fromWeb(upstream.body), http);
});
