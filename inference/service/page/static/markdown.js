// A model card as elements: headings, lists, tables and paragraphs of Markdown; everything else stays as it is written.

import { h } from "./dom.js";

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`") && part.length > 2) return h("code", null, part.slice(1, -1));
    if (part.startsWith("**") && part.length > 4) return h("strong", null, part.slice(2, -2));
    return part;
  });
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
}

/** Elements of a text; its first heading becomes an h3, and so on. */
export function markdown(text) {
  const found = [];
  const lines = text.split(/\r?\n/);
  let at = 0;
  const take = (fits) => {
    const from = at;
    while (at < lines.length && fits(lines[at])) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = line.match(/^(#+)\s+(.*)$/);
    if (!line.trim()) {
      at += 1;
    } else if (heading) {
      found.push(h(`h${Math.min(heading[1].length + 2, 6)}`, null, inline(heading[2])));
      at += 1;
    } else if (line.startsWith("```")) {
      at += 1;
      found.push(h("pre", null, take((one) => !one.startsWith("```")).join("\n")));
      at += 1;
    } else if (line.trim().startsWith("|")) {
      const rows = take((one) => one.trim().startsWith("|")).filter((row) => !/^[\s|:-]+$/.test(row));
      found.push(
        h(
          "table",
          { class: "rows" },
          h("thead", null, h("tr", null, cells(rows[0] ?? "").map((cell) => h("th", { scope: "col" }, cell)))),
          h("tbody", null, rows.slice(1).map((row) => h("tr", null, cells(row).map((cell) => h("td", null, cell))))),
        ),
      );
    } else if (/^\s*[-*] /.test(line)) {
      const items = take((one) => /^\s*[-*] |^\s{2,}\S/.test(one));
      const joined = [];
      for (const item of items) {
        if (/^\s*[-*] /.test(item)) joined.push(item.replace(/^\s*[-*] /, ""));
        else joined[joined.length - 1] += ` ${item.trim()}`;
      }
      found.push(h("ul", null, joined.map((item) => h("li", null, inline(item)))));
    } else {
      const words = take((one) => one.trim() && !/^(#|```|\s*[-*] |\s*\|)/.test(one));
      if (words.length) found.push(h("p", null, inline(words.join(" "))));
      else {
        found.push(h("p", null, line));
        at += 1;
      }
    }
  }
  return found;
}
