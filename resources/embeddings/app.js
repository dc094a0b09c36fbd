"use strict";
// What is shown and read. Every text of the data goes through textContent, so none of it can become markup.
const App = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const rows = data.rows.length;
  const points = Array.from({ length: rows * data.systems.length }, (_, point) => point);
  const systemOf = (point) => Math.floor(point / rows);
  const rowOf = (point) => data.rows[point % rows];
  const answerOf = (point) => rowOf(point).answers[systemOf(point)];
  const HUMAN = 0;
  const root = document.documentElement;
  const state = { projection: 0, colour: "method", hidden: new Set(), find: "", hovered: null, pinned: null };

  function make(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function dot(colour) {
    const node = make("span", { className: "dot" });
    node.style.background = colour;
    return node;
  }

  const dotOf = (system) => dot(system === HUMAN ? "var(--human)" : data.systems[system].colour);

  // Colours that stand apart: the hue goes round by the golden angle, lightness alternates.
  function palette(names) {
    const sorted = [...new Set(names)].sort();
    return new Map(sorted.map((name, number) =>
      [name, `hsl(${(25 + number * 137.5) % 360} ${number % 2 ? 55 : 75}% ${number % 3 === 1 ? 38 : 52}%)`]));
  }
  const palettes = {
    dataset: palette(data.rows.map((row) => row.dataset)),
    bucket: palette(data.rows.map((row) => row.bucket)),
  };

  // Dark on light and light on dark; the canvas needs the value, the legend follows the style sheet by itself.
  let humanColour = "";
  function readScheme() {
    humanColour = getComputedStyle(root).getPropertyValue("--human").trim();
  }

  function colourOf(point) {
    const system = systemOf(point);
    if (state.colour === "method") return system === HUMAN ? humanColour : data.systems[system].colour;
    return palettes[state.colour].get(rowOf(point)[state.colour]);
  }

  function visible(point) {
    return !state.hidden.has(systemOf(point))
      && (state.find === "" || answerOf(point).toLowerCase().includes(state.find));
  }

  // Humans lie below the systems, so that neither hides the other where the systems are few.
  const look = { colour: colourOf, visible, order: points };

  function passage(text, className) {
    const empty = text.trim() === "";
    return make("p", { className: `text ${className}${empty ? " empty" : ""}`, dir: "auto",
      textContent: empty ? "(empty)" : text });
  }

  function heading(point) {
    const system = systemOf(point);
    return make("h2", {}, dotOf(system), make("span", { textContent: data.systems[system].label }));
  }

  function describe(point) {
    if (point === null) return [];
    const row = rowOf(point);
    const told = [heading(point), passage(answerOf(point), "current"),
      make("p", { className: "where",
        textContent: `${row.dataset} · ${row.bucket} · ${row.id} · row ${row.source_index}` }),
      passage(row.question, "question")];
    if (state.pinned !== null && point % rows === state.pinned % rows) {
      for (const other of siblings(point)) told.push(heading(other), passage(answerOf(other), ""));
    } else if (systemOf(point) !== HUMAN) {
      const human = point % rows;
      told.push(heading(human), passage(answerOf(human), ""));
    }
    return told;
  }

  // Answers of the others to the same question.
  function siblings(point) {
    return data.systems.map((_, system) => system * rows + point % rows).filter((other) => other !== point);
  }

  function showAnswer() {
    const point = state.hovered ?? state.pinned;
    element("answer").replaceChildren(...describe(point));
    const rings = state.pinned === null ? [] : [state.pinned, ...siblings(state.pinned)];
    Plot.mark(state.hovered, rings.filter((other) => !state.hidden.has(systemOf(other))));
  }

  function hover(point) {
    if (point === state.hovered) return;
    state.hovered = point;
    showAnswer();
  }

  function pick(point) {
    state.pinned = point;
    state.hovered = null;
    showAnswer();
  }

  function showPoints() {
    const shown = points.filter(visible).length;
    element("count").textContent = `${shown.toLocaleString("en")} answers`;
    Plot.style(look);
  }

  function showProjection() {
    const { places, axes } = data.projections[state.projection];
    element("across").textContent = axes[0] && `${axes[0]} →`;
    element("up").textContent = axes[1] && `↑ ${axes[1]}`;
    [...element("projections").children].forEach((button, number) =>
      button.setAttribute("aria-pressed", String(number === state.projection)));
    Plot.show(places);
    Plot.reset();
  }

  function showColours() {
    const chosen = palettes[state.colour];
    const keys = chosen ? [...chosen].map(([name, colour]) =>
      make("span", { className: "key" }, dot(colour), make("span", { textContent: name }))) : [];
    element("colours").replaceChildren(...keys);
    showPoints();
  }

  function systemButton(system, number) {
    const button = make("button", { type: "button", className: "system", "aria-pressed": "true" },
      dotOf(number), make("span", { textContent: system.label }), make("small", { textContent: system.note }));
    button.addEventListener("click", () => {
      if (!state.hidden.delete(number)) state.hidden.add(number);
      button.setAttribute("aria-pressed", String(!state.hidden.has(number)));
      if (state.pinned !== null && state.hidden.has(systemOf(state.pinned))) state.pinned = null;
      showPoints();
      showAnswer();
    });
    return button;
  }

  // The next visible answer, and for up and down the one of the next visible system to the same question.
  function step(key) {
    const from = state.pinned ?? -1;
    const along = key === "ArrowUp" || key === "ArrowDown" ? rows : 1;
    const back = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
    for (let tried = 1; tried <= points.length; tried += 1) {
      const raw = from < 0 ? (back > 0 ? tried - 1 : -tried) : from + back * tried * along;
      const point = ((raw % points.length) + points.length) % points.length;
      if (visible(point)) return pick(point);
    }
    return undefined;
  }

  function keys(event) {
    if (event.key.startsWith("Arrow")) step(event.key);
    else if (event.key === "+" || event.key === "=") Plot.zoomCentre(1.4);
    else if (event.key === "-") Plot.zoomCentre(1 / 1.4);
    else if (event.key === "0") Plot.reset();
    else return;
    event.preventDefault();
  }

  element("projections").append(...data.projections.map((projection, number) => {
    const button = make("button", { type: "button", textContent: projection.title });
    button.addEventListener("click", () => { state.projection = number; showProjection(); });
    return button;
  }));
  element("systems").append(...data.systems.map(systemButton));
  element("notes").append(...data.notes.map((text) => make("p", { textContent: text })));
  element("colour").addEventListener("change", (event) => { state.colour = event.target.value; showColours(); });
  element("find").addEventListener("input", (event) => {
    state.find = event.target.value.trim().toLowerCase();
    showPoints();
  });
  element("reset").addEventListener("click", Plot.reset);
  element("plot").addEventListener("keydown", keys);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") pick(null); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readScheme();
    Plot.redraw();
  });
  readScheme();
  Plot.listen(hover, pick);
  showColours();
  showProjection();
  return { state, points, answerOf, colourOf };
})();
