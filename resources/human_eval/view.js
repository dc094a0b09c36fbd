"use strict";
// Draws an item. Every text of the sample goes through textContent, so none of it can become markup.
const View = (() => {
  const { data, state } = Store;
  const letter = (number) => String.fromCharCode(65 + number);
  const texts = () => Texts[state.language];
  const element = (id) => document.getElementById(id);

  function make(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  // A text of the sample, in its own language and direction. One that scrolls by itself has to take the focus.
  function passage(text, scrolls = false) {
    const empty = text.trim() === "";
    return make("div", {
      className: empty ? "text empty" : "text",
      lang: empty ? state.language : data.language,
      dir: "auto",
      textContent: empty ? texts().empty : text,
      ...(scrolls && text.length > 300 ? { tabIndex: 0 } : {}),
    });
  }

  function section(name, ...children) {
    return make("section", { className: name }, make("h3", { textContent: texts()[name] }), ...children);
  }

  function answerCard(text, label, current) {
    const name = `${texts().answer} ${label}`;
    const title = current && data.mode === "single" ? `${name} (${texts().toRate})` : name;
    return make("section", { className: current ? "answer current" : "answer" },
      make("h3", { textContent: title }), passage(text));
  }

  function drawPrompt(prompt) {
    const parts = [];
    if (prompt.context) {
      const fold = make("details", { className: "context", open: true },
        make("summary", { textContent: texts().context }), passage(prompt.context, true));
      parts.push(fold);
    }
    if (prompt.history.length) {
      const turns = prompt.history.map((turn) => make("div", { className: `turn ${turn.role === "user" ? "user" : ""}` },
        make("b", { textContent: texts().roles[turn.role] ?? turn.role }), passage(turn.text)));
      parts.push(section("history", ...turns));
    }
    parts.push(section("question", passage(prompt.question)));
    if (prompt.reference !== null) parts.push(section("reference", passage(prompt.reference, true)));
    return parts;
  }

  function drawAnswers(item, prompt) {
    if (data.mode === "pairwise") {
      const cards = item.answers.map((place, side) => answerCard(prompt.answers[place], letter(side), true));
      return [make("div", { className: "pair" }, ...cards)];
    }
    const [current] = item.answers;
    const others = prompt.answers.flatMap((text, place) =>
      place === current ? [] : [answerCard(text, letter(place), false)]);
    const fold = make("details", { className: "others" },
      make("summary", { textContent: `${texts().others} (${others.length})` }), ...others);
    return [answerCard(prompt.answers[current], letter(current), true), ...(others.length ? [fold] : [])];
  }

  function choice(group, value, label, checked) {
    return make("label", { className: "choice" },
      make("input", { type: "radio", name: group, value: String(value), checked }),
      make("span", { textContent: label }));
  }

  function scoreLine(name, score) {
    const [label, hint] = texts().dimensions[name];
    const [low, high] = data.scale;
    const values = Array.from({ length: high - low + 1 }, (_, step) => low + step);
    return make("fieldset", { id: `line-${name}` },
      make("legend", {}, make("b", { textContent: label }), " ", make("span", { textContent: hint })),
      make("div", { className: "choices" },
        ...values.map((value) => choice(name, value, String(value), value === score))));
  }

  function drawRating(item) {
    const answer = Store.answerTo(item.id);
    const comment = make("label", { className: "comment" }, make("span", { textContent: texts().comment }),
      make("textarea", { id: "comment", rows: 2, value: answer.comment ?? "" }));
    if (data.mode === "pairwise") {
      const options = ["first", "second", "tie"].map((value) =>
        choice("choice", value, texts().choices[value], answer.choice === value));
      return [make("fieldset", { id: "line-choice" }, make("legend", {}, make("b", { textContent: texts().which })),
        make("div", { className: "choices wide" }, ...options)), comment];
    }
    const lines = data.dimensions.map((name) => scoreLine(name, answer.scores?.[name]));
    return [make("p", { className: "scale", textContent: texts().scale(...data.scale) }), ...lines, comment];
  }

  // The whole interface in the chosen language; called when that changes.
  function drawFrame() {
    document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
    document.title = texts().title;
    for (const node of document.querySelectorAll("[data-text]")) node.textContent = texts()[node.dataset.text];
    for (const node of document.querySelectorAll("[data-label]")) {
      node.setAttribute("aria-label", texts()[node.dataset.label]);
    }
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === state.language));
    }
    element("export").textContent = texts().export;
    element("annotator").value = state.annotator;
    const lines = texts().guides[data.mode].map((text) => make("li", { textContent: text }));
    if (data.mode === "single") {
      for (const name of data.dimensions) {
        lines.push(make("li", { textContent: texts().dimensions[name].join(": ") }));
      }
    }
    element("guide-text").replaceChildren(make("ul", {}, ...lines));
  }

  function drawItem() {
    const item = data.items[state.position];
    const prompt = data.prompts[item.prompt];
    element("heading").textContent = texts().heading(state.position + 1, data.items.length);
    element("item").replaceChildren(...drawPrompt(prompt), ...drawAnswers(item, prompt));
    element("rating").replaceChildren(...drawRating(item));
    element("previous").disabled = state.position === 0;
    element("next").disabled = state.position === data.items.length - 1;
    drawProgress();
  }

  function drawProgress() {
    const done = Store.done();
    element("progress").max = data.items.length;
    element("progress").value = done;
    element("progress").setAttribute("aria-label", texts().done(done, data.items.length));
    element("done").textContent = texts().done(done, data.items.length);
    if (!Store.isKept()) say("notSaved");
  }

  function say(name, argument) {
    const text = name ? texts()[name] : "";
    element("message").textContent = typeof text === "function" ? text(argument) : text;
  }

  return { drawFrame, drawItem, drawProgress, say, element };
})();
