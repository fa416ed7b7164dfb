// Reads {"pieces": [base64, ...]} per line, answers [[event, data], ...] per line: what eventsource-parser makes of it.
import { createInterface } from "node:readline";
import { createParser } from "eventsource-parser";

for await (const line of createInterface({ input: process.stdin })) {
  const events = [];
  const parser = createParser({ onEvent: ({ event, data }) => events.push([event ?? "message", data]) });
  const decoder = new TextDecoder("utf-8");
  for (const piece of JSON.parse(line).pieces) {
    parser.feed(decoder.decode(Buffer.from(piece, "base64"), { stream: true }));
  }
  console.log(JSON.stringify(events));
}
