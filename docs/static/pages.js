// What the theme and Sphinx leave out for those who use a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  // The captions of the sidebar are headings of a level that nobody gave.
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) {
    caption.setAttribute("aria-level", "2");
  }
  document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", "All pages");
  document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", "On this page");
  // A signature over several lines is laid out as a list of definitions, and is none.
  for (const list of document.querySelectorAll(".sig dl")) {
    const lines = document.createElement("span");
    lines.className = "sig-lines";
    for (const item of list.children) {
      const line = document.createElement("span");
      line.append(...item.childNodes);
      lines.append(line);
    }
    list.replaceWith(lines);
  }
  // Lines of code and of messages wrap. Each becomes a block, so that what wraps is set in: as far as
  // the text after the labels of a message's row, or four columns further than code begins. Tables,
  // trees and drawings in plain text keep their columns.
  const message = /^ {2}(fix|more) |(Error|Warning): /m;
  const labels = /^ {2}(\S+ {2,}){1,2}/;
  const indent = /^(>>> |\.\.\. )? */;
  const setIn = (text) => text.match(labels)?.[0].length ?? text.match(indent)[0].length + 4;
  for (const pre of document.querySelectorAll(".highlight pre, .cell_output pre")) {
    if (pre.closest(".highlight-text") && !message.test(pre.textContent)) continue;
    const lines = [[]];
    for (const node of [...pre.childNodes]) {
      const parts = node.textContent.split("\n");
      parts.forEach((part, at) => {
        if (at) lines.push([]);
        const whole = parts.length === 1 || node.nodeType !== Node.ELEMENT_NODE;
        const piece = parts.length === 1 ? node : whole ? document.createTextNode(part) : node.cloneNode(false);
        if (!whole) piece.textContent = part;
        if (part) lines.at(-1).push(piece);
      });
    }
    if (!lines.at(-1).length) lines.pop();
    pre.replaceChildren(
      ...lines.map((pieces) => {
        const line = document.createElement("span");
        line.className = "line";
        line.append(...pieces, "\n");
        line.style.setProperty("--set-in", `${setIn(line.textContent)}ch`);
        return line;
      }),
    );
  }
  // What scrolls to the side can be reached by Tab, and scrolled by the arrows.
  const focus = () => {
    for (const box of document.querySelectorAll(".highlight pre, .cell_output pre, .table-wrapper, .sig")) {
      if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    }
  };
  focus();
  window.addEventListener("resize", focus);
  document.fonts?.ready.then(focus);
});
