"use strict";
// The annotator's work: kept in this browser after every change, written to and read from export files.
const Store = (() => {
  const KIND = "polyalign-human-eval";
  const VERSION = 1;
  const CHOICES = ["first", "second", "tie"];

  const data = JSON.parse(document.getElementById("data").textContent);
  const place = `${KIND}:${data.site}`;
  const known = new Set(data.items.map((item) => item.id));
  const fresh = { annotator: "", language: null, position: 0, answers: {} };
  const state = Object.assign({}, fresh, read());
  let kept = true;

  // What is stored is taken as it would be from a file: another page of this origin may have written it.
  function read() {
    try {
      const found = JSON.parse(localStorage.getItem(place));
      if (found === null || Object.entries(found.answers).some(([id, answer]) => !valid(id, answer))) return {};
      return found;
    } catch {
      return {};
    }
  }

  function save() {
    try {
      localStorage.setItem(place, JSON.stringify(state));
      kept = true;
    } catch {
      kept = false;
    }
  }

  function valid(id, answer) {
    if (!known.has(id) || typeof answer !== "object" || answer === null) return false;
    if (typeof (answer.comment ?? "") !== "string" || typeof (answer.time ?? "") !== "string") return false;
    if (data.mode === "pairwise") return answer.choice === undefined || CHOICES.includes(answer.choice);
    const scores = answer.scores ?? {};
    const [low, high] = data.scale;
    return typeof scores === "object" && Object.entries(scores).every(([name, score]) =>
      data.dimensions.includes(name) && Number.isInteger(score) && score >= low && score <= high);
  }

  function answerTo(id) {
    return state.answers[id] ?? {};
  }

  function change(id, values) {
    state.answers[id] = { ...answerTo(id), ...values, time: new Date().toISOString() };
    save();
  }

  function complete(id) {
    const answer = answerTo(id);
    if (data.mode === "pairwise") return answer.choice !== undefined;
    return data.dimensions.every((name) => answer.scores?.[name] !== undefined);
  }

  function exported() {
    return {
      kind: KIND,
      version: VERSION,
      site: data.site,
      mode: data.mode,
      annotator: state.annotator.trim(),
      exported: new Date().toISOString(),
      answers: state.answers,
    };
  }

  // Takes in what is newer than the work here. Returns [name of a text, its argument].
  function take(text) {
    let file;
    try {
      file = JSON.parse(text);
    } catch {
      return ["notExport"];
    }
    if (file?.kind !== KIND || file.version !== VERSION || typeof file.answers !== "object") return ["notExport"];
    if (file.site !== data.site) return ["otherSite"];
    const answers = Object.entries(file.answers ?? {});
    const wrong = answers.find(([id, answer]) => !valid(id, answer));
    if (wrong) return ["badAnswer", wrong[0].slice(0, 20)];
    let count = 0;
    for (const [id, answer] of answers) {
      if ((answer.time ?? "") < (answerTo(id).time ?? "")) continue;
      state.answers[id] = answer;
      count += 1;
    }
    if (!state.annotator && typeof file.annotator === "string") state.annotator = file.annotator.slice(0, 60);
    save();
    return ["imported", count];
  }

  return {
    data, state, save, change, answerTo, complete, exported, take,
    isKept: () => kept,
    done: () => data.items.filter((item) => complete(item.id)).length,
  };
})();
