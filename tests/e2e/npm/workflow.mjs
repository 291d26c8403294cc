// A session on the agent platform: the tools that it asks for are carried out in `plan.folder`.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import * as ai from "ai6";
import { createGitLab } from "gitlab-ai-provider";
import { converse, plan, tell } from "./turns.mjs";

const at = (path) => resolve(plan.folder, path);
const carryOut = {
  read: ({ filePath }) => readFileSync(at(filePath), "utf8"),
  write: ({ filePath, content }) => (writeFileSync(at(filePath), content), "written"),
  edit: ({ filePath, oldString, newString }) => {
    const text = readFileSync(at(filePath), "utf8");
    if (!text.includes(oldString)) throw new Error("oldString not found");
    writeFileSync(at(filePath), text.replace(oldString, newString));
    return "edited";
  },
  bash: ({ command }) => {
    const done = spawnSync("sh", ["-c", command], { cwd: plan.folder, encoding: "utf8" });
    return `${done.stdout}${done.stderr}`;
  },
};
const schema = (...names) => ai.jsonSchema({
  type: "object", required: names,
  properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
});
const tools = {
  read: ai.tool({ description: "Read a file.", inputSchema: schema("filePath") }),
  write: ai.tool({ description: "Write a file.", inputSchema: schema("filePath", "content") }),
  edit: ai.tool({
    description: "Edit a file.", inputSchema: schema("filePath", "oldString", "newString"),
  }),
  bash: ai.tool({ description: "Run a command.", inputSchema: schema("command") }),
};

const provider = createGitLab({
  instanceUrl: plan.instance, aiGatewayUrl: plan.instance, apiKey: plan.token,
});
const model = provider.workflowChat(plan.model, {
  workingDirectory: plan.folder,
  ...(plan.approve === undefined ? {} : {
    approvalHandler: async (asked) => {
      tell({ asked });
      return { approved: plan.approve };
    },
  }),
});
model.toolExecutor = async (name, args) => {
  tell({ ran: name, args: JSON.parse(args) });
  try {
    return { result: String(carryOut[name](JSON.parse(args))) };
  } catch (error) {
    return { result: "", error: String(error.message) };
  }
};

await converse(ai, model, tools);
