// The `model` that stage.js and card.js speak to, in a notebook given by anywidget: four functions.

/** A model with these values; what is sent goes to `send`. `put` changes values and tells who listens. */
export function makeModel(values, send) {
  const heard = {};
  return {
    get: name => values[name],
    on: (event, told) => (heard[event] ??= []).push(told),
    off: (event, told) => (heard[event] = (heard[event] ?? []).filter(one => one !== told)),
    send,
    put(fresh) {
      Object.assign(values, fresh);
      for (const name of Object.keys(fresh)) for (const told of heard[`change:${name}`] ?? []) told();
    },
  };
}
