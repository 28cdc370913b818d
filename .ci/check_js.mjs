// CouchDB's map functions are bare function expressions, which Node.js takes for no program of
// its own: this checks their syntax as CouchDB reads them.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";

const folder = process.argv[2];
const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js"));
let failures = 0;

for (const file of files) {
  const path = join(folder, file);
  try {
    // Each on a line of its own, so that a comment at either end hides nothing.
    new Script(`(\n${readFileSync(path, "utf8")}\n)`, { filename: path, lineOffset: -1 });
  } catch (error) {
    failures += 1;
    console.error(error.stack.split("\n    at ")[0]);
  }
}

console.log(`${files.length} map functions, ${failures} broken.`);
process.exitCode = files.length > 0 && failures === 0 ? 0 : 1;
