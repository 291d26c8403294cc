// Chat through the gateway's proxies, with a tool that the AI SDK runs.
import { converse, plan } from "./turns.mjs";

const ai = await import(plan.ai);
const { createGitLab } = await import(plan.provider);
const provider = createGitLab({
  instanceUrl: plan.instance, aiGatewayUrl: plan.gateway ?? plan.instance, apiKey: plan.token,
});
const weather = ai.tool({
  description: "Tells the temperature in a city.",
  inputSchema: ai.jsonSchema({
    type: "object", properties: { city: { type: "string" } }, required: ["city"],
  }),
  execute: async ({ city }) => ({ city, celsius: city.length }),
});

await converse(ai, provider.agenticChat(plan.model), { weather });
