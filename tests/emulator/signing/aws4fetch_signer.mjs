// Reads a JSON list of requests from stdin, signs each with aws4fetch, writes what goes on the wire as a JSON list.
import { AwsV4Signer } from "aws4fetch";

let text = "";
for await (const part of process.stdin) text += part;
const wire = [];
for (const { method, url, headers, body, identity, region } of JSON.parse(text)) {
  const signer = new AwsV4Signer({
    method,
    url,
    headers,
    body: body || undefined,
    accessKeyId: identity.access_key,
    secretAccessKey: identity.secret_key,
    sessionToken: identity.session_token || undefined,
    service: "lambda",
    region,
    allHeaders: true,
  });
  const signed = await signer.sign();
  wire.push({
    target: signed.url.pathname + signed.url.search,
    headers: [["host", signed.url.host], ...signed.headers],
  });
}
process.stdout.write(JSON.stringify(wire));
