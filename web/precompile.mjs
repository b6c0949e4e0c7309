// Runs precompile.py in the Python that pages have, on the folder given: its bytecode fits no other Python.

import {readFileSync} from "node:fs";
import {fileURLToPath} from "node:url";
import {loadPyodide} from "./node_modules/pyodide/pyodide.mjs";

const python = await loadPyodide();
python.mountNodeFS("/web", fileURLToPath(new URL(".", import.meta.url)));
python.mountNodeFS("/course", process.argv[2]);
python.runPython(readFileSync(new URL("precompile.py", import.meta.url), "utf8"));
