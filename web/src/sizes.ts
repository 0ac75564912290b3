/** Bytes and seconds in words. */

/** As a download is named: "152 MB". */
export function megabytes(bytes: number): string {
  const mb = bytes / 1e6;
  return mb >= 10 ? `${Math.round(mb)} MB` : mb >= 0.1 ? `${mb.toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1000))} kB`;
}

/** How long it will take, roughly: "about 2 minutes". */
export function roughly(seconds: number): string {
  if (seconds < 8) return "a few seconds";
  if (seconds < 50) return `about ${Math.ceil(seconds / 10) * 10} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes <= 1 ? "about a minute" : `about ${minutes} minutes`;
}
