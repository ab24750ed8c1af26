// huggingface.js at a hub. Arguments: the folder of its node_modules, the hub, a folder for its cache, a token that is
// on the gated list. One JSON object as the last line: feature -> value, or {error, text, status, body}.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

const [modules, hubUrl, home, accessToken] = process.argv.slice(2);
const require = createRequire(join(modules, "node_modules/"));
const hub = require("@huggingface/hub");
const { version } = JSON.parse(readFileSync(join(modules, "node_modules/@huggingface/hub/package.json")));

const repo = "acme/tiny-bert";
const data = { type: "dataset", name: "acme/reviews" };
const spotless = "globex/solid-7b"; // no rule refuses anything of it
const app = { type: "space", name: "acme/demo" };
const sha256 = (bytes) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");
const whole = async (blob) => (blob === null ? null : [blob.size, sha256(await blob.arrayBuffer())]);
const all = async (rows) => {
  const kept = [];
  for await (const row of rows) kept.push(row);
  return kept;
};
const file = (options) => hub.downloadFile({ repo, hubUrl, ...options });
const info = async (path) => {
  const found = await hub.fileDownloadInfo({ repo, hubUrl, path });
  return found && [{ size: found.size, etag: found.etag }, found.xet !== undefined];
};
const withoutXet = ({ xetHash, ...row }) => row;
const on = (folder) =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true })
      .map((name) => join(folder, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => [relative(folder, path), sha256(readFileSync(path))]),
  );
const upload = (name) => hub.uploadFile({ repo: name, hubUrl, accessToken, file: { path: "x.txt", content: new Blob(["x"]) } });

const features = {
  model: () => hub.modelInfo({ name: spotless, hubUrl, additionalFields: ["sha", "tags", "cardData", "filePaths"] }),
  "model v1": () => hub.modelInfo({ name: repo, hubUrl, revision: "v1.0", additionalFields: ["sha"] }),
  "dataset and space": async () => [
    await hub.datasetInfo({ name: data.name, hubUrl, additionalFields: ["sha", "cardData"] }),
    await hub.spaceInfo({ name: app.name, hubUrl, additionalFields: ["sha"] }),
  ],
  "old name": () => hub.modelInfo({ name: "acme/old-name", hubUrl }),
  models: async () => [
    ...(await all(hub.listModels({ hubUrl, search: { owner: "acme" } }))),
    ...(await all(hub.listModels({ hubUrl, sort: "likes", limit: 5 }))),
  ],
  datasets: () => all(hub.listDatasets({ hubUrl, search: { owner: "acme" } })),
  files: () => all(hub.listFiles({ repo: "acme/many-files", hubUrl, recursive: true })),
  "files in a folder": () => all(hub.listFiles({ repo: "acme/many-files", path: "shard-03", hubUrl, expand: true })),
  "some paths": async () => [
    ...(await hub.pathsInfo({ repo, hubUrl, paths: ["config.json", "nothing.txt"], expand: true })),
    ...(await hub.pathsInfo({ repo, hubUrl, paths: ["model.safetensors"] })).map(withoutXet),
  ],
  "large paths": () => hub.pathsInfo({ repo, hubUrl, paths: ["model.safetensors"] }),
  exists: async () => [
    await hub.fileExists({ repo, hubUrl, path: "config.json" }), await hub.fileExists({ repo, hubUrl, path: "nothing.txt" }),
    await hub.repoExists({ repo, hubUrl }), await hub.repoExists({ repo: "acme/never-was", hubUrl }),
  ],
  commits: async () => [await all(hub.listCommits({ repo, hubUrl, batchSize: 1 })), await hub.countCommits({ repo, hubUrl })],
  sizes: async () => [(await info("config.json"))[0], (await info("model.safetensors"))[0], await info("nothing.txt")],
  Xet: async () => (await info("model.safetensors"))[1],
  small: async () => whole(await file({ path: "config.json" })),
  "small, branch": async () => whole(await file({ path: "notes.txt", revision: "feature/x" })),
  "small, dataset": async () => whole(await file({ repo: data, path: "data/train.csv" })),
  large: async () => whole(await file({ path: "model.safetensors" })),
  "large, no Xet": async () => whole(await file({ path: "model.safetensors", xet: false })),
  middle: async () => whole((await file({ path: "model.safetensors", xet: false })).slice(1000, 90_001)),
  pointer: async () => (await file({ path: "model.safetensors", raw: true })).text(),
  absent: async () => whole(await file({ path: "nothing.txt" })),
  tensors: () => hub.parseSafetensorsMetadata({ repo, hubUrl, path: "model.safetensors", computeParametersCount: true }),
  snapshot: async () => on(await hub.snapshotDownload({ repo: spotless, hubUrl, cacheDir: home })),
  "rest of a snapshot": async () => on(await hub.snapshotDownload({ repo, hubUrl, cacheDir: home })),
  "into the cache": async () => {
    const path = await hub.downloadFileToCacheDir({ repo, hubUrl, path: "config.json", cacheDir: join(home, "one") });
    return [relative(home, path), sha256(readFileSync(path))];
  },
  whoami: () => hub.whoAmI({ hubUrl, accessToken }),
  "whoami, wrong token": () => hub.whoAmI({ hubUrl, accessToken: "hf_WrongStandInToken0000000000000000001" }),
  access: async () => (await hub.checkRepoAccess({ repo, hubUrl })) ?? "given",
  "no access": () => hub.checkRepoAccess({ repo: "acme/never-was", hubUrl, accessToken }),
  "no such revision": () => hub.modelInfo({ name: repo, hubUrl, revision: "v9" }),
  "gate shut": async () => whole(await file({ repo: "acme/gated-auto", path: "config.json" })),
  "gate open": async () => [
    await whole(await file({ repo: "acme/gated-auto", path: "config.json", accessToken })),
    await whole(await file({ repo: "acme/gated-auto", path: "model.safetensors", accessToken, xet: false })),
  ],
  private: () => hub.modelInfo({ name: "acme/secret", hubUrl, accessToken, additionalFields: ["sha"] }),
  "refused info": () => hub.modelInfo({ name: "umbrella/orphan", hubUrl }),
  "refused file": async () => whole(await file({ repo: "umbrella/orphan", path: "config.json" })),
  "refused list": () => all(hub.listFiles({ repo: "umbrella/orphan", hubUrl })),
  "refused snapshot": () => hub.snapshotDownload({ repo: "umbrella/orphan", hubUrl, cacheDir: home }),
  "refused kind": async () => whole(await file({ path: "pytorch_model.bin" })),
  upload: () => upload(repo),
};

console.debug = () => {};
const said = { version: `huggingface.js ${version}, node ${process.versions.node}` };
for (const [name, call] of Object.entries(features)) {
  try {
    said[name] = (await call()) ?? null;
  } catch (error) {
    const body = error.data === undefined ? undefined : JSON.stringify(error.data);
    said[name] = { error: error.constructor.name, text: String(error.message), status: error.statusCode, body };
  }
}
console.log(JSON.stringify(said, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
