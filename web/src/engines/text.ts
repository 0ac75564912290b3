/** The text of a reply while it comes. */

/** Without what a finished reply does not have: white space around it, and the first part of a character. */
export function shown(text: string): string {
  return text.replace(/\uFFFD+$/, "").trim();
}
