// What the drivers share: the plan they are given, and turns of a conversation told line by line.
import { createInterface } from "node:readline";

export const plan = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const tell = (fact) => process.stdout.write(JSON.stringify(fact) + "\n");

const reason = (error) => ({ message: String(error?.message ?? error), status: error?.statusCode });

async function turn(ai, model, tools, messages) {
  const told = { text: "", calls: [], results: [], errors: [] };
  const abort = new AbortController();
  const result = ai.streamText({
    model, tools, messages,
    stopWhen: ai.stepCountIs(8),
    maxRetries: 0,
    abortSignal: abort.signal,
    onError: () => {},
  });
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") told.text += part.text;
    if (part.type === "tool-call") told.calls.push({ name: part.toolName, input: part.input });
    if (part.type === "tool-result") told.results.push({ name: part.toolName, output: part.output });
    if (part.type === "error") told.errors.push(reason(part.error));
    if (part.type === "finish") told.finish = part.finishReason;
    if (part.type === "finish") told.usage = part.totalUsage;
    if (plan.abortAfter && told.text.includes(plan.abortAfter)) {
      // As a person who leaves: what still comes is not waited for.
      abort.abort();
      told.aborted = true;
      break;
    }
  }
  if (told.errors.length || told.aborted) return { told, answer: [] };
  return { told, answer: (await result.response).messages };
}

// Every prompt is a turn of one conversation; with `pause` each but the first waits for a line.
export async function converse(ai, model, tools) {
  const messages = [];
  for (const [place, prompt] of plan.prompts.entries()) {
    if (place && plan.pause) await lines.next();
    messages.push({ role: "user", content: prompt });
    const { told, answer } = await turn(ai, model, tools, messages);
    messages.push(...answer);
    tell({ turn: place, ...told });
  }
  process.exit(0);
}
