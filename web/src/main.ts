/** The page from page.json on: which character is here, and what stands around it. */

import { type Character, type Page, readPage } from "./config";
import { PageFault } from "./faults";
import { settleIn } from "./offline";
import { ChatTemplate } from "./template";
import { Chat } from "./ui/chat";
import { el, iconButton } from "./ui/elements";
import { portrait, showInTab } from "./ui/portrait";
import { Lights } from "./ui/room";
import { faultCard } from "./ui/starting";
import { voice } from "./ui/voice";

const lights = new Lights();
const asked = new URLSearchParams(location.search);
let chat: Chat | null = null;

async function begin(): Promise<void> {
  const going = settleIn();
  const page = readPage(await (await get("page.json")).json());
  const named = asked.get("character") ?? decodeURIComponent(location.hash.slice(1));
  const character = page.characters.find(({ name }) => name === named) ?? (page.characters[0] as Character);
  await show(page, character, going);
}

async function show(page: Page, character: Character, going: Promise<boolean>): Promise<void> {
  await chat?.close();
  chat = null;
  lights.show(character);
  showInTab(character);
  const template = new ChatTemplate(await (await get(character.template)).text(), character);
  template.check(character.renderTest);
  const status = el("span", { class: "status" });
  const onStatus = (text: string): void => {
    status.textContent = text;
    status.dataset["state"] = text;
  };
  const here = new Chat(page, character, template, onStatus);
  chat = here;
  const who = el("div", { class: "who" }, portrait(character, "small"), el("div", { class: "who-words" }, nameOrChoice(page, character), status));
  const bar = el(
    "header",
    { class: "bar" },
    who,
    el("div", { class: "bar-tools" }, iconButton("fresh", "New conversation", () => here.fresh()), lights.button, iconButton("settings", "Settings", () => here.drawer.open())),
  );
  document.body.replaceChildren(bar, here.node, voice());
  if (await going) return;
  await here.open(asked.get("engine"));
}

/** The character's name; a choice where there are several. */
function nameOrChoice(page: Page, character: Character): HTMLElement {
  if (page.characters.length === 1) return el("span", { class: "who-name" }, character.title);
  const choice = el("select", { class: "who-name", "aria-label": "Character" });
  for (const one of page.characters) choice.append(el("option", { value: one.name, selected: one === character }, one.title));
  choice.addEventListener("change", () => {
    const next = page.characters.find(({ name }) => name === choice.value);
    if (!next) return;
    history.replaceState(null, "", `#${encodeURIComponent(next.name)}`);
    show(page, next, Promise.resolve(false)).catch(fail);
  });
  return choice;
}

async function get(path: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { cache: "no-cache" });
  } catch {
    if (location.protocol === "file:") {
      throw new PageFault("A browser does not let a page read its files this way.", "Serve the folder: python3 -m http.server, then open http://localhost:8000", path);
    }
    throw new PageFault("The page could not be fetched.", "Check the connection, then load the page again.", path);
  }
  if (!response.ok) throw new PageFault(`A file of this page is missing: ${path}.`, "Whoever made this page must upload the whole exported folder again.", `the host answered ${response.status}`);
  return response;
}

function fail(error: unknown): void {
  document.body.replaceChildren(el("main", { class: "chat broken" }, faultCard(error, () => location.reload())), voice());
}

begin().catch(fail);
