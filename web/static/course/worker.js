// Python in a worker: Pyodide, and the course's own modules from a zip. Messages are JSON, in and out.

import {loadPyodide} from "./pyodide/pyodide.mjs";

const here = name => new URL(name, import.meta.url).href;
const tell = progress => postMessage({progress});

/** Count what is fetched; files.json says how much there is, and nothing waits for it. */
function counted() {
  const plain = self.fetch.bind(self);
  let got = 0;
  let total = Infinity;
  const of = () => (total < Infinity ? ` of ${(total / 1e6).toFixed(1)}` : "");
  plain(here("files.json")).then(answer => answer.json()).then(({bytes}) => (total = bytes));
  self.fetch = async (...asked) => {
    const answer = await plain(...asked);
    if (!answer.ok || !answer.body) return answer;
    const count = new TransformStream({
      transform(chunk, line) {
        got += chunk.byteLength;
        const share = Math.min(got / total, 1);
        tell({share, said: `Loading Python: ${(got / 1e6).toFixed(1)}${of()} MB`});
        line.enqueue(chunk);
      },
    });
    const {status, headers} = answer;
    return new Response(answer.body.pipeThrough(count), {status, headers: {"Content-Type": headers.get("Content-Type")}});
  };
}

async function start() {
  tell({said: "Loading Python", share: 0});
  counted();
  const zip = fetch(here("moe_lessons.zip")).then(answer => answer.arrayBuffer());
  const python = await loadPyodide({indexURL: here("pyodide/")});
  tell({said: "Starting Python", share: 1});
  // Python imports from a zip, so that nothing has to be unpacked.
  python.FS.mkdir("/course");
  python.FS.writeFile("/course/moe_lessons.zip", new Uint8Array(await zip));
  python.runPython("import sys; sys.path.insert(0, '/course/moe_lessons.zip')");
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
