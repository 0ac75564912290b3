import { createHash, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Sha256 } from "../src/sha256";

describe("SHA-256", () => {
  it("is that of everybody, for every length around a block and in any pieces", () => {
    for (const length of [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1000, 70_001]) {
      const bytes = new Uint8Array(randomBytes(length));
      const hash = new Sha256();
      for (let at = 0, step = 1; at < length; at += step, step = (step * 7) % 97 || 5) hash.update(bytes.subarray(at, at + step));
      expect(hash.hex()).toBe(createHash("sha256").update(bytes).digest("hex"));
    }
  });
});
