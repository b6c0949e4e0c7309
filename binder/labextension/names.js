// JupyterLab shows an SVG output as an image without alternative text, and ipywidgets' sliders and radio buttons
// have their label beside them, but not as their name: a screen reader says "image" and "slider, 1". This extension
// gives each its name, keeps the notebook's shortcuts out of them, and lets drawings follow the theme. It also writes
// on each cell of a lesson which block it belongs to (predict, exercise, ...), from the cell's metadata; blocks.css
// colours those. And it keeps what widgets showed when their kernel is gone. It is written by hand, in the form that
// JupyterLab loads, so there is nothing to build.

(() => {
  // The label that ipywidgets puts before a control.
  const labelOf = part => part.closest(".widget-slider, .widget-radio").querySelector(".widget-label").textContent;

  let groups = 0;

  const VIEW = "application/vnd.jupyter.widget-view+json";
  const STATE = "application/vnd.jupyter.widget-state+json";
  const GONE = "What was here ended with its kernel. Run this cell to bring it to life.";

  const MISSING = {
    ".jp-OutputArea-output.jupyter-widgets:not(:has(*))": output => {
      if (output.textContent.startsWith("Error displaying widget")) output.textContent = GONE;
    },
    ".jp-RenderedSVG img:not([alt])": image => {
      const source = decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1));
      const drawing = new DOMParser().parseFromString(source, "image/svg+xml");
      // Our drawings say in <desc> what a reader would take from the picture.
      const words = drawing.querySelector("svg > desc") ?? drawing.querySelector("svg > title");
      if (words) image.alt = words.textContent;
    },
    ".widget-slider .noUi-handle:not([aria-label])": handle => {
      handle.setAttribute("aria-label", labelOf(handle));
    },
    ".widget-slider .widget-readout:not([role])": field => {
      field.setAttribute("role", "textbox");
      field.setAttribute("aria-label", `${labelOf(field)}, as a number`);
    },
    ".widget-radio-box:not([role])": group => {
      group.setAttribute("role", "radiogroup");
      group.setAttribute("aria-label", labelOf(group) || "Your choice");
      // Radio buttons are one group to the keyboard (Tab enters it, arrows move in it) only if they share a name.
      groups += 1;
      group.querySelectorAll("input").forEach(input => (input.name = `choice-${groups}`));
    },
    // JupyterLab takes an arrow key in a radio button for "go to the next heading", a digit in a list for "make this
    // cell a heading". It leaves alone what carries this attribute.
    ":is(.noUi-handle, .widget-radio input, .widget-dropdown select):not([data-lm-suppress-shortcuts])": control => {
      control.setAttribute("data-lm-suppress-shortcuts", "true");
    },
  };

  const nameAll = () => {
    for (const [selector, name] of Object.entries(MISSING)) document.querySelectorAll(selector).forEach(name);
  };

  // JupyterLab shows an SVG output as an image, which does not see the page's theme, only its colour scheme. Our
  // drawings have colours for both.
  const SCHEMES = `
    [data-jp-theme-light="true"] .jp-RenderedSVG img { color-scheme: light }
    [data-jp-theme-light="false"] .jp-RenderedSVG img { color-scheme: dark }`;

  const followTheme = () => {
    const style = document.createElement("style");
    style.textContent = SCHEMES;
    document.head.append(style);
  };

  const markBlocks = app => {
    for (const panel of app.shell.widgets("main")) {
      if (!panel.content?.widgets || !panel.model?.getMetadata?.("moe_lessons")?.lesson) continue;
      panel.node.dataset.moeLesson = "";
      for (const cell of panel.content.widgets) {
        const about = cell.model?.getMetadata("moe_lessons") ?? {};
        if (about.block) cell.node.dataset.moeBlock = about.block;
        if (about.draw) cell.node.dataset.moeDraw = "";
      }
    }
  };

  const kept = new WeakMap(); // of a notebook's model: the saved state of the widgets that its outputs name

  // When a kernel restarts, ipywidgets forgets its models. Saved after that, a notebook would lack the state that its
  // outputs name, and opened again they would say "model not found". So what was saved before is put back.
  const keepState = model => {
    const state = model.getMetadata("widgets")?.[STATE]?.state ?? {};
    const known = {...kept.get(model), ...state};
    const wanted = {};
    const want = id => {
      if (!known[id] || wanted[id]) return;
      wanted[id] = known[id];
      for (const [, other] of JSON.stringify(known[id]).matchAll(/IPY_MODEL_(\w+)/g)) want(other);
    };
    for (const cell of model.cells) {
      for (const output of cell.toJSON().outputs ?? []) if (output.data?.[VIEW]) want(output.data[VIEW].model_id);
    }
    kept.set(model, wanted);
    if (Object.keys(wanted).every(id => id in state)) return;
    model.setMetadata("widgets", {[STATE]: {version_major: 2, version_minor: 0, state: {...wanted, ...state}}});
  };

  const watchState = app => {
    for (const {model} of app.shell.widgets("main")) {
      if (!model?.cells || !model.metadataChanged || kept.has(model)) continue;
      model.metadataChanged.connect((_, {key}) => key === "widgets" && keepState(model));
      keepState(model);
    }
  };

  const here = document.currentScript?.src;

  const activate = app => {
    followTheme();
    if (here) {
      const sheet = document.createElement("link");
      Object.assign(sheet, {rel: "stylesheet", href: new URL("blocks.css", here).href});
      document.head.append(sheet);
    }
    let waiting = false;
    // A dragged slider changes the page at every frame: look once it is quiet for a moment, not each time.
    const later = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        nameAll();
        markBlocks(app);
        watchState(app);
      }, 200);
    };
    new MutationObserver(later).observe(document.body, {childList: true, subtree: true});
  };

  const plugin = {id: "moe-lessons-names:plugin", autoStart: true, activate};
  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB["moe-lessons-names"] = {
    init: () => {},
    get: async () => () => ({__esModule: true, default: plugin}),
  };
})();
