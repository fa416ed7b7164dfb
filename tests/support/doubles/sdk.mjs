// OpenAI's JavaScript SDK against the relay: every endpoint once, what came of it as one JSON object on stdout.
// Arguments: the endpoint, the region. Credentials come from the environment.
import OpenAI, { toFile } from "openai";
import { signedFetch } from "../../../clients/signed_fetch.mjs";

const [url, region] = process.argv.slice(2);
const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey: "signed-with-aws", maxRetries: 0, fetch: signedFetch({ region }) });
const model = "gpt-5";
const messages = [{ role: "user", content: "Hi" }];
const collect = async (stream) => { const all = []; for await (const event of stream) all.push(event); return all; };
const raised = async (work) => { try { await work(); return "nothing"; } catch (error) { return `${error.status} ${error.code}`; } };

const chat = await sdk.chat.completions.create({ model, messages });
const chatStream = await collect(await sdk.chat.completions.create({ model, messages, stream: true }));
const response = await sdk.responses.create({ model, input: "Hi" });
const responseStream = await collect(await sdk.responses.create({ model, input: "Hi", stream: true }));
const embedding = await sdk.embeddings.create({ model, input: "Hi", encoding_format: "float" });
const moderation = await sdk.moderations.create({ input: "Hi" });
const image = await sdk.images.generate({ model, prompt: "a door" });
const imageStream = await collect(await sdk.images.generate({ model, prompt: "a door", stream: true }));
const counted = await sdk.responses.inputTokens.count({ model, input: "Hi" });
const compacted = await sdk.responses.compact({ model, input: "Hi" });
const picture = () => toFile(Buffer.from("not really a picture"), "a.png", { type: "image/png" });
const edit = await sdk.images.edit({ model, prompt: "a door", image: [await picture(), await picture()], n: 2 });
const edits = { model, prompt: "a door", image: await picture(), stream: true };
const editStream = await collect(await sdk.images.edit(edits));
const speech = Buffer.from(await (await sdk.audio.speech.create({ model: "tts-1", voice: "alloy", input: "Hi" })).arrayBuffer());
const file = await toFile(Buffer.from("not really audio"), "a.mp3");
const transcription = await sdk.audio.transcriptions.create({ model, file });
const models = (await collect(await sdk.models.list())).map((each) => each.id);

console.log(JSON.stringify({
  chat: chat.choices[0].message.content,
  chatStream: chatStream.map((each) => each.choices[0].delta.content ?? "").join(""),
  response: response.output_text,
  responseStream: [responseStream.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join(""),
                   responseStream.at(-1).type],
  embedding: embedding.data[0].embedding,
  moderation: moderation.results[0].flagged,
  image: image.data[0].b64_json,
  imageStream: imageStream.at(-1).b64_json.length,
  counted: counted.input_tokens,
  compacted: compacted.output.map((item) => item.type),
  edit: edit.data[0].b64_json,
  editStream: editStream.map((event) => event.type),
  speech: speech.length,
  transcription: transcription.text,
  models,
  unknownModel: await raised(() => sdk.chat.completions.create({ model: "gpt-6", messages })),
  unknownPath: await raised(() => sdk.files.list()),
}));
