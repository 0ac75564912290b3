// Draws every <figure class="chart" data-chart="URL"> from the Vega-Lite specification at URL, in the page's scheme.
// Vega is fetched from this server, on pages with a chart only. Nothing is evaluated: expressions are interpreted.
"use strict";

(() => {
  const VENDOR = document.currentScript.src.replace(/charts\.js.*$/, "vendor/");
  const SCRIPTS = ["vega.min.js", "vega-lite.min.js", "vega-embed.min.js"];
  const drawn = new Map(); // figure -> { spec, view, width, dark, turn }
  let tools = null;

  function load(name) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = VENDOR + name;
      script.onload = done;
      script.onerror = () => failed(new Error(`${name} did not load`));
      document.head.append(script);
    });
  }
  const vega = () => (tools ??= SCRIPTS.reduce((before, name) => before.then(() => load(name)), Promise.resolve()));

  function isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  /** The specification in the scheme and size of its place, which keeps its height unless the chart needs more. */
  function fitted(spec, place, dark) {
    const made = structuredClone(spec);
    const about = made.usermeta;
    delete made.usermeta;
    if (dark) made.config = about.dark;
    made.config = { ...made.config, aria: false }; // the place says what is drawn, the table says the numbers
    const room = Math.max(place.clientHeight, 80);
    if (made.facet) {
      const others = about.height - about.panels * about.panel; // headers, gaps, the axis
      made.spec.width = Math.max(60, place.clientWidth - about.aside);
      made.spec.height = Math.max(60, Math.floor((room - others) / about.panels));
      made.config.header.labelLimit = made.spec.width;
      place.style.height = `${Math.max(room, others + about.panels * made.spec.height)}px`;
    } else {
      made.width = place.clientWidth;
      made.height = Math.max(room, about.height > room ? about.height : 0);
      place.style.height = `${made.height}px`;
    }
    return made;
  }

  /** The same numbers as a table, for those who cannot see the chart; a page that brings its own keeps it. */
  function tabulate(figure, table) {
    if (!table || figure.querySelector("details:not([data-made])")) return;
    let details = figure.querySelector("details[data-made]");
    if (!details) {
      details = document.createElement("details");
      details.className = "chart-numbers";
      details.dataset.made = "";
      details.append(Object.assign(document.createElement("summary"), { textContent: "The same as numbers" }));
      figure.append(details);
    }
    const sheet = document.createElement("table");
    const row = (cells, name, scope) => {
      const line = document.createElement("tr");
      cells.forEach((text, place) => {
        const cell = document.createElement(place === 0 && scope === "row" ? "th" : name);
        if (cell.tagName === "TH") cell.scope = scope;
        cell.textContent = text;
        line.append(cell);
      });
      return line;
    };
    const head = sheet.createTHead(), body = sheet.createTBody();
    head.append(row(table.head, "th", "col"));
    body.append(...table.rows.map((cells) => row(cells, "td", "row")));
    details.querySelector("table")?.remove();
    details.append(sheet);
  }

  function fail(place, words) {
    const line = document.createElement("p");
    line.className = "chart-failed";
    line.textContent = words;
    place.replaceChildren(line);
  }

  async function draw(figure, again) {
    const place = figure.querySelector(".chart-place");
    if (!place || !place.clientWidth) return; // not in sight: drawn when it is
    const known = drawn.get(figure) ?? { turn: 0 };
    const turn = ++known.turn;
    drawn.set(figure, known);
    try {
      if (again || !known.spec) {
        const answer = await fetch(figure.dataset.chart, { headers: { "HX-Request": "true" } });
        if (!answer.ok) throw new Error(`the studio answered ${answer.status}`);
        const spec = await answer.json();
        if (known.view && JSON.stringify(spec) === JSON.stringify(known.spec)) return;
        known.spec = spec;
      }
      await vega();
      if (turn !== known.turn) return; // a later call has it in hand
      known.dark = isDark();
      known.width = place.clientWidth;
      const options = { mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true, logLevel: 1 };
      const box = document.createElement("div");
      const made = await vegaEmbed(box, fitted(known.spec, place, known.dark), { ...options, tooltip: { disableDefaultStyle: true } });
      if (turn !== known.turn) return made.finalize();
      known.view?.finalize();
      known.view = made;
      place.replaceChildren(box);
      box.setAttribute("aria-hidden", "true"); // the place itself is the image, with its words
      place.setAttribute("aria-label", known.spec.description);
      tabulate(figure, known.spec.usermeta.table);
      figure.dataset.drawn = "";
    } catch (error) {
      if (turn === known.turn && !known.view) fail(place, `The chart cannot be drawn: ${error.message}.`);
    }
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const figure = target.closest("[data-chart]");
      if (figure && drawn.get(figure)?.width !== target.clientWidth) draw(figure, false);
    }
  });

  function look(within) {
    for (const figure of within.querySelectorAll("figure.chart[data-chart]")) {
      if (figure.dataset.watched === figure.dataset.chart) continue;
      figure.dataset.watched = figure.dataset.chart;
      figure.addEventListener("chart:refresh", () => draw(figure, true));
      const place = figure.querySelector(".chart-place");
      if (place) sizes.observe(place); // calls back at once, and whenever the width changes
    }
    for (const [figure, known] of drawn) {
      if (!figure.isConnected) { known.view?.finalize(); drawn.delete(figure); }
    }
  }
  const redraw = () => { for (const figure of drawn.keys()) draw(figure, false); };

  document.addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("htmx:load", (event) => look(event.target?.parentElement ?? document));
  document.addEventListener("filled", (event) => look(event.target));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => look(document));
  else look(document);
})();
