/** The service worker: the page works without a network afterwards, and may use threads on plain hosts. */

const TRIED = "personatune isolated";

/** Register it; load the page once more when only that lets it use threads. True: the page is about to go. */
export async function settleIn(): Promise<boolean> {
  if (!("serviceWorker" in navigator) || !isSecureContext) return false;
  try {
    await navigator.serviceWorker.register("sw.js", { scope: "./", updateViaCache: "none" });
    if (crossOriginIsolated) {
      sessionStorage.removeItem(TRIED);
      return false;
    }
    if (sessionStorage.getItem(TRIED) !== null) return false; // it did not help: one thread, then
    const ready = await Promise.race([controlled(), new Promise<false>((resolve) => setTimeout(resolve, 4000, false))]);
    if (!ready) return false;
    sessionStorage.setItem(TRIED, "1");
    location.reload();
    return true;
  } catch {
    return false; // forbidden or no room: the page works without
  }
}

/** Once the service worker answers for this page. */
function controlled(): Promise<true> {
  return new Promise((resolve) => {
    if (navigator.serviceWorker.controller) return resolve(true);
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
  });
}
