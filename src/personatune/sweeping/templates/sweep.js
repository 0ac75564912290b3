"use strict";
(() => {
  const field = (id) => document.getElementById(id);
  const cells = [...document.querySelectorAll(".cell")];
  const cases = [...document.querySelectorAll(".case")];
  const shown = document.querySelector(".shown");
  document.documentElement.classList.add("live");

  const apply = () => {
    const point = field("point").value;
    const flagged = field("flagged").value;
    let count = 0;
    for (const cell of cells) {
      const fits = (!point || cell.dataset.point === point) && (!flagged || cell.dataset.flagged === flagged);
      cell.classList.toggle("out", !fits);
      count += fits ? 1 : 0;
    }
    for (const item of cases) item.classList.toggle("out", !item.querySelector(".cell:not(.out)"));
    shown.textContent = count === cells.length ? `${count} replies` : `${count} of ${cells.length} replies`;
  };

  const form = document.querySelector(".filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  for (const link of document.querySelectorAll("a.show")) {
    link.addEventListener("click", () => {
      form.reset();
      field("point").value = link.dataset.point;
      apply();
      field("replies").focus({ preventScroll: true });
    });
  }
  apply();
})();
