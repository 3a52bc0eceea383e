// Asks by Node's OpenAI client all that the test looks at, prints it as one JSON object.
// node ask.mjs BASE_URL KEY MODEL

import OpenAI from "openai";

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const words = (text) => text.split(/\s+/).filter(Boolean).length;
const hello = [{ role: "user", content: "one two three" }];
const call = [{ role: "user", content: '[[call weather {"city": "Bern"}]] [[call weather {"city": "Basel"}]]' }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const asking = { model, max_tokens: 40 };
const told = {};

const { data: whole, response } = await client.chat.completions.create({ ...asking, messages: hello }).withResponse();
told.whole = [whole.usage.prompt_tokens, whole.usage.completion_tokens, words(whole.choices[0].message.content)];
told.cost = response.headers.get("x-llmobs-cost-usd");

let text = "";
let usage = null;
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ ...asking, ...options, messages: hello })) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
told.stream = [usage.prompt_tokens, usage.completion_tokens, words(text)];

const helper = client.chat.completions.stream({ ...asking, tools, messages: call });
const message = (await helper.finalChatCompletion()).choices[0].message;
told.calls = message.tool_calls.map((one) => [one.function.name, JSON.parse(one.function.arguments).city]);
const results = message.tool_calls.map((one) => ({ role: "tool", tool_call_id: one.id, content: "sun" }));
const after = await client.chat.completions.create({ ...asking, tools, messages: [...call, message, ...results] });
told.after = words(after.choices[0].message.content);

const refused = async (one, options) => {
  try {
    await client.chat.completions.create({ ...asking, messages: hello, ...one }, options);
    return "answered";
  } catch (error) {
    return error.constructor.name;
  }
};
told.refused = [
  await refused({}, { headers: { authorization: "Bearer llmobs-wrong" } }),
  await refused({ model: "no-such-model" }),
  await refused({ messages: [] }),
];

console.log(JSON.stringify(told));
