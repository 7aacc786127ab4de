// llama.cpp through node-llama-cpp, whose build picks its kernels by the processor. The same lines as side.py.
//   node llamacpp.mjs FOLDER      (FOLDER holds node_modules)
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const index = path.join(process.argv[2], "node_modules", "node-llama-cpp", "dist", "index.js");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(index));
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (value) => process.stdout.write(JSON.stringify(value) + "\n");

const setup = JSON.parse((await lines.next()).value);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: setup.n_threads });
const model = await llama.loadModel({ modelPath: setup.file });
const isOne = setup.n_streams === 1;
const context = await model.createContext({
  sequences: setup.n_streams, contextSize: isOne ? 2048 : 512, threads: setup.n_threads,
  lora: setup.adapter ? { adapters: [{ filePath: path.join(setup.adapter, "adapter.gguf"), scale: 1 }] } : undefined,
});
const sequences = Array.from({ length: setup.n_streams }, () => context.getSequence());
tell({ about: `llama.cpp ${llama.llamaCppRelease.release}, ${llama.systemInfo}` });

async function reply(sequence, prompt, nNew, came) {
  await sequence.adaptStateToTokens(prompt.slice(0, -1), false); // what an earlier prompt shares with it stays
  const left = prompt.slice(sequence.nextTokenIndex);
  const tokens = [];
  for await (const token of sequence.evaluate(left, { temperature: 0, yieldEogToken: true })) {
    came.push(performance.now());
    tokens.push(token);
    if (tokens.length === nNew) break;
  }
  return tokens;
}

for await (const line of lines) {
  const { prompts, n_new: nNew } = JSON.parse(line);
  const came = [];
  const started = performance.now();
  const replies = await Promise.all(prompts.map((prompt, i) => reply(sequences[i], prompt, nNew, came)));
  const milliseconds = performance.now() - started;
  if (came.length !== nNew * prompts.length) throw new Error(`${came.length} tokens came`);
  const after = (came.at(-1) - came[0]) / 1000;
  tell({
    first_token_ms: came[0] - started, total_tokens_per_s: (1000 * came.length) / milliseconds,
    text: model.detokenize(replies[0], true).slice(0, 60),
    decode_tokens_per_s: after > 0 ? (came.length - 1) / after : null,
  });
}
