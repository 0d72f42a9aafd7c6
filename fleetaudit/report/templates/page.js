
"use strict";
// Without the script, the page has the same content. Text from hosts is only ever inserted as text, never as markup.
const page = {
  data: JSON.parse(document.getElementById("data").textContent),
  all(selector, root) { return Array.from((root || document).querySelectorAll(selector)); },
  // Returns an element with its class and children; a string becomes text, null and "" are omitted.
  make(name, kind, ...children) {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    for (const child of children) if (child !== null && child !== "") element.append(child);
    return element;
  },
  // Returns text from a host, isolated from the writing direction of the text around it.
  // Long words may break after a separator, as on the rest of the page.
  untrusted(text) {
    const isolated = page.make("bdi", "", text);
    if (!/\S{21}/.test(text)) return isolated;
    const pieces = text.split(/(?<=[-._,/:@=+])(?=[^-._,/:@=+\s])/);
    isolated.replaceChildren(...pieces.flatMap((piece, i) => (i ? [document.createElement("wbr"), piece] : [piece])));
    return isolated;
  },
  announce(text) { document.getElementById("spoken").textContent = text; },
  copy(text, message) {
    const done = () => page.announce(message || "Copied");
    const copyBySelection = () => {
      const area = page.make("textarea", "unseen");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, copyBySelection);
    else copyBySelection();
  },
  // Adds a Copy button after each command. Prose never gets one.
  addCopyButtons(root) {
    for (const code of page.all("code.command", root)) {
      const button = page.make("button", "copy", "Copy");
      button.type = "button";
      button.setAttribute("aria-label", "Copy: " + code.textContent);
      button.addEventListener("click", () => {
        page.copy(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      code.after(" ", button);
    }
  },
};

page.addCopyButtons(document);
for (const link of page.all("a[data-host]")) link.href = "#host?name=" + encodeURIComponent(link.dataset.host);
for (const link of page.all("a[data-filter]")) link.href = "#hosts" + (link.dataset.filter && "?") + link.dataset.filter;

// Opens for printing what the style sheet prints open, for browsers that cannot do so by style.
window.addEventListener("beforeprint", () => {
  for (const one of page.all("details.unfold:not([open], #agreed)")) { one.open = true; one.dataset.folded = "yes"; }
});
window.addEventListener("afterprint", () => {
  for (const one of page.all("details[data-folded]")) { one.open = false; delete one.dataset.folded; }
});
