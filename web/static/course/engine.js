// The page's side of the worker in which Python runs: it starts when something is asked of it first.

/** Whether this browser can run it at all. */
export const canRun = () => typeof WebAssembly === "object" && typeof Worker === "function"
  && location.protocol.startsWith("http");

class Engine {
  #worker = null;
  #waiting = new Map();
  #told = [];
  #n = 0;
  state = {said: "", share: 0, ready: false, error: ""};

  /** Hear how far it is with starting: {said, share of what is to be loaded, ready, error}. */
  watch(told) {
    this.#told.push(told);
    told(this.state);
  }

  /** Ask Python (moe_lessons/explore/page.py); the answer comes as a promise. */
  call(name, values) {
    if (this.state.error) return Promise.reject(new Error(this.state.error));
    this.start();
    const id = (this.#n += 1);
    this.#worker.postMessage({id, message: JSON.stringify({call: name, ...values})});
    return new Promise((resolve, reject) => this.#waiting.set(id, {resolve, reject}));
  }

  /** Load Python, where that has not begun. */
  start() {
    if (this.#worker) return;
    this.#worker = new Worker(new URL("worker.js", import.meta.url), {type: "module"});
    this.#worker.onmessage = ({data}) => this.#heard(data);
    this.#worker.onerror = event => this.#failed(event.message || "The worker did not start.");
  }

  #heard({id, answer, error, progress, failed}) {
    if (failed) return this.#failed(failed);
    if (progress) {
      this.state = {...this.state, ...progress};
      for (const told of this.#told) told(this.state);
      return;
    }
    const {resolve, reject} = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(JSON.parse(answer));
  }

  #failed(error) {
    this.state = {...this.state, error};
    for (const told of this.#told) told(this.state);
    for (const {reject} of this.#waiting.values()) reject(new Error(error));
    this.#waiting.clear();
  }
}

let only = null;

/** The page's one engine. */
export const engine = () => (only ??= new Engine());
