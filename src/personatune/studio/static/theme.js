// The colour scheme that was chosen, before anything is painted.
"use strict";
{
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* storage may be refused: the system's scheme counts */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
