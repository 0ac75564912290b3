import { describe, expect, it } from "vitest";
import { colourOf, contrast, fromOklch, palette, parseHex, toHex, toOklch } from "../src/colours";

const COLOURS = ["#000000", "#ffffff", "#ff0000", "#00ff00", "#0000ff", "#ffff00", "#00ffff", "#ff00ff", "#808080", "#ffd700", "#fffff0", "#010203", "#7fff00"];
for (let hue = 0; hue < 360; hue += 15) for (const lightness of [0.2, 0.5, 0.7, 0.9]) COLOURS.push(toHex(fromOklch({ lightness, chroma: 0.2, hue })));

describe("a palette of any colour", () => {
  it("knows what contrast is", () => {
    expect(contrast(parseHex("#000000"), parseHex("#ffffff"))).toBeCloseTo(21);
    expect(contrast(parseHex("#777777"), parseHex("#ffffff"))).toBeCloseTo(4.48, 1);
  });

  it("goes to OKLCH and back", () => {
    for (const hex of COLOURS) expect(toHex(fromOklch(toOklch(parseHex(hex))))).toBe(hex);
  });

  for (const room of ["light", "dark"] as const) {
    it(`can be read in a ${room} room`, () => {
      for (const hex of COLOURS) {
        const colours = palette(hex, room);
        const at = (name: keyof typeof colours) => parseHex(colours[name]);
        for (const ground of ["ground", "surface", "soft", "glow", "glow-far"] as const) {
          // Glows lie behind the first screen, where they are mixed with the ground.
          for (const text of ["text", "muted", "accent-text", "fault"] as const) {
            if (ground.startsWith("glow") && text !== "text") continue;
            expect(contrast(at(text), at(ground)), `${hex} ${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
          }
        }
        for (const ground of ["ground", "surface", "soft"] as const) {
          for (const control of ["accent", "edge"] as const) expect(contrast(at(control), at(ground)), `${hex} ${control} on ${ground}`).toBeGreaterThanOrEqual(3);
        }
        expect(contrast(at("on-accent"), at("accent")), `${hex} on-accent`).toBeGreaterThanOrEqual(4.5);
      }
    });
  }

  it("gives the same colour to the same name, and others to others", () => {
    expect(colourOf("pip")).toBe(colourOf("pip"));
    expect(new Set(["pip", "keeper", "Žofie", "猫", ""].map(colourOf)).size).toBe(5);
  });
});
