// Runs a script of a checkout in a CPython for WebAssembly:
// node run_wasm.mjs PYODIDE-FOLDER CHECKOUT SCRIPT ARGUMENT...
// The checkout is read in place; nothing is written to it and nothing is fetched.
const [folder, checkout, script, ...given] = process.argv.slice(2);
try {
  const { loadPyodide } = await import(`${folder}/pyodide.mjs`);
  const python = await loadPyodide({ indexURL: folder });
  python.mountNodeFS("/checkout", checkout);
  python.runPython(`
import runpy, sys
sys.dont_write_bytecode = True
sys.argv = ${JSON.stringify([script, ...given])}
runpy.run_path("/checkout/" + sys.argv[0], run_name="__main__")
`);
} catch (error) {
  // Not the stack: it would quote a megabyte of minified JavaScript.
  console.error(String(error.message ?? error).slice(-4000));
  process.exit(1);
}
