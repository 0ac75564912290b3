/** What went wrong, in the visitor's words: what happened, and what can be done about it. */

export class PageFault extends Error {
  override readonly name = "PageFault";

  constructor(
    message: string,
    /** What the reader can do about it. */
    readonly fix: string,
    /** For whom exported the character: where exactly it went wrong. */
    readonly where: string = "",
  ) {
    super(message);
  }
}

/** Whether somebody asked for this end: no fault at all. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** Any thrown thing as a fault that can be shown. */
export function asFault(error: unknown): PageFault {
  if (error instanceof PageFault) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new PageFault("Something broke that should not have.", "Load the page again; if it stays, tell whoever made it.", text);
}
