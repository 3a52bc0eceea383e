// Keys, menus, the live refresh. Without it every page still reads and links.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const EVERY_MS = 15000;
  let goPressedAt = -Infinity;

  const isTyping = (element) => element && (/^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) || element.isContentEditable);
  const go = (page) => { const link = $(`[data-go="${page}"]`); if (link) location.assign(link.href); };
  const open = (id) => { const menu = document.getElementById(id); if (menu) { menu.open = true; $("a, select, input", menu)?.focus(); } };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "Escape") { document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; }); return; }
    if (event.key === "?") { $("#keys")?.showModal(); event.preventDefault(); return; }
    if (event.timeStamp - goPressedAt < 1200) {
      goPressedAt = -Infinity;
      const page = { o: "overview", t: "traces", c: "costs", b: "budgets", p: "prompts", h: "providers",
        a: "alerts", u: "usage", n: "unpriced", r: "reconcile" }[event.key];
      if (page) { go(page); event.preventDefault(); }
      return;
    }
    if (event.key === "g") goPressedAt = event.timeStamp;
    else if (event.key === "w") { open("window"); event.preventDefault(); }
    else if (event.key === "f") { open("filters"); event.preventDefault(); }
    else if (event.key === "/" && $("#q")) { $("#q").focus(); event.preventDefault(); }
  });

  document.addEventListener("click", (event) => {
    document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
    if (event.target.closest(".burger")) {
      const isOpen = $(".rail").classList.toggle("open");
      $(".burger").setAttribute("aria-expanded", String(isOpen));
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy || location.href).then(() => { copy.textContent = "Copied"; });
    if (event.target.closest("[data-keys]")) { $("#keys")?.showModal(); event.preventDefault(); }
    const row = event.target.closest("tr[data-href]");
    if (row && !event.target.closest("a, button, summary") && !getSelection().toString()) location.assign(row.dataset.href);
  });

  document.addEventListener("change", (event) => { if (event.target.matches("[data-submits]")) event.target.form.submit(); });

  // Empty fields would only lengthen the address.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "get") return;
    for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
  });

  // What could not be read again: the old figures stay, and say that they are old.
  const stale = (words) => {
    let notice = $("#stale");
    if (!notice) {
      notice = document.createElement("p");
      notice.id = "stale";
      notice.className = "notice";
      notice.setAttribute("role", "status");
      $("main .bar")?.after(notice);
      const label = $(".asof");
      if (label) label.textContent = label.textContent.replace("live · updated", "figures of");
    }
    notice.textContent = words;
  };
  document.addEventListener("htmx:responseError", (event) => {
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const told = $("#away h1", page);
    stale(told ? `${told.textContent.trim()} (UTC). The gateway keeps serving.` : `Not read again: the site answered ${event.detail.xhr.status}.`);
  });
  document.addEventListener("htmx:sendError", () => stale("Not read again: the site cannot be reached."));
  document.addEventListener("htmx:afterSwap", () => $("#stale")?.remove());

  // Live pages ask again while visible, and never under a pointer, a selection or an open menu.
  const isBusy = () => document.hidden || $("details[open]") || $("dialog[open]") || getSelection().toString() ||
    $("#page tr:hover, #page .chart:hover") || $("#page")?.contains(document.activeElement);
  setInterval(() => { if ($("#page[data-live]") && window.htmx && !isBusy()) window.htmx.trigger("#page", "refresh"); }, EVERY_MS);
})();
