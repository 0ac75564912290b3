/** A palette from any one colour: every text and every control has the contrast that WCAG AA asks for. */

export type Rgb = readonly [number, number, number];
export interface Oklch {
  readonly lightness: number;
  readonly chroma: number;
  readonly hue: number;
}
export type Palette = Readonly<Record<PaletteName, string>>;
export type PaletteName =
  | "ground" | "surface" | "soft" | "line" | "edge" | "text" | "muted" | "accent" | "on-accent" | "accent-text" | "glow" | "glow-far" | "fault";

const WHITE: Rgb = [255, 255, 255];
const INK: Rgb = [18, 16, 20];

export function parseHex(hex: string): Rgb {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as unknown as Rgb;
}

export function toHex(rgb: Rgb): string {
  return `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

/** WCAG's contrast ratio, 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

/** A colour for who has none: always the same for the same name. */
export function colourOf(name: string): string {
  let hash = 2166136261;
  for (const char of name) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16777619);
  return toHex(fromOklch({ lightness: 0.62, chroma: 0.14, hue: ((hash >>> 0) / 4294967296) * 360 }));
}

/** All colours of the page, for a light or a dark room. */
export function palette(hex: string, room: "light" | "dark"): Palette {
  const own = toOklch(parseHex(hex));
  // A grey character stays grey; a loud one does not shout in the background.
  const tint = Math.min(own.chroma, 0.15) / 0.15;
  const shade = (lightness: number, chroma: number): Rgb => written(fromOklch({ lightness, chroma: chroma * tint, hue: own.hue }));
  const light = room === "light";
  const ground = light ? shade(0.984, 0.008) : shade(0.175, 0.014);
  const surface = light ? shade(0.998, 0.002) : shade(0.225, 0.018);
  const soft = light ? shade(0.948, 0.03) : shade(0.285, 0.036);
  const grounds = [ground, surface, soft];
  const direction = light ? -1 : 1;
  // White words on a colour look calmer than black ones, so all but the brightest colours are taken dark enough.
  const enough = (rgb: Rgb): boolean => (light && own.lightness < 0.76 ? contrast(WHITE, rgb) : best(rgb)[1]) >= 4.5;
  const accent = until(own, direction, (rgb) => grounds.every((one) => contrast(rgb, one) >= 3) && enough(rgb));
  return {
    ground: toHex(ground),
    surface: toHex(surface),
    soft: toHex(soft),
    line: toHex(light ? shade(0.9, 0.02) : shade(0.33, 0.026)),
    edge: toHex(until({ ...own, lightness: light ? 0.72 : 0.5, chroma: 0.03 * tint }, direction, (rgb) => grounds.every((one) => contrast(rgb, one) >= 3))),
    text: toHex(light ? shade(0.245, 0.022) : shade(0.945, 0.01)),
    muted: toHex(until({ ...own, lightness: light ? 0.54 : 0.68, chroma: 0.022 * tint }, direction, (rgb) => grounds.every((one) => contrast(rgb, one) >= 4.6))),
    accent: toHex(accent),
    "on-accent": toHex(best(accent)[0]),
    "accent-text": toHex(until(own, direction, (rgb) => grounds.every((one) => contrast(rgb, one) >= 4.6))),
    glow: toHex(light ? shade(0.9, 0.085) : shade(0.36, 0.095)),
    "glow-far": toHex(fromOklch({ lightness: light ? 0.945 : 0.27, chroma: (light ? 0.035 : 0.05) * tint, hue: own.hue + 32 })),
    fault: toHex(until({ lightness: light ? 0.55 : 0.7, chroma: 0.17, hue: 25 }, direction, (rgb) => grounds.every((one) => contrast(rgb, one) >= 4.6))),
  };
}

/** White or ink, whichever is read better on `ground`; white as long as it is good enough. */
function best(ground: Rgb): [Rgb, number] {
  const onWhite = contrast(WHITE, ground);
  if (onWhite >= 4.5) return [WHITE, onWhite];
  const onInk = contrast(INK, ground);
  return onInk > onWhite ? [INK, onInk] : [WHITE, onWhite];
}

/** The first shade from `start` towards dark (-1) or light (1) that is good enough. */
function until(start: Oklch, direction: -1 | 1, good: (rgb: Rgb) => boolean): Rgb {
  for (let lightness = start.lightness; lightness >= 0 && lightness <= 1; lightness += direction * 0.005) {
    const rgb = written(fromOklch({ ...start, lightness }));
    if (good(rgb)) return rgb;
  }
  return direction < 0 ? INK : WHITE;
}

/** The colour as it is written down, in whole numbers: what is measured must be what is seen. */
function written(rgb: Rgb): Rgb {
  return parseHex(toHex(rgb));
}

function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map(toLinear) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function toLinear(part: number): number {
  const share = part / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

function fromLinear(share: number): number {
  return 255 * (share <= 0.0031308 ? 12.92 * share : 1.055 * share ** (1 / 2.4) - 0.055);
}

/** Björn Ottosson's OKLab, as lightness, chroma and hue. */
export function toOklch(rgb: Rgb): Oklch {
  const [r, g, b] = rgb.map(toLinear) as [number, number, number];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  const a = 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s;
  const bb = 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s;
  const lightness = 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
  return { lightness, chroma: Math.hypot(a, bb), hue: ((Math.atan2(bb, a) * 180) / Math.PI + 360) % 360 };
}

/** The nearest colour that a screen can show: chroma gives way, lightness and hue stay. */
export function fromOklch({ lightness, chroma, hue }: Oklch): Rgb {
  for (let left = chroma; left > 0.0005; left *= 0.96) {
    const rgb = unclamped(lightness, left, hue);
    if (rgb.every((part) => part >= -0.5 && part <= 255.5)) return clamp(rgb);
  }
  return clamp(unclamped(lightness, 0, hue));
}

function unclamped(lightness: number, chroma: number, hue: number): Rgb {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    fromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    fromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    fromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

function clamp(rgb: Rgb): Rgb {
  return rgb.map((part) => Math.min(255, Math.max(0, part))) as unknown as Rgb;
}
