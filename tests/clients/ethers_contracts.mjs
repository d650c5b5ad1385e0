// Each standard contract through ethers 6, unmodified: deployed from its artifact, one write with
// its event decoded, one refusal with its typed error decoded.
// argv = folder of ethers, URL, folder of artifacts. Prints one JSON object of what it saw.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, url, artifacts] = process.argv.slice(2);
const { ethers } = createRequire(folder + "/package.json")("ethers");
const http = new ethers.JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
http.pollingInterval = 50;
const phrase = "test test test test test test test test test test test junk";
const wallet = (i) =>
  ethers.HDNodeWallet.fromPhrase(phrase, undefined, `m/44'/60'/0'/0/${i}`).connect(http);
const [owner, other, third] = [6, 7, 8].map(wallet);
const nobody = ethers.ZeroAddress;
const seen = {};

async function deploy(name, ...args) {
  const artifact = JSON.parse(readFileSync(`${artifacts}/${name}.json`, "utf8"));
  const contract = await new ethers.ContractFactory(artifact.abi, artifact.bytecode, owner).deploy(...args);
  return contract.waitForDeployment();
}

async function write(contract, call) {
  const receipt = await (await call).wait();
  return receipt.logs.map((log) => contract.interface.parseLog(log)?.name);
}

async function refused(call) {
  try {
    await call;
    return "none";
  } catch (error) {
    return error.revert?.name;
  }
}

const coin = await deploy("wattcoin", "Wattcoin", "WATT");
await write(coin, coin.setSupplier(owner.address, 3000n, 1000n, true));
await write(coin, coin.issue(10n ** 21n));
seen.wattcoin = [
  await write(coin, coin.transfer(other.address, 5n)),
  await refused(coin.connect(third).transfer.staticCall(other.address, 1n)),
  (await coin.balanceOf(other.address)).toString(),
];
// A permit, as a wallet signs it.
const domain = { name: "Wattcoin", version: "1", chainId: 1947, verifyingContract: await coin.getAddress() };
const kinds = { Permit: ["owner", "spender", "value", "nonce", "deadline"].map((name, i) => (
  { name, type: i < 2 ? "address" : "uint256" })) };
const permit = { owner: other.address, spender: third.address, value: 4n, nonce: 0n, deadline: 2n ** 60n };
const signed = ethers.Signature.from(await other.signTypedData(domain, kinds, permit));
seen.permit = [
  await write(coin, coin.permit(...Object.values(permit).filter((_, i) => i !== 3), signed.v, signed.r, signed.s)),
  (await coin.DOMAIN_SEPARATOR()) === ethers.TypedDataEncoder.hashDomain(domain),
];

const grid = await deploy("microgrid", 900, 86400, nobody, nobody);
seen.microgrid = [
  await write(grid, grid.addRegulator(other.address)),
  await refused(grid.connect(third).addProducer.staticCall(third.address, "roof")),
];

// The published calls, by an interface that was not made from this contract.
const published = (who) => new ethers.Contract(grid.target, [
  "function availableEnergyAdvert(uint256 energyWh, uint256 proposedPrice)",
  "function requestForEnergy(uint256 energyWh, uint256 advertTime, uint256 proposedPrice, address producer) payable",
], who);
await write(grid, grid.connect(other).addProducer(third.address, "roof"));
seen.published = [await write(grid, grid.connect(third).storeEnergy(5000n))];
seen.published.push(await write(grid, published(third).availableEnergyAdvert(4000n, 1000n)));
const [time] = await grid.advertsOf(third.address);
const buyer = ethers.Wallet.createRandom().connect(http);
await (await owner.sendTransaction({ to: buyer.address, value: 10n ** 18n })).wait();
await write(grid, grid.connect(other).addConsumer(buyer.address, "flat"));
seen.published.push(
  await write(grid, published(buyer).requestForEnergy(1500n, time, 1000n, third.address, { value: 2000n })),
  (await http.getBalance(grid.target)).toString(),
);

const channels = await deploy("payment_channel");
const until = Math.floor(Date.now() / 1000) + 86400;
seen.channel = [
  await write(channels, channels.open(other.address, until, { value: 1000n })),
  await refused(channels.connect(third).close.staticCall(1n, 0n, "0x")),
  (await channels.channel(1n)).balance.toString(),
];
const payment = { channelId: 1n, amount: 400n };
const pays = { Payment: [{ name: "channelId", type: "uint256" }, { name: "amount", type: "uint256" }] };
const signature = await owner.signTypedData(
  { name: "PaymentChannel", version: "1", chainId: 1947, verifyingContract: await channels.getAddress() }, pays, payment);
seen.closed = await write(channels, channels.connect(other).close(1n, 400n, signature));

const billing = await deploy("billing", [10000000n, 10000n, 604800n, 60n], 2960000n, 0n, 0n);
seen.billing = [
  await write(billing, billing.enrol(other.address, third.address, 5n, 0n)),
  await refused(billing.connect(third).submit.staticCall(other.address, 1n, 1n)),
  (await billing.rules()).powerMaxW.toString(),
];

const metering = await deploy("metering", 3600, 0);
await write(metering, metering.enrol(other.address, third.address));
seen.metering = [
  await write(metering, metering.connect(other).recordMany(400000, [1250n, 0n], [0n, 30n], [1, 1])),
  await refused(metering.connect(other).record.staticCall(400001, 5n, 0n, 1)),
  (await metering.usageOfMonth(third.address, await metering.monthOf(await metering.dayOf(400000)))).join(),
];
const auction = await deploy("double_auction", await metering.getAddress(), 900, 7200, 1000n, 500000n);
seen.auction = [
  await write(auction, auction.deposit({ value: 1000000n })),
  await refused(auction.place.staticCall(1, other.address, 100n, 5)),
  (await auction.balanceOf(owner.address)).toString(),
  await write(auction, auction.connect(third).deposit({ value: 10n ** 9n })),
  await write(auction, auction.connect(third).place(4000000, other.address, -1000n, 5)),
  await refused(auction.release.staticCall(4000000, other.address)),
];
http.destroy();
console.log(JSON.stringify(seen));
