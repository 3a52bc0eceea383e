// The tree of a trace by keyboard and pointer: j k move, h l fold, Enter panel, e error, $ dearest, t slowest, / find,
// y copies the link, Esc goes back. The selection is in the address.
"use strict";
(() => {
  const WAIT_MS = 120; // a held key shall not ask for every panel it passes
  let timer = 0;
  const rows = () => [...document.querySelectorAll("#tree tbody tr[role=row]")];
  const shown = () => rows().filter((row) => !row.hidden);
  const selected = () => document.querySelector('#tree tr[aria-selected="true"]') || rows()[0];
  const depth = (row) => Number(row.dataset.d);

  const select = (row, now = false) => {
    if (!row) return;
    for (let at = row; at.hidden; ) { at = parentOf(at); fold(at, false); }
    const before = selected();
    before.removeAttribute("aria-selected");
    before.tabIndex = -1;
    row.setAttribute("aria-selected", "true");
    row.tabIndex = 0;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
    clearTimeout(timer);
    timer = setTimeout(() => show(row), now ? 0 : WAIT_MS);
  };
  const show = (row) => {
    const url = new URL(location.href);
    url.searchParams.set("span", row.id.slice(2));
    history.replaceState(null, "", url);
    window.htmx?.ajax("GET", url.pathname + url.search, { target: "#panel", swap: "innerHTML" });
  };
  const below = (row) => {
    const all = rows();
    const found = [];
    for (let i = all.indexOf(row) + 1; i < all.length && depth(all[i]) > depth(row); i += 1) found.push(all[i]);
    return found;
  };
  const parentOf = (row) => {
    const all = rows();
    for (let i = all.indexOf(row) - 1; i >= 0; i -= 1) if (depth(all[i]) < depth(row)) return all[i];
    return null;
  };
  const fold = (row, isFolded) => {
    if (!row || !row.hasAttribute("aria-expanded")) return;
    row.setAttribute("aria-expanded", String(!isFolded));
    row.querySelector(".tw").textContent = isFolded ? "▸" : "▾";
    let hideBelow = isFolded ? depth(row) : Infinity;
    for (const each of below(row)) {
      if (depth(each) <= hideBelow) hideBelow = isFolded ? depth(row) : Infinity;
      each.hidden = depth(each) > hideBelow;
      if (!each.hidden && each.getAttribute("aria-expanded") === "false") hideBelow = depth(each);
    }
  };
  const most = (name) => rows().reduce((a, b) => (Number(b.dataset[name]) > Number(a.dataset[name]) ? b : a));
  const slowest = () => rows().filter((row) => row.getAttribute("aria-expanded") === null).reduce((a, b) => (Number(b.dataset.t) > Number(a.dataset.t) ? b : a), rows().at(-1));
  const nextError = () => {
    const all = rows();
    const start = all.indexOf(selected());
    return [...all.slice(start + 1), ...all.slice(0, start + 1)].find((row) => "e" in row.dataset);
  };
  const find = () => {
    const words = prompt("Find a span by its name")?.toLowerCase();
    if (words) select(rows().find((row) => row.cells[0].textContent.toLowerCase().includes(words)));
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (document.querySelector("dialog[open], details.menu[open]")) return;
    const list = shown();
    const row = selected();
    const at = list.indexOf(row);
    const act = {
      j: () => select(list[at + 1]), ArrowDown: () => select(list[at + 1]),
      k: () => select(list[at - 1]), ArrowUp: () => select(list[at - 1]),
      h: () => (row.getAttribute("aria-expanded") === "true" ? fold(row, true) : select(parentOf(row))),
      l: () => (row.getAttribute("aria-expanded") === "false" ? fold(row, false) : select(list[at + 1])),
      e: () => select(nextError()),
      $: () => select(most("c")),
      t: () => select(slowest()),
      "/": find,
      y: () => navigator.clipboard?.writeText(location.href),
      Escape: () => (document.activeElement?.closest("#panel") ? row.focus() : history.back()),
    };
    act.ArrowLeft = act.h;
    act.ArrowRight = act.l;
    const inTree = event.target === document.body || event.target.closest("#tree");
    if (event.key.startsWith("Arrow") && !inTree) return;
    if (event.key === "Enter" && inTree) { document.getElementById("panel").focus(); event.preventDefault(); return; }
    if (act[event.key]) { act[event.key](); event.preventDefault(); }
  });

  document.addEventListener("click", (event) => {
    const row = event.target.closest("#tree tbody tr");
    if (!row || event.target.closest("a.badge")) return;
    if (event.target.closest(".tw") && row.hasAttribute("aria-expanded")) fold(row, row.getAttribute("aria-expanded") === "true");
    else select(row, true);
    event.preventDefault();
  });
})();
