/** Small pieces of the page, made by hand: no text ever becomes markup. */

type Child = Node | string | null | undefined | false;
type Attributes = Readonly<Record<string, string | number | boolean | null | undefined | ((event: never) => void)>>;

/** An element; `on…` attributes are listeners, true is an empty attribute, null and false are none. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** Strokes on a grid of 24. */
const ICONS = {
  send: ["M12 19V5", "M5.5 11.5 12 5l6.5 6.5"],
  stop: ["M8 8h8v8H8z"],
  settings: ["M4 7h9", "M19 7h1", "M4 17h1", "M11 17h9", "M16 4.5v5", "M8 14.5v5"],
  fresh: ["M12 5v14", "M5 12h14"],
  retry: ["M19.5 12a7.5 7.5 0 1 1-2.4-5.5", "M19.5 3.5v4h-4"],
  edit: ["M5 19h3.5L19 8.5 15.5 5 5 15.5z", "M13 7.5l3.5 3.5"],
  copy: ["M9 9h10v10H9z", "M15 9V5H5v10h4"],
  done: ["M5 12.5l4.5 4.5L19 7.5"],
  take: ["M12 4v11", "M7 10.5l5 5 5-5", "M5 20h14"],
  light: ["M12 8.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6z", "M12 3v1.5", "M12 19.5V21", "M3 12h1.5", "M19.5 12H21", "M5.6 5.6l1.1 1.1", "M17.3 17.3l1.1 1.1", "M5.6 18.4l1.1-1.1", "M17.3 6.7l1.1-1.1"],
  dark: ["M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7z"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  back: ["M14.5 6l-6 6 6 6"],
  forth: ["M9.5 6l6 6-6 6"],
  down: ["M6 9.5l6 6 6-6"],
} as const;
export type Icon = keyof typeof ICONS;

export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  for (const strokes of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", strokes);
    svg.append(path);
  }
  return svg;
}

/** A button that shows an icon, and says in words what it does. */
export function iconButton(name: Icon, label: string, onclick: () => void, extra = ""): HTMLButtonElement {
  return el("button", { type: "button", class: `icon-button ${extra}`, "aria-label": label, title: label, onclick }, icon(name));
}

/** Put another drawing into an icon button. */
export function turnInto(button: HTMLButtonElement, name: Icon, label: string): void {
  button.replaceChildren(icon(name));
  button.setAttribute("aria-label", label);
  button.title = label;
}
