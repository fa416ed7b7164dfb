// A `fetch` that signs for a Lambda Function URL, for OpenAI's JavaScript SDK. Knows aws4fetch (one file, no
// dependencies) and what is standard in Node, Deno, Bun, workers and browsers; nothing of Node alone.
//
//   import OpenAI from "openai";
//   import { signedFetch, endpoint } from "./signed_fetch.mjs";
//   const relay = new OpenAI({ baseURL: endpoint(url), apiKey: "signed-with-aws", fetch: signedFetch({ url }) });
//
// Credentials of profiles, SSO and roles: `credentials: fromNodeProviderChain()` of @aws-sdk/credential-providers.
import { AwsV4Signer } from "aws4fetch";

// docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html: https://<url-id>.lambda-url.<region>.on.aws
const FUNCTION_URL_HOST = /^[^.]+\.lambda-url\.([a-z0-9-]+)\.on\.aws$/;

/** Reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Throws when there are none. */
export const fromEnvironment = async () => {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = globalThis.process?.env ?? {};
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY) {
    throw new Error("There are no AWS credentials in the environment: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
      + "or give `credentials`, such as fromNodeProviderChain() of @aws-sdk/credential-providers.");
  }
  return { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY, sessionToken: AWS_SESSION_TOKEN };
};

/** Returns the SDK's baseURL for "https://host", "https://host/" and "https://host/v1". Throws for what is no URL. */
export function endpoint(url) {
  return `${parsed(url).href.replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "")}/v1`;
}

/**
 * Returns a `fetch` that signs. `url` is the Function URL, or the distribution in front of it; `signHost` is the
 * Function URL's host in the latter case. The region is read from the Function URL's name when there is one. Throws
 * at once when there is no region. `credentials` is asked before every request.
 *
 * Credentials that fail, and AWS's refusals, arrive as errors in OpenAI's shape: the SDK would retry an exception and
 * report it as "Connection error.", and does not show AWS's shape. Only headers that no hop changes are signed.
 */
export function signedFetch({ url = "", region = "", credentials = fromEnvironment, signHost = "", fetch = globalThis.fetch } = {}) {
  const host = signHost && parsed(signHost.includes("://") ? signHost : `https://${signHost}`).host;
  const hostname = (host || (url && parsed(url).host)).replace(/:\d+$/, "");
  const env = globalThis.process?.env ?? {};
  const signRegion = region || FUNCTION_URL_HOST.exec(hostname)?.[1] || env.AWS_REGION || env.AWS_DEFAULT_REGION;
  if (!signRegion) throw new Error("There is no AWS region: give `region`, or `url` with the Function URL, or set AWS_REGION.");
  return async (input, init = {}) => {
    const request = new Request(input, { ...init, ...(init.body instanceof ReadableStream && { duplex: "half" }) });
    const body = request.body === null ? new Uint8Array() : new Uint8Array(await request.arrayBuffer());
    const target = new URL(request.url);
    target.pathname = target.pathname.replace(/^\/+/, "/").replace(/^\/v1\/+v1\//, "/v1/");
    let headers;
    try {
      headers = await signed(request, target, body, { credentials, region: signRegion, host });
    } catch (error) {
      const told = openaiError(`The request was not sent: ${error.message}`, "aws_credentials");
      return new Response(told, { status: 401, headers: { ...JSON_TYPE, "x-should-retry": "false" } });
    }
    // Redirects are refused: the headers that sign for one host must not travel to another.
    return inOpenaiShape(await fetch(target.href, {
      ...init, method: request.method, headers, redirect: "error", signal: request.signal,
      body: request.body === null ? undefined : body,
    }));
  };
}

async function signed(request, target, body, { credentials, region, host }) {
  const url = new URL(target);
  if (host) {
    url.port = ""; // assigning a host without a port would keep the old one
    url.host = host;
  }
  const keys = await credentials();
  if (!keys?.accessKeyId || !keys?.secretAccessKey) throw new Error("`credentials` returned no accessKeyId or no secretAccessKey.");
  const { accessKeyId, secretAccessKey, sessionToken } = keys;
  const signer = new AwsV4Signer({
    accessKeyId, secretAccessKey, sessionToken, service: "lambda", region, method: request.method, url,
    headers: { "x-amz-content-sha256": await sha256(body) },
  });
  const headers = new Headers(request.headers);
  (await signer.sign()).headers.forEach((value, name) => headers.set(name, value));
  return headers;
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function parsed(url) {
  try {
    const { protocol } = new URL(url);
    if (protocol === "http:" || protocol === "https:") return new URL(url);
  } catch { /* told below */ }
  throw new Error(`The URL is '${url}'; allowed: one with a scheme, such as https://abc.lambda-url.eu-central-1.on.aws`);
}

const JSON_TYPE = { "content-type": "application/json" };

// The same as in signing.py: what AWS writes into a refusal, in lower case, and what to do; the first that fits counts.
const ADVICE = [
  [["token included in the request is expired", "expiredtoken"],
    "The AWS credentials have expired: run `aws sso login` (with --profile NAME where you use one)."],
  [["token included in the request is invalid"],
    "AWS does not know these credentials: check AWS_ACCESS_KEY_ID; temporary ones need AWS_SESSION_TOKEN, too."],
  [["scoped to a valid region", "scoped to correct service"],
    "The request was signed for another region: give the one in the Function URL's name."],
  [["signature expired", "not yet current", "date in credential scope"],
    "The clock of this machine differs from AWS's by more than five minutes: set it."],
  [["does not match"], "Check AWS_SECRET_ACCESS_KEY; behind CloudFront, sign for the Function URL's host (sign_host)."],
  [["missing authentication token"], "The signature did not arrive: does a proxy drop the Authorization header?"],
  [["forbidden", "not authorized", "access denied"],
    "These credentials may not call this URL: the caller's IAM policy or the relay's `invokers` must allow "
    + "lambda:InvokeFunctionUrl and lambda:InvokeFunction."],
  [["rate exceeded", "toomanyrequests", "too many requests"],
    "All of the function's concurrency is in use: try again, or raise `reserved_concurrency`."],
];

/** Returns what to do about a refusal in AWS's words, or "" when nothing is known. */
export function advice(message) {
  const lower = message.toLowerCase();
  return ADVICE.find(([parts]) => parts.some((part) => lower.includes(part)))?.[1] ?? "";
}

function openaiError(message, code) {
  return JSON.stringify({ error: { message, type: "aws_error", param: null, code } });
}

/** Returns AWS's `{"Message": ...}` as an error in OpenAI's shape; any other response as it is. */
async function inOpenaiShape(response) {
  if (response.ok || !(response.headers.get("content-type") ?? "").includes("json")) return response;
  const text = await response.clone().text();
  let fields;
  try { fields = JSON.parse(text); } catch { return response; }
  const message = fields?.error === undefined ? fields?.Message ?? fields?.message : undefined;
  if (typeof message !== "string") return response;
  const code = (response.headers.get("x-amzn-errortype") ?? "").split(":")[0] || "aws";
  const headers = new Headers(response.headers);
  for (const name of ["content-length", "content-encoding", "transfer-encoding"]) headers.delete(name);
  const told = [`AWS: ${message.replace(/\.+$/, "")}.`, advice(message)].filter(Boolean).join(" ");
  return new Response(openaiError(told, code), { status: response.status, headers });
}
