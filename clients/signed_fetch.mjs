// A `fetch` that signs for a Lambda Function URL, for OpenAI's JavaScript SDK. Knows aws4fetch (one file, no
// dependencies); must not know where credentials come from: pass a function, it is asked before every request.
//
//   import OpenAI from "openai";
//   import { fromNodeProviderChain } from "@aws-sdk/credential-providers";
//   import { signedFetch } from "./signed_fetch.mjs";
//   const relay = new OpenAI({ baseURL: `${url}/v1`, apiKey: "signed-with-aws",
//                              fetch: signedFetch({ credentials: fromNodeProviderChain(), region: "eu-central-1" }) });
import { AwsV4Signer } from "aws4fetch";

export const fromEnvironment = async () => ({
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  sessionToken: process.env.AWS_SESSION_TOKEN,
});

/**
 * `signHost` is the Function URL's host when requests go to a CloudFront distribution in front of it.
 * Only headers that no hop changes are signed; the SDK's others travel unsigned.
 */
export function signedFetch({ region, credentials = fromEnvironment, signHost, fetch = globalThis.fetch }) {
  return async (input, init = {}) => {
    const request = new Request(input, init);
    const body = request.body === null ? new Uint8Array() : new Uint8Array(await request.arrayBuffer());
    const url = new URL(request.url);
    if (signHost) {
      url.port = ""; // assigning a host without a port would keep the old one
      url.host = signHost;
    }
    const { headers: signed } = await new AwsV4Signer({
      ...(await credentials()), service: "lambda", region, method: request.method, url,
      headers: { "x-amz-content-sha256": await sha256(body) },
    }).sign();
    const headers = new Headers(request.headers);
    signed.forEach((value, name) => headers.set(name, value));
    // Redirects are refused: the headers that sign for one host must not travel to another.
    return fetch(request.url, { ...init, method: request.method, headers, redirect: "error",
                                body: request.body === null ? undefined : body });
  };
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Buffer.from(digest).toString("hex");
}
