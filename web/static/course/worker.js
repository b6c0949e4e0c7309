// Python in a worker: Pyodide, and the course's own modules from a zip. Messages are JSON, in and out.

import {loadPyodide} from "./pyodide/pyodide.mjs";

const here = name => new URL(name, import.meta.url).href;
const tell = progress => postMessage({progress});

/** Count what is fetched; files.json says how much there is. */
function counted(total) {
  const plain = self.fetch.bind(self);
  let got = 0;
  self.fetch = async (...asked) => {
    const answer = await plain(...asked);
    if (!answer.ok || !answer.body) return answer;
    const count = new TransformStream({
      transform(chunk, line) {
        got += chunk.byteLength;
        const share = Math.min(got / total, 1);
        tell({share, said: `Loading Python: ${(got / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`});
        line.enqueue(chunk);
      },
    });
    const {status, headers} = answer;
    return new Response(answer.body.pipeThrough(count), {status, headers: {"Content-Type": headers.get("Content-Type")}});
  };
}

async function start() {
  tell({said: "Loading Python", share: 0});
  const {bytes} = await (await fetch(here("files.json"))).json();
  counted(bytes);
  const zip = fetch(here("moe_lessons.zip")).then(answer => answer.arrayBuffer());
  const python = await loadPyodide({indexURL: here("pyodide/")});
  tell({said: "Starting Python", share: 1});
  python.FS.mkdirTree("/course");
  python.unpackArchive(await zip, "zip", {extractDir: "/course"});
  python.runPython("import sys; sys.path.insert(0, '/course')");
  const handle = python.runPython("from moe_lessons.explore.page import handle; handle");
  tell({said: "", ready: true});
  return handle;
}

const started = start();
started.catch(error => postMessage({failed: `Python could not be started: ${error.message}`}));

onmessage = async ({data: {id, message}}) => {
  const handle = await started.catch(() => null);
  if (!handle) return;
  try {
    postMessage({id, answer: handle(message)});
  } catch (error) {
    const words = String(error.message).trim().split("\n").at(-1); // a traceback's last line
    postMessage({id, error: words});
  }
};
