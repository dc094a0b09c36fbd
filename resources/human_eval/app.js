"use strict";
// What happens on clicks and keys.
const App = (() => {
  const { data, state } = Store;
  const { element, say } = View;
  const current = () => data.items[state.position];

  function go(position, focus = true) {
    if (position < 0 || position >= data.items.length) return;
    state.position = position;
    Store.save();
    View.drawItem();
    window.scrollTo(0, 0);
    if (focus) element("heading").focus({ preventScroll: true });
  }

  function goToOpen() {
    const count = data.items.length;
    for (let step = 1; step <= count; step += 1) {
      const position = (state.position + step) % count;
      if (!Store.complete(data.items[position].id)) return go(position);
    }
    return say("nothingOpen");
  }

  function record(name, value) {
    const { id } = current();
    if (data.mode === "pairwise") Store.change(id, { choice: value });
    else Store.change(id, { scores: { ...Store.answerTo(id).scores, [name]: Number(value) } });
    View.drawProgress();
    if (Store.done() === data.items.length) say("nothingOpen");
  }

  // The line that a number key scores: the one with the focus, else the first without a score.
  function currentLine() {
    const focused = document.activeElement?.closest("fieldset")?.id.replace("line-", "");
    if (data.dimensions.includes(focused)) return focused;
    const scores = Store.answerTo(current().id).scores ?? {};
    return data.dimensions.find((name) => scores[name] === undefined) ?? data.dimensions[0];
  }

  function press(name, value) {
    const button = document.querySelector(`input[name="${name}"][value="${value}"]`);
    if (!button) return;
    button.checked = true;
    record(name, value);
    button.focus();
    if (data.mode === "pairwise") return;
    const following = data.dimensions[data.dimensions.indexOf(name) + 1];
    // The focus on a line's choice is what tells, and shows, which line the next key scores.
    if (following) {
      const line = element(`line-${following}`);
      (line.querySelector("input:checked") ?? line.querySelector("input")).focus();
    }
  }

  function onKey(event) {
    const { target } = event;
    const writing = target.id === "comment" || target.id === "annotator";
    if (event.key === "Escape" && writing) return element("heading").focus();
    if (writing || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    const key = event.key.toLowerCase();
    const pairs = { a: "first", 1: "first", b: "second", 2: "second", t: "tie", 3: "tie" };
    const steps = {
      n: () => go(state.position + 1),
      p: () => go(state.position - 1),
      u: goToOpen,
      c: () => element("comment").focus(),
    };
    const [low, high] = data.scale;
    if (steps[key]) steps[key]();
    else if (data.mode === "pairwise" && pairs[key]) press("choice", pairs[key]);
    else if (data.mode === "single" && /^\d$/.test(key) && Number(key) >= low && Number(key) <= high) {
      press(currentLine(), Number(key));
    } else return undefined;
    return event.preventDefault();
  }

  function exportFile() {
    if (!state.annotator.trim()) {
      say("needName");
      return element("annotator").focus();
    }
    const safe = state.annotator.trim().replace(/[^\p{L}\p{N}_-]+/gu, "_");
    const name = `${data.mode}_${data.site.slice(0, 6)}_${safe}.json`;
    const blob = new Blob([JSON.stringify(Store.exported(), null, 2)], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    return say("exported", name);
  }

  async function importFile() {
    const [file] = element("file").files;
    if (!file) return;
    const [name, argument] = Store.take(await file.text());
    element("file").value = "";
    element("annotator").value = state.annotator;
    View.drawItem();
    say(name, argument);
  }

  function setLanguage(language) {
    state.language = language;
    Store.save();
    View.drawFrame();
    View.drawItem();
    say();
  }

  element("rating").addEventListener("change", (event) => {
    if (event.target.type === "radio") record(event.target.name, event.target.value);
  });
  element("rating").addEventListener("input", (event) => {
    if (event.target.id === "comment") Store.change(current().id, { comment: event.target.value });
  });
  element("rating").addEventListener("submit", (event) => event.preventDefault());
  element("annotator").addEventListener("input", (event) => {
    state.annotator = event.target.value;
    Store.save();
  });
  element("previous").addEventListener("click", () => go(state.position - 1));
  element("next").addEventListener("click", () => go(state.position + 1));
  element("open").addEventListener("click", goToOpen);
  element("export").addEventListener("click", exportFile);
  element("import").addEventListener("click", () => element("file").click());
  element("file").addEventListener("change", importFile);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => setLanguage(button.dataset.language));
  }
  document.addEventListener("keydown", onKey);

  const position = Number.isInteger(state.position) ? state.position : 0;
  state.position = Math.min(Math.max(position, 0), data.items.length - 1);
  if (!(state.language in Texts)) state.language = navigator.language.startsWith("zh") ? "zh" : "en";
  element("guide").open = Store.done() === 0;
  View.drawFrame();
  View.drawItem();
  return { go };
})();
