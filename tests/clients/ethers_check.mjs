// ethers 6, unmodified, against a devnet: argv = folder of ethers, URL, artifact.
// Prints one JSON object of what it saw; any surprise ends it with a non-zero status.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, url, artifactPath] = process.argv.slice(2);
const { ethers } = createRequire(folder + "/package.json")("ethers");
const artifact = JSON.parse(readFileSync(artifactPath, "utf8"));
const phrase = "test test test test test test test test test test test junk";
const wallet = (i, provider) =>
  ethers.HDNodeWallet.fromPhrase(phrase, undefined, `m/44'/60'/0'/0/${i}`).connect(provider);

// ethers keeps answers for 250 ms; a block here takes 20 ms, so a nonce kept would be an old one.
const http = new ethers.JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
http.pollingInterval = 50;
const seen = { chainId: Number((await http.getNetwork()).chainId) };

const owner = wallet(8, http);
const user = wallet(9, http);
const factory = new ethers.ContractFactory(artifact.abi, artifact.bytecode, owner);
const contract = await factory.deploy("Ethers co-op", "Deployed by ethers");
await contract.waitForDeployment();
seen.providerName = await contract.providerName();

// A base fee of 0 makes ethers choose type 0 by itself; type 2 is asked for.
const free = { type: 2, maxFeePerGas: 0n, maxPriorityFeePerGas: 0n };
const added = await (await contract.addUser(user.address, free)).wait();
seen.addedStatus = added.status;
seen.addedType = added.type;
seen.event = contract.interface.parseLog(added.logs[0]).name;

const legacy = await (await contract.connect(user).setUsage(777n, { type: 0 })).wait();
seen.legacyType = legacy.type;
seen.usage = (await contract.getUsage(user.address)).toString();

const found = await contract.queryFilter(contract.filters.UsageSet(user.address), added.blockNumber);
seen.queried = found.map((one) => one.args.usage.toString());

try {
  await contract.connect(user).addUser.staticCall(user.address);
  seen.error = "none";
} catch (error) {
  seen.error = `${error.revert?.name}(${error.revert?.args[0]})`;
  seen.expectedError = `NotProvider(${user.address})`;
}
try {
  const signed = await user.signTransaction({
    to: owner.address, nonce: 0, gasLimit: 21000, gasPrice: 0, chainId: 1947, type: 0 });
  await http.broadcastTransaction(signed);
  seen.nonceError = "none";
} catch (error) {
  seen.nonceError = error.code;
}

const ws = new ethers.WebSocketProvider(url.replace("http", "ws"));
const live = new ethers.Contract(await contract.getAddress(), artifact.abi, ws);
const heard = new Promise((resolve) => live.on("DebtSet", (usage, bill, who) => resolve([usage, bill, who])));
// When the subscription holds is not told: events are made until one is heard.
const pause = () => new Promise((resolve) => setTimeout(() => resolve([]), 500));
let bill;
for (let turn = 0; turn < 60 && bill === undefined; turn++) {
  await (await contract.setDebt(31n, 92n, user.address)).wait();
  [, bill] = await Promise.race([heard, pause()]);
}
const names = artifact.abi.find((one) => one.name === "DebtSet").inputs.map((one) => one.name);
seen.debtEvent = names.join(",");
seen.subscribed = bill !== undefined;

const batch = await Promise.all([...Array(40).keys()].map((i) => http.getBalance(wallet(i % 10, http).address)));
seen.batched = batch.length;
await ws.destroy();
http.destroy();
console.log(JSON.stringify(seen));
