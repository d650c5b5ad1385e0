// Compiles a Solidity contract, deploys it in an EVM and runs calls one after the other.
// In:  {source, name, arguments, calls: [{sender, data, value}]}, hex without 0x.
// Out: {results: [{failed, output, logs}], storage: {slot: word}}
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const modules = process.argv[2];
const require = createRequire(pathToFileURL(join(modules, "none.js")));
const solc = require("solc");
const { createEVM } = require("@ethereumjs/evm");
const { Account, createAddressFromString, hexToBytes, bytesToHex } = require("@ethereumjs/util");

const job = JSON.parse(readFileSync(0, "utf8"));
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: { "a.sol": { content: job.source } },
      settings: { outputSelection: { "*": { "*": ["evm.bytecode.object"] } } },
    }),
  ),
);
const errors = (output.errors || []).filter((each) => each.severity === "error");
if (errors.length) throw new Error(JSON.stringify(errors));
const bytecode = output.contracts["a.sol"][job.name].evm.bytecode.object;

const evm = await createEVM();
const hex = (bytes) => bytesToHex(bytes).slice(2);
const run = (sender, data, value, to) =>
  evm.runCall({
    caller: createAddressFromString("0x" + sender),
    origin: createAddressFromString("0x" + sender),
    data: hexToBytes("0x" + data),
    value: BigInt(value),
    gasLimit: 30_000_000n,
    to,
  });
for (const { sender } of job.calls) {
  const account = new Account(0n, 10n ** 20n);
  await evm.stateManager.putAccount(createAddressFromString("0x" + sender), account);
}
const made = await run(job.calls[0].sender, bytecode + job.arguments, 0);
if (made.execResult.exceptionError) throw new Error("constructor failed");
const results = [];
for (const { sender, data, value } of job.calls) {
  await evm.journal.cleanup();
  const { execResult } = await run(sender, data, value, made.createdAddress);
  results.push({
    failed: execResult.exceptionError !== undefined,
    output: hex(execResult.returnValue),
    logs: execResult.exceptionError
      ? []
      : (execResult.logs || []).map(([, topics, data]) => [topics.map(hex), hex(data)]),
  });
}
const storage = {};
const prefix = made.createdAddress.toString().slice(2);
for (const [key, word] of evm.stateManager.storageStack[0]) {
  const text = String(key).replace(/^0x/, "");
  if (text.startsWith(prefix)) storage[text.slice(-64)] = hex(word).padStart(64, "0");
}
process.stdout.write(JSON.stringify({ results, storage }));
