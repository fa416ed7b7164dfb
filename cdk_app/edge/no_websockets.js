// Answers a WebSocket's handshake at the edge, so that it costs no invocation. CloudFront Functions, runtime 2.0.
// `Upgrade` is among the headers that a function of CloudFront's neither sees nor may send; the handshake's key is left.
// docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/edge-function-restrictions-all.html
var TEXT =
  'WebSocket and realtime connections are not supported: a Lambda Function URL carries one HTTP request and its ' +
  'response. Use POST /v1/responses or /v1/chat/completions with stream: true.';

function handler(event) {
  var request = event.request;
  if (!request.headers['sec-websocket-key']) {
    return request;
  }
  var error = { message: TEXT, type: 'invalid_request_error', param: null, code: 'websockets_not_supported' };
  return {
    statusCode: 426,
    statusDescription: 'Upgrade Required',
    headers: {
      'content-type': { value: 'application/json' },
      'cache-control': { value: 'no-store' },
      'x-should-retry': { value: 'false' },
    },
    body: { encoding: 'text', data: JSON.stringify({ error: error }) },
  };
}
