// Measures the layout of a page, and returns what is wrong with it: lists of texts, empty where all is well.
(() => {
  const TOLERANCE = 1.5;
  // A name of a table may be wider than this (28rem) before it breaks: the table scrolls.
  const CELL = 28 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const BLOCKS = "td, th, dt, dd, p, li, summary, caption, h1, h2, h3, label, button, figcaption";
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const name = (text) => text.trim().slice(0, 80);

  // Returns the text nodes that can be seen.
  function texts() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const parent = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || parent.closest("script, style, svg, option, .unseen, .skip")) continue;
      if (parent.checkVisibility()) found.push(walker.currentNode);
    }
    return found;
  }

  function rects(node, from = 0, to = node.data.length) {
    const range = document.createRange();
    range.setStart(node, from);
    range.setEnd(node, to);
    return Array.from(range.getClientRects()).filter((rect) => rect.width > 0);
  }

  // Returns how many lines these boxes are on: boxes of one line overlap vertically.
  function lines(boxes) {
    const middles = boxes.map((box) => box.top + box.height / 2).sort((a, b) => a - b);
    return middles.filter((middle, i) => !i || middle - middles[i - 1] > 4).length;
  }

  // Returns the width that a text has at most, and where it must be.
  function container(node) {
    let box = node.parentElement;
    while (getComputedStyle(box).display === "inline" || getComputedStyle(box).display === "contents") box = box.parentElement;
    const style = getComputedStyle(box);
    const inner = box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return box.closest("td, th") ? Math.max(inner, CELL) : inner;
  }

  // A word ends at white space, and after a sign after which a long name may break.
  const WORD = /[^\s\-._\/,:@=+]+[\-._\/,:@=+]*/gu;

  function brokenWords(nodes) {
    const broken = [];
    for (const node of nodes) {
      if (lines(rects(node)) < 2) continue;
      for (const word of node.data.matchAll(WORD)) {
        const boxes = rects(node, word.index, word.index + word[0].length);
        const width = boxes.reduce((sum, box) => sum + box.width, 0);
        // Scripts without blanks between their words break between any two letters.
        if (/[\u3000-\u9fff\p{Extended_Pictographic}]/u.test(word[0])) continue;
        if (lines(boxes) > 1 && width <= container(node) + TOLERANCE) broken.push(`${word[0]} in ${name(node.data)}`);
      }
    }
    return broken;
  }

  function outside(nodes) {
    const found = [];
    for (const node of nodes) {
      const box = node.parentElement.closest(BLOCKS);
      if (!box) continue;
      const place = box.getBoundingClientRect();
      if (rects(node).some((rect) => rect.left < place.left - TOLERANCE || rect.right > place.right + TOLERANCE)) {
        found.push(`${name(node.data)} in ${box.tagName}.${box.className}`);
      }
    }
    return found;
  }

  const overlap = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;

  // Returns pairs of these texts whose boxes overlap; each text has its boxes.
  function overlapping(boxed) {
    const found = [];
    boxed.forEach(([text, boxes], i) => {
      for (const [other, others] of boxed.slice(i + 1)) {
        if (boxes.some((a) => others.some((b) => overlap(a, b)))) found.push(`${name(text)} and ${name(other)}`);
      }
    });
    return found;
  }

  function legend(nodes) {
    return overlapping(nodes.filter((node) => node.parentElement.closest(".legend")).map((node) => [node.data, rects(node)]));
  }

  function drawings() {
    const found = [];
    for (const svg of all("svg[viewBox]").filter((one) => one.checkVisibility())) {
      const view = svg.viewBox.baseVal;
      const drawn = all("text", svg);
      for (const text of drawn) {
        const box = text.getBBox();
        if (box.x < view.x || box.y < view.y || box.x + box.width > view.x + view.width || box.y + box.height > view.y + view.height) {
          found.push(`${name(text.textContent)} is outside its drawing`);
        }
        if (text.textContent.includes("…")) found.push(`${name(text.textContent)} is cut`);
      }
      const boxes = drawn.map((text) => [text.textContent, [text.getBBox()].map((box) => (
        { left: box.x, right: box.x + box.width, top: box.y, bottom: box.y + box.height }))]);
      found.push(...overlapping(boxes));
    }
    return found;
  }

  // A ladder is seen as a whole: no part is cut off, and nothing scrolls.
  function ladders() {
    return all("svg.ladder").filter((one) => one.checkVisibility()).filter((svg) => {
      const place = svg.getBoundingClientRect();
      const box = svg.parentElement.getBoundingClientRect();
      return place.left < Math.max(0, box.left - 1) || place.right > Math.min(innerWidth, box.right + 1);
    }).map((svg) => name(svg.getAttribute("aria-label")));
  }

  // What scrolls sideways is a box that the keyboard reaches, and that has a name.
  function unreachable() {
    return all("body *").filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth && one.checkVisibility())
      .filter((one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowX))
      .filter((one) => one.tabIndex !== 0 || !one.getAttribute("aria-label"))
      .map((one) => `${one.tagName}.${one.className}`);
  }

  const nodes = texts();
  return {
    wide: document.documentElement.scrollWidth > innerWidth ? [`${document.documentElement.scrollWidth} pixels`] : [],
    broken: brokenWords(nodes),
    outside: outside(nodes),
    legend: legend(nodes),
    drawings: drawings(),
    ladders: ladders(),
    unreachable: unreachable(),
    texts: nodes.length,
  };
})()
