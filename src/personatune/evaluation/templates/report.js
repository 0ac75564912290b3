"use strict";
(() => {
  const field = (id) => document.getElementById(id);
  const list = field("cases");
  const cases = [...list.children];
  const texts = new Map(cases.map((item) => [item, item.textContent.toLowerCase()]));
  const shown = document.querySelector(".shown");
  const none = document.querySelector(".none");
  const value = (id) => (field(id) ? field(id).value : "");
  document.documentElement.classList.add("live");

  const sorted = () => {
    const order = value("order");
    const place = (item) => Number(item.dataset.order);
    const weight = (item) =>
      order === "suite" ? 0
        : order === "worst" ? Number(item.dataset.severity)
          : Number(item.dataset.severities.split(" ")[Number(order)]);
    return [...cases].sort((a, b) => weight(b) - weight(a) || place(a) - place(b));
  };

  const matches = (item) => {
    const who = value("who");
    const flag = value("flag");
    const token = flag && who !== "" ? `${flag}@${who}` : flag;
    const words = value("search").trim().toLowerCase();
    return (!token || item.dataset.tokens.split(" ").includes(token))
      && (!value("kind") || item.dataset.kind === value("kind"))
      && (!words || texts.get(item).includes(words));
  };

  const apply = () => {
    let count = 0;
    for (const item of cases) {
      item.hidden = !matches(item);
      count += item.hidden ? 0 : 1;
    }
    shown.textContent = count === cases.length ? `${count} prompts` : `${count} of ${cases.length} prompts`;
    none.hidden = count > 0;
  };

  const reorder = () => {
    list.append(...sorted());
    apply();
  };

  const form = document.querySelector(".filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => (event.target.id === "order" ? reorder() : apply()));
  field("reset").addEventListener("click", () => {
    form.reset();
    reorder();
    field("flag").focus();
  });
  for (const button of document.querySelectorAll("button.show")) {
    button.addEventListener("click", () => {
      form.reset();
      field("flag").value = button.dataset.flag;
      if (field("who")) {
        field("who").value = button.dataset.who;
        field("order").value = button.dataset.who;
      }
      reorder();
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      field("replies").focus({ preventScroll: true });
      field("replies").scrollIntoView({ behavior: still ? "auto" : "smooth" });
    });
  }
  // What a link leads to may be filtered out or folded away.
  const uncover = () => {
    const target = location.hash.length > 1 ? field(decodeURIComponent(location.hash.slice(1))) : null;
    if (!target) return;
    const item = target.closest(".case");
    if (item && item.hidden) {
      form.reset();
      reorder();
    }
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView({ block: item ? "center" : "start" });
  };
  window.addEventListener("hashchange", uncover);
  for (const way of document.querySelectorAll("a.way")) {
    way.addEventListener("click", () => (way.hash === location.hash ? uncover() : undefined));
  }
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field("search").focus();
    }
  });
  reorder();
  uncover();
})();
